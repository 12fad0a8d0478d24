//! Each request with its reply.

use serde_json::{Value, json};

use crate::harness::{TestServer, epoch_of, seq_of, text_of, uuid_of};

fn fields_of(message: &Value) -> Vec<&str> {
    let fields = message.as_object().unwrap();
    fields.keys().map(String::as_str).collect()
}

#[test]
fn subscribe_ack_has_topic_status_seq_and_epoch() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let ack = client.subscribe("orders", "s1");
    assert_eq!(
        fields_of(&ack),
        [
            "epoch",
            "request_id",
            "seq",
            "status",
            "topic",
            "ts",
            "type"
        ]
    );
    assert_eq!(ack["topic"], "orders");
    assert_eq!(seq_of(&ack), 0);
    assert!(!epoch_of(&ack).is_empty());
}

#[test]
fn subscribe_ack_has_the_newest_seq() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 3);
    let ack = client.subscribe("orders", "s1");
    assert_eq!(seq_of(&ack), 3);
}

#[test]
fn publish_ack_has_the_seq_of_the_message() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let message = json!({"id": uuid_of(1), "payload": 1});
    let ack = client.ask(json!({"type": "publish", "topic": "orders", "message": message}));
    assert_eq!(ack["type"], "ack");
    assert_eq!(ack["status"], "ok");
    assert_eq!(ack["topic"], "orders");
    assert_eq!(seq_of(&ack), 1);
    assert_eq!(client.publish("orders", &json!(2)), 2);
}

#[test]
fn event_has_topic_message_seq_and_ts_only() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "s1");
    client.publish("orders", &json!({"order_id": "ORD-123", "amount": 99.5}));
    let event = client.next_event();
    assert_eq!(fields_of(&event), ["message", "seq", "topic", "ts", "type"]);
    assert_eq!(event["topic"], "orders");
    assert_eq!(seq_of(&event), 1);
    let payload = json!({"order_id": "ORD-123", "amount": 99.5});
    assert_eq!(
        event["message"],
        json!({"id": uuid_of(0), "payload": payload})
    );
}

#[test]
fn unsubscribe_ack_has_the_last_seq_that_was_sent() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "s1");
    client.publish_many("orders", 1, 4);
    client.fence();
    let ack = client.unsubscribe("orders", "s1");
    assert_eq!(ack["topic"], "orders");
    assert_eq!(seq_of(&ack), 4);
}

#[test]
fn ping_is_answered_by_pong() {
    let server = TestServer::start();
    let mut client = server.ws();
    client.send(&json!({"type": "ping", "request_id": "r-4"}));
    let pong = client.next_json();
    assert_eq!(fields_of(&pong), ["request_id", "ts", "type"]);
    assert_eq!(pong["type"], "pong");
    assert_eq!(pong["request_id"], "r-4");
}

#[test]
fn unknown_topic_is_named_in_the_error() {
    let server = TestServer::start();
    let mut client = server.ws();
    let reply = client.subscribe_refused("x", &json!({}), "TOPIC_NOT_FOUND");
    assert_eq!(text_of(&reply), "Topic 'x' does not exist");
    let message = json!({"id": uuid_of(1), "payload": null});
    let publish = json!({"type": "publish", "topic": "x", "message": message});
    let reply = client.ask_refused(publish, "TOPIC_NOT_FOUND");
    assert_eq!(text_of(&reply), "Topic 'x' does not exist");
}

#[test]
fn unsubscribe_without_a_subscription_is_an_error() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for topic in ["x", "orders"] {
        let request = json!({"type": "unsubscribe", "topic": topic, "client_id": "s1"});
        let reply = client.ask_refused(request, "TOPIC_NOT_FOUND");
        assert_eq!(
            text_of(&reply),
            format!("Topic '{topic}' not found or client not subscribed")
        );
    }
}
