//! Rights of a key on a WebSocket, per message.

use serde_json::{Value, json};

use super::{create, guarded, secret};
use crate::harness::{Dial, TestServer, WsClient, text_of, uuid_of};

fn open(server: &TestServer, name: &str) -> WsClient {
    Dial::to(server.addr())
        .field("X-API-Key", secret(name))
        .connect()
}

fn subscribe(topic: &str) -> Value {
    json!({"type": "subscribe", "topic": topic, "client_id": "c"})
}

fn publish(topic: &str) -> Value {
    json!({"type": "publish", "topic": topic, "message": {"id": uuid_of(1), "payload": 1}})
}

#[test]
fn each_key_may_do_exactly_what_its_rights_allow() {
    let (server, _file) = guarded();
    for (name, may_publish, may_subscribe) in [
        ("publisher", true, false),
        ("subscriber", false, true),
        ("admin", false, false),
        ("nobody", false, false),
        ("the API key", true, true),
    ] {
        let mut client = open(&server, name);
        for (request, may) in [
            (publish("orders"), may_publish),
            (subscribe("orders"), may_subscribe),
        ] {
            let reply = client.ask(request);
            let expected = if may { "ack" } else { "error" };
            assert_eq!(reply["type"], expected, "{name}: {reply}");
            if !may {
                assert_eq!(reply["error"]["code"], "FORBIDDEN", "{name}: {reply}");
            }
        }
        client.fence();
    }
}

#[test]
fn rights_are_checked_after_the_fields_and_before_the_topic() {
    let (server, _file) = guarded();
    let mut publisher = open(&server, "publisher");
    publisher.ask_refused(publish("shop.none"), "TOPIC_NOT_FOUND");
    publisher.ask_refused(publish("shop"), "FORBIDDEN");
    create(&server, "secrets");
    let absent = publisher.ask_refused(publish("nothing"), "FORBIDDEN");
    let there = publisher.ask_refused(publish("secrets"), "FORBIDDEN");
    assert_eq!(
        text_of(&there),
        "The credential may not publish to topic 'secrets'"
    );
    assert_eq!(
        text_of(&there).replace("secrets", "nothing"),
        text_of(&absent)
    );
    let absent = publisher.ask_refused(subscribe("orders"), "FORBIDDEN");
    assert_eq!(
        text_of(&absent),
        "The credential may not subscribe to topic 'orders'"
    );
    let mut wrong = publish("secrets");
    wrong["message"]["id"] = json!("x");
    publisher.ask_refused(wrong, "BAD_REQUEST");
    publisher.ask_refused(publish("not a name"), "BAD_REQUEST");
    publisher.ask_refused(
        json!({"type": "subscribe", "topic": "secrets", "client_id": "c", "last_n": -1}),
        "BAD_REQUEST",
    );
}

#[test]
fn refusal_keeps_the_connection_and_affects_no_other() {
    let (server, _file) = guarded();
    let mut subscriber = open(&server, "subscriber");
    subscriber.subscribe("orders", "s");
    subscriber.ask_refused(publish("orders"), "FORBIDDEN");
    let mut publisher = open(&server, "publisher");
    publisher.ask_refused(subscribe("orders"), "FORBIDDEN");
    assert_eq!(publisher.publish("orders", &json!(7)), 1);
    assert_eq!(subscriber.next_json()["message"]["payload"], 7);
    subscriber.unsubscribe("orders", "s");
}

#[test]
fn unsubscribe_without_a_right_gets_the_usual_error() {
    let (server, _file) = guarded();
    let mut nobody = open(&server, "nobody");
    let request = json!({"type": "unsubscribe", "topic": "orders", "client_id": "s"});
    nobody.ask_refused(request, "TOPIC_NOT_FOUND");
    nobody.fence();
}

#[test]
fn taking_over_a_client_id_of_another_key_needs_the_subscribe_right() {
    let (server, _file) = guarded();
    let mut older = open(&server, "subscriber");
    older.subscribe("orders", "c");
    let mut publisher = open(&server, "publisher");
    publisher.ask_refused(subscribe("orders"), "FORBIDDEN");
    let unsubscribe = json!({"type": "unsubscribe", "topic": "orders", "client_id": "c"});
    publisher.ask_refused(unsubscribe.clone(), "TOPIC_NOT_FOUND");
    publisher.publish("orders", &json!(1));
    assert_eq!(older.next_event()["message"]["payload"], 1);
    let mut newer = open(&server, "the API key");
    newer.subscribe("orders", "c");
    assert_eq!(older.next_info("subscription_replaced")["seq"], 1);
    publisher.publish("orders", &json!(2));
    assert_eq!(newer.next_event()["message"]["payload"], 2);
    older.ask_refused(unsubscribe, "TOPIC_NOT_FOUND");
    assert_eq!(older.fence().len(), 0);
    newer.unsubscribe("orders", "c");
}
