//! Publishing and reading messages over REST: the same topics, events and positions as on the WebSocket.

use serde_json::{Value, json};

use crate::harness::{
    Reply, TestServer, WsClient, assert_timestamp, epoch_of, event_seqs, seq_of, uuid_of,
};

fn page(server: &TestServer, query: &str) -> Reply {
    server
        .http()
        .get(&format!("/topics/orders/messages{query}"))
}

fn page_seqs(server: &TestServer, query: &str) -> Vec<u64> {
    event_seqs(
        page(server, query).expect(200)["events"]
            .as_array()
            .unwrap(),
    )
}

/// A server with a topic of `count` messages that keeps the newest five.
fn topic_with(count: u64) -> TestServer {
    let server = TestServer::with(|config| config.history_size = 5);
    server.create_topic("orders");
    server.ws().publish_many("orders", 1, count);
    server
}

fn subscribed(server: &TestServer) -> WsClient {
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client
}

#[test]
fn publish_is_answered_201_with_id_and_seq_and_delivered() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    let body = json!({"id": uuid_of(7), "payload": {"amount": 99.5}});
    let answer = server
        .http()
        .post("/topics/orders/messages", &body)
        .expect(201);
    let epoch = &server.http().get("/topics/orders").expect(200)["epoch"];
    let expected =
        json!({"status": "ok", "topic": "orders", "id": uuid_of(7), "seq": 1, "epoch": epoch});
    assert_eq!(answer, expected);
    let event = client.next_event();
    assert_eq!(seq_of(&event), 1);
    assert_eq!(event["message"], body);
}

#[test]
fn message_id_is_generated_when_absent() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    let mut ids = Vec::new();
    for body in [json!({"payload": 1}), json!({"payload": 2, "id": null})] {
        let answer = server
            .http()
            .post("/topics/orders/messages", &body)
            .expect(201);
        let id = answer["id"].as_str().unwrap().to_owned();
        assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
        assert_eq!(client.next_event()["message"]["id"], id);
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn payload_published_over_rest_is_delivered_byte_for_byte() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    for payload in [
        "null",
        "1.10",
        r#"{ "a" : [ 1e2 ,"\u00e9" ] }"#,
        r#"{"a":1,"a":2}"#,
    ] {
        let body = format!(r#"{{"payload":{payload}}}"#);
        server
            .http()
            .post_text("/topics/orders/messages", &body)
            .expect(201);
        let event = client.next_text();
        assert!(
            event.contains(&format!("\"payload\":{payload}")),
            "{payload} became {event}"
        );
    }
}

#[test]
fn invalid_message_is_answered_422() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    let deep = format!("{{\"payload\":{}{}}}", "[".repeat(129), "]".repeat(129));
    for body in [
        "",
        "{",
        "{}",
        "[]",
        r#"{"id":"550e8400-e29b-41d4-a716-446655440000"}"#,
        r#"{"id":"bad","payload":1}"#,
        r#"{"id":5,"payload":1}"#,
        r#"{"payload":1,"payload":1}"#,
        r#"{"payload":01}"#,
        &deep,
    ] {
        let reply = http.post_text("/topics/orders/messages", body);
        reply.expect_problem(422, "VALIDATION_ERROR");
    }
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn publishing_to_an_unknown_topic_is_answered_404() {
    let server = TestServer::start();
    let reply = server
        .http()
        .post("/topics/x/messages", &json!({"payload": 1}));
    assert_eq!(
        reply.expect_problem(404, "TOPIC_NOT_FOUND"),
        "Topic 'x' not found"
    );
}

#[test]
fn whole_history_is_read_without_parameters() {
    let server = topic_with(3);
    let body = page(&server, "").expect(200);
    assert_eq!(body["topic"], "orders");
    assert_eq!(seq_of(&body), 3);
    assert_eq!(epoch_of(&body), epoch_of(&server.topic("orders")));
    assert_eq!(event_seqs(body["events"].as_array().unwrap()), [1, 2, 3]);
    assert_eq!(body.get("gap"), None);
}

#[test]
fn empty_history_is_an_empty_list() {
    let server = TestServer::with_topic("orders");
    let body = page(&server, "").expect(200);
    assert_eq!(body["events"], json!([]));
    assert_eq!(seq_of(&body), 0);
}

#[test]
fn events_equal_those_of_the_websocket() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    client.publish_many("orders", 1, 2);
    let live = client.fence();
    let body = page(&server, "").expect(200);
    assert_eq!(body["events"], Value::Array(live));
    assert_timestamp(&body["events"][0]["ts"]);
}

#[test]
fn last_n_reads_the_newest_events() {
    let server = topic_with(8);
    assert_eq!(page_seqs(&server, "?last_n=2"), [7, 8]);
    assert_eq!(page_seqs(&server, "?last_n=0"), Vec::<u64>::new());
    assert_eq!(page_seqs(&server, "?last_n=100"), [4, 5, 6, 7, 8]);
}

#[test]
fn after_seq_reads_events_after_a_position() {
    let server = topic_with(8);
    let epoch = epoch_of(&server.topic("orders")).to_owned();
    assert_eq!(page_seqs(&server, "?after_seq=6"), [7, 8]);
    assert_eq!(page_seqs(&server, "?after_seq=8"), Vec::<u64>::new());
    let body = page(&server, &format!("?after_seq=3&epoch={epoch}")).expect(200);
    assert_eq!(
        event_seqs(body["events"].as_array().unwrap()),
        [4, 5, 6, 7, 8]
    );
    assert_eq!(body.get("gap"), None);
}

#[test]
fn position_before_the_history_is_reported_as_a_gap() {
    let server = topic_with(8);
    let body = page(&server, "?after_seq=1").expect(200);
    let gap = json!({"from_seq": 2, "to_seq": 3, "count": 2, "reason": "history_evicted"});
    assert_eq!(body["gap"], gap);
    assert_eq!(
        event_seqs(body["events"].as_array().unwrap()),
        [4, 5, 6, 7, 8]
    );
}

#[test]
fn foreign_epoch_is_reported_and_the_whole_history_read() {
    let server = topic_with(8);
    for position in [0, 7, 1000] {
        let body = page(&server, &format!("?after_seq={position}&epoch=another")).expect(200);
        assert_eq!(body["gap"], json!({"reason": "epoch_changed"}));
        assert_eq!(
            event_seqs(body["events"].as_array().unwrap()),
            [4, 5, 6, 7, 8]
        );
    }
}

#[test]
fn invalid_query_is_answered_422() {
    let server = topic_with(3);
    for query in [
        "?last_n=-1",
        "?last_n=x",
        "?last_n=",
        "?last_n=1.5",
        "?after_seq=-1",
        "?after_seq=x",
        "?after_seq=4",
        "?epoch=another",
        "?after_seq=1&last_n=1",
        "?last_n=1&last_n=2",
    ] {
        page(&server, query).expect_problem(422, "VALIDATION_ERROR");
    }
}

#[test]
fn websocket_and_rest_share_the_sequence() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for round in 0..3 {
        assert_eq!(client.publish("orders", &json!("ws")), 2 * round + 1);
        let answer = server
            .http()
            .post("/topics/orders/messages", &json!({"payload": "rest"}));
        assert_eq!(seq_of(&answer.expect(201)), 2 * round + 2);
    }
    assert_eq!(page_seqs(&server, ""), [1, 2, 3, 4, 5, 6]);
}
