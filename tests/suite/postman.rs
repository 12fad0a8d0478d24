//! The parts of the Postman collection that `tests/postman/run` does not check: its folders, and the frames in its texts.

use serde_json::Value;

use crate::harness::TestServer;

const COLLECTION: &str = include_str!("../../examples/postman/threadcast.postman_collection.json");

fn folders() -> Vec<Value> {
    let collection: Value = serde_json::from_str(COLLECTION).expect("JSON");
    collection["item"].as_array().expect("folders").clone()
}

fn requests(folder: &Value) -> &[Value] {
    folder["item"].as_array().expect("requests")
}

#[test]
fn collection_has_six_folders_and_every_request_has_a_test() {
    let folders = folders();
    let names: Vec<_> = folders.iter().map(|folder| &folder["name"]).collect();
    let expected = [
        "1. Health and observability",
        "2. Topics",
        "3. WebSocket notes",
        "4. Message templates",
        "5. Error scenarios",
        "6. A complete workflow",
    ];
    assert_eq!(names, expected);
    for request in folders.iter().flat_map(requests) {
        let scripts = request["event"].as_array().into_iter().flatten();
        let tests = scripts.filter(|script| script["listen"] == "test");
        let tested = tests.map(|script| script["script"]["exec"].to_string());
        assert!(
            tested.into_iter().any(|test| test.contains("pm.test(")),
            "{request}"
        );
    }
}

#[test]
fn every_message_template_is_accepted_by_the_server() {
    let server = TestServer::with_topic("postman-templates");
    let mut client = server.ws();
    let mut kinds = Vec::new();
    for request in requests(&folders()[3]) {
        let text = request["request"]["description"]
            .as_str()
            .expect("a description");
        for block in text.split("```json\n").skip(1) {
            let frame = block.split("\n```").next().expect("the end of a block");
            let sent: Value = serde_json::from_str(frame).expect("JSON");
            client.send_text(frame);
            let reply = client.expect_reply(sent["request_id"].as_str().expect("an id"));
            assert!(
                reply["type"] == "ack" || reply["type"] == "pong",
                "{frame} {reply}"
            );
            kinds.push(sent["type"].to_string());
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
}
