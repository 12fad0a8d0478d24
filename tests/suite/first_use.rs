//! Topics that are created by their first subscribe or publish, and topics that exist from the start.

use std::thread;

use serde_json::json;

use crate::harness::{
    Dial, SequenceChecker, TestServer, TextFile, code_of, entry, epoch_of, event_seqs,
    publish_text, seq_of, text_of,
};

fn server() -> TestServer {
    TestServer::with(|config| config.auto_create_topics = true)
}

fn names(server: &TestServer) -> Vec<String> {
    let list = server.http().get("/topics").expect(200);
    let names = list["topics"].as_array().unwrap().iter();
    names
        .map(|topic| topic["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_first_publish_or_subscribe_creates_the_topic_with_the_servers_settings() {
    let server = TestServer::with(|config| {
        config.auto_create_topics = true;
        config.history_size = 7;
    });
    let mut client = server.ws();
    assert_eq!(client.publish("by-websocket", &json!(1)), 1);
    let published = server
        .http()
        .post("/topics/by-rest/messages", &json!({"payload": 1}));
    assert_eq!(published.expect(201)["seq"], 1);
    server.embedded().publish("by-program", &1).expect("room");
    assert_eq!(seq_of(&client.subscribe("by-subscribe", "c")), 0);
    let all = ["by-program", "by-rest", "by-subscribe", "by-websocket"];
    assert_eq!(names(&server), all);
    for name in all {
        assert_eq!(server.topic(name)["limits"]["history_size"], 7, "{name}");
    }
    server.await_metric("pubsub_topics_auto_created_total", 4);
}

#[test]
fn without_the_setting_nothing_is_created() {
    let server = TestServer::start();
    let mut client = server.ws();
    client.subscribe_refused("orders", &json!({}), "TOPIC_NOT_FOUND");
    let mut http = server.http();
    http.post("/topics/orders/messages", &json!({"payload": 1}))
        .expect_problem(404, "TOPIC_NOT_FOUND");
    client.send_text(&publish_text("orders", "1", "p"));
    assert_eq!(code_of(&client.next_json()), "TOPIC_NOT_FOUND");
    assert_eq!(names(&server), [""; 0]);
}

#[test]
fn only_a_subscribe_or_a_publish_creates_a_topic() {
    let server = server();
    let mut http = server.http();
    for path in ["", "/messages", "/messages?after_seq=0"] {
        let reply = http.get(&format!("/topics/orders{path}"));
        reply.expect_problem(404, "TOPIC_NOT_FOUND");
    }
    let deleted = http.delete("/topics/orders");
    deleted.expect_problem(404, "TOPIC_NOT_FOUND");
    http.patch("/topics/orders", &json!({"history_size": 5}))
        .expect_problem(404, "TOPIC_NOT_FOUND");
    // What is refused creates nothing.
    http.post("/topics/orders/messages", &json!({"id": "x", "payload": 1}))
        .expect_problem(422, "VALIDATION_ERROR");
    let mut client = server.ws();
    let unsubscribe = json!({"type": "unsubscribe", "topic": "orders", "client_id": "c"});
    client.ask_refused(unsubscribe, "TOPIC_NOT_FOUND");
    assert_eq!(names(&server), [""; 0]);
}

#[test]
fn a_resume_creates_a_topic_only_from_position_0() {
    let server = server();
    let mut client = server.ws();
    let behind = json!({"after_seq": 1});
    let error = client.subscribe_refused("orders", &behind, "TOPIC_NOT_FOUND");
    assert_eq!(text_of(&error), "Topic 'orders' does not exist");
    let behind = json!({"after_seq": 41, "epoch": "9f2c61d0a7b34e18"});
    client.subscribe_refused("orders", &behind, "TOPIC_NOT_FOUND");
    assert_eq!(names(&server), [""; 0]);
    let ack = client.subscribe_with("orders", "c", &json!({"after_seq": 0}));
    assert_eq!((seq_of(&ack), ack["recovered"].clone()), (0, json!(true)));
    // From now on a position above 0 is one like any other.
    client.subscribe_refused("orders", &json!({"after_seq": 1}), "BAD_REQUEST");
}

#[test]
fn no_more_topics_are_created_than_there_may_be() {
    let server = TestServer::with(|config| {
        config.auto_create_topics = true;
        config.max_topics = 1;
    });
    let mut client = server.ws();
    client.publish("first", &json!(1));
    let error = client.subscribe_refused("second", &json!({}), "LIMIT_REACHED");
    assert_eq!(
        text_of(&error),
        "The server has as many topics as it may have"
    );
    client.send_text(&publish_text("second", "1", "p"));
    assert_eq!(code_of(&client.next_json()), "LIMIT_REACHED");
    server
        .http()
        .post("/topics/second/messages", &json!({"payload": 1}))
        .expect_problem(429, "LIMIT_REACHED");
    let error = server.embedded().publish("second", &1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are 1 topics, as many as max_topics allows"
    );
    // Topics that exist are used as ever.
    assert_eq!(client.publish("first", &json!(2)), 2);
    server.delete_topic("first");
    assert_eq!(client.publish("second", &json!(1)), 1);
}

#[test]
fn a_publish_over_the_rate_creates_nothing() {
    let server = TestServer::with(|config| {
        config.auto_create_topics = true;
        config.max_publish_rate = 1;
    });
    let mut client = server.ws();
    client.publish("first", &json!(1));
    client.send_text(&publish_text("second", "1", "p"));
    assert_eq!(code_of(&client.next_json()), "RATE_LIMITED");
    assert_eq!(names(&server), ["first"]);
}

#[test]
fn a_key_creates_only_topics_that_it_may_publish_or_subscribe_to() {
    let rights = "publish = [\"in.*\"]\nsubscribe = [\"out.*\"]";
    let keys = TextFile::new(&entry("device", "device-secret", rights));
    let server = TestServer::with(|config| {
        config.auto_create_topics = true;
        config.keys_file = Some(keys.path().to_owned());
    });
    let key = "Bearer device-secret";
    let mut device = Dial::to(server.addr())
        .field("Authorization", key)
        .connect();
    device.subscribe_refused("in.a", &json!({}), "FORBIDDEN");
    device.send_text(&publish_text("out.a", "1", "p"));
    assert_eq!(code_of(&device.next_json()), "FORBIDDEN");
    device.subscribe("out.a", "c");
    device.publish("in.a", &json!(1));
    let topics = server.embedded().topics();
    let names: Vec<_> = topics.into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["in.a", "out.a"]);
}

#[test]
fn many_first_publishers_create_one_topic_and_lose_nothing() {
    let server = server();
    let mut reader = server.ws();
    let epoch = epoch_of(&reader.subscribe("first", "c")).to_owned();
    for round in 0..20 {
        let topic = format!("t{round}");
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut client = server.ws();
                let topic = &topic;
                scope.spawn(move || {
                    client.subscribe_with(
                        topic,
                        &format!("{:?}", thread::current().id()),
                        &json!({"after_seq": 0}),
                    );
                    client.publish(topic, &json!(1));
                    let mut checker = SequenceChecker::starting_after(topic, 0);
                    checker.read_until(&mut client, 4);
                    assert_eq!((checker.received, checker.skipped), (4, 0));
                });
            }
        });
        assert_eq!(server.topic(&topic)["seq"], 4);
    }
    assert_eq!(server.topic("first")["epoch"], epoch);
}

#[test]
fn a_topic_that_was_deleted_is_created_again_by_its_next_use() {
    let server = server();
    let mut client = server.ws();
    let first = epoch_of(&client.subscribe("orders", "c")).to_owned();
    client.publish("orders", &json!(1));
    server.delete_topic("orders");
    client.fence();
    assert_eq!(client.publish("orders", &json!(1)), 1, "a new topic");
    assert_eq!(
        event_seqs(&client.fence()),
        [0; 0],
        "nobody subscribed to it"
    );
    let second = epoch_of(&client.subscribe("orders", "c")).to_owned();
    assert_ne!(first, second);
}

#[test]
fn declared_topics_exist_from_the_start_with_the_servers_settings() {
    let server = TestServer::with(|config| {
        config.topics = ["orders", "shop.eu", "orders"].map(str::to_owned).to_vec();
        config.history_size = 3;
    });
    assert_eq!(names(&server), ["orders", "shop.eu"]);
    assert_eq!(server.topic("shop.eu")["limits"]["history_size"], 3);
    server.ws().publish("orders", &json!(1));
    // They are topics like any other.
    server.delete_topic("orders");
    assert_eq!(names(&server), ["shop.eu"]);
}
