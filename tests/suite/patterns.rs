//! Subscriptions to all topics that match a pattern.

mod joining;
mod resuming;
mod takeover;

use serde_json::{Value, json};

use crate::harness::{
    Dial, TestServer, TextFile, WsClient, entry, epoch_of, eventually, seq_of, text_of,
};

/// Subscribes to a pattern; returns how many topics match.
fn subscribe(client: &mut WsClient, pattern: &str, fields: &Value) -> u64 {
    let ack = client.subscribe_with(pattern, "c", fields);
    assert_eq!(ack["topic"], pattern);
    assert!(
        ack.get("seq").is_none() && ack.get("epoch").is_none(),
        "{ack}"
    );
    ack["matched"].as_u64().unwrap()
}

/// Receives the notice that a topic has joined; returns its seq.
fn expect_subscribed(client: &mut WsClient, topic: &str, pattern: &str) -> u64 {
    let notice = client.next_info("subscribed");
    assert_eq!(
        (&notice["topic"], &notice["pattern"]),
        (&json!(topic), &json!(pattern))
    );
    assert!(!epoch_of(&notice).is_empty());
    seq_of(&notice)
}

fn expect_event(client: &mut WsClient, topic: &str, seq: u64) {
    let event = client.next_event();
    assert_eq!((&event["topic"], seq_of(&event)), (&json!(topic), seq));
}

/// Publishes the next message of a topic.
fn publish(server: &TestServer, topic: &str) {
    let path = format!("/topics/{topic}/messages");
    server
        .http()
        .post(&path, &json!({"payload": 1}))
        .expect(201);
}

/// Waits until there are so many subscriptions in all.
fn await_total(server: &TestServer, subscriptions: u64) {
    let what = format!("{subscriptions} subscriptions");
    eventually(&what, || server.health()["subscribers"] == subscriptions);
}

/// A server with these topics.
fn server_with(topics: &[&str]) -> TestServer {
    let server = TestServer::start();
    topics.iter().for_each(|topic| server.create_topic(topic));
    server
}

#[test]
fn every_topic_that_matches_is_one_ordinary_subscription() {
    let server = server_with(&["shop.eu", "shop.us", "other"]);
    publish(&server, "shop.eu");
    publish(&server, "shop.eu");
    let mut client = server.ws();
    assert_eq!(subscribe(&mut client, "shop.*", &json!({"last_n": 1})), 2);
    assert_eq!(expect_subscribed(&mut client, "shop.eu", "shop.*"), 2);
    expect_event(&mut client, "shop.eu", 2);
    assert_eq!(expect_subscribed(&mut client, "shop.us", "shop.*"), 0);
    publish(&server, "shop.us");
    expect_event(&mut client, "shop.us", 1);
    publish(&server, "other");
    publish(&server, "shop.eu");
    expect_event(&mut client, "shop.eu", 3);
    server.await_subscribers("shop.eu", 1);
    server.await_subscribers("other", 0);
    client.close();
    server.await_subscribers("shop.eu", 0);
    server.await_subscribers("shop.us", 0);
}

#[test]
fn wrong_patterns_and_fields_are_refused_whole() {
    let server = server_with(&["shop.eu"]);
    let mut client = server.ws();
    for (pattern, fields, text) in [
        (
            "shop.*****",
            json!({}),
            "a pattern must be 1 to 128 characters",
        ),
        ("shop/*", json!({}), "a pattern must be 1 to 128 characters"),
        (
            "shop.*",
            json!({"after_seq": 1}),
            "a pattern is resumed with positions",
        ),
        (
            "shop.*",
            json!({"epoch": "e"}),
            "a pattern is resumed with positions",
        ),
        (
            "shop.*",
            json!({"positions": {}, "last_n": 1}),
            "exclude each other",
        ),
        (
            "shop.*",
            json!({"positions": []}),
            "positions: not a JSON object",
        ),
        (
            "shop.*",
            json!({"positions": {"shop.eu": 1}}),
            "needs seq and epoch",
        ),
        (
            "shop.*",
            json!({"positions": {"shop.eu": {"seq": 1}}}),
            "needs seq and epoch",
        ),
        (
            "shop.*",
            json!({"positions": {"shop.eu": {"epoch": "e"}}}),
            "needs seq and epoch",
        ),
        (
            "shop.*",
            json!({"positions": {"shop.eu": {"seq": -1, "epoch": "e"}}}),
            "needs seq and epoch",
        ),
        (
            "shop.*",
            json!({"positions": {"other": {"seq": 1, "epoch": "e"}}}),
            "'other' does not match 'shop.*'",
        ),
        (
            "shop.*",
            json!({"positions": {"shop.*": {"seq": 1, "epoch": "e"}}}),
            "topic must be 1 to 128",
        ),
        (
            "shop.eu",
            json!({"positions": {}}),
            "positions needs a pattern",
        ),
    ] {
        let refused = client.subscribe_refused(pattern, &fields, "BAD_REQUEST");
        assert!(
            text_of(&refused).contains(text),
            "{pattern} {fields}: {refused}"
        );
    }
    client.send_text(r#"{"type":"publish","topic":"shop.*","message":{"id":"550e8400-e29b-41d4-a716-446655440000","payload":1}}"#);
    assert_eq!(client.next_json()["error"]["code"], "BAD_REQUEST");
    await_total(&server, 0);
    // The connection works on.
    assert_eq!(subscribe(&mut client, "*", &json!({})), 1);
}

#[test]
fn a_position_ahead_of_its_topic_is_refused_whole() {
    let server = server_with(&["shop.eu", "shop.us"]);
    publish(&server, "shop.eu");
    let position = |seq| json!({"seq": seq, "epoch": epoch_of(&server.topic("shop.eu"))});
    let mut client = server.ws();
    let ahead = json!({"positions": {"shop.eu": position(2)}});
    let refused = client.subscribe_refused("shop.*", &ahead, "BAD_REQUEST");
    assert_eq!(
        text_of(&refused),
        "positions: that of 'shop.eu' is ahead of the topic"
    );
    assert_eq!(server.health()["subscribers"], 0);
    let newest = json!({"positions": {"shop.eu": position(1)}});
    assert_eq!(subscribe(&mut client, "shop.*", &newest), 2);
}

#[test]
fn an_unsubscribe_ends_all_of_it_and_says_where() {
    let server = server_with(&["a1", "a2"]);
    publish(&server, "a1");
    let mut client = server.ws();
    subscribe(&mut client, "a*", &json!({}));
    expect_subscribed(&mut client, "a1", "a*");
    expect_subscribed(&mut client, "a2", "a*");
    publish(&server, "a2");
    expect_event(&mut client, "a2", 1);
    for topic in ["a1", "b*"] {
        let refused = client.ask_refused(
            json!({"type": "unsubscribe", "topic": topic, "client_id": "c"}),
            "TOPIC_NOT_FOUND",
        );
        let text = format!("Topic '{topic}' not found or client not subscribed");
        assert_eq!(text_of(&refused), text);
    }
    let ack = client.unsubscribe("a*", "c");
    assert!(ack.get("seq").is_none(), "{ack}");
    let epoch = |topic| epoch_of(&server.topic(topic)).to_owned();
    assert_eq!(
        ack["positions"],
        json!({"a1": {"seq": 1, "epoch": epoch("a1")}, "a2": {"seq": 1, "epoch": epoch("a2")}})
    );
    publish(&server, "a1");
    server.create_topic("a3");
    assert_eq!(client.fence(), [json!(null); 0]);
    await_total(&server, 0);
    client.ask_refused(
        json!({"type": "unsubscribe", "topic": "a*", "client_id": "c"}),
        "TOPIC_NOT_FOUND",
    );
}

#[test]
fn a_deleted_topic_says_so_and_the_pattern_stays() {
    let server = server_with(&["a1"]);
    let mut client = server.ws();
    subscribe(&mut client, "a*", &json!({}));
    expect_subscribed(&mut client, "a1", "a*");
    publish(&server, "a1");
    server.delete_topic("a1");
    expect_event(&mut client, "a1", 1);
    let deleted = client.next_info("topic_deleted");
    assert_eq!(
        (&deleted["topic"], &deleted["pattern"]),
        (&json!("a1"), &json!("a*"))
    );
    server.create_topic("a1");
    assert_eq!(expect_subscribed(&mut client, "a1", "a*"), 0);
    publish(&server, "a1");
    expect_event(&mut client, "a1", 1);
}

#[test]
fn a_topic_created_again_begins_when_the_old_one_is_told_to_the_end() {
    let server = TestServer::with(|config| {
        config.send_buffer_bytes = 4 << 10;
        config.max_queue_size = 1000;
        config.history_bytes = 64 << 20;
    });
    server.create_topic("a1");
    let mut client = server.small_buffer_ws();
    subscribe(&mut client, "a*", &json!({}));
    assert_eq!(expect_subscribed(&mut client, "a1", "a*"), 0);
    let mut publisher = server.ws();
    const EVENTS: u64 = 300;
    // More than the socket takes, so that the rest waits in the log of the deleted topic.
    for life in 1..=3 {
        publisher.publish_padded("a1", 1, EVENTS, 16 << 10);
        server.delete_topic("a1");
        if life < 3 {
            server.create_topic("a1");
        }
    }
    for life in 1..=3 {
        if life > 1 {
            assert_eq!(expect_subscribed(&mut client, "a1", "a*"), 0);
        }
        for seq in 1..=EVENTS {
            expect_event(&mut client, "a1", seq);
        }
        assert_eq!(client.next_info("topic_deleted")["topic"], "a1");
    }
    assert_eq!(client.fence(), [json!(null); 0]);
    await_total(&server, 0);
}

#[test]
fn topics_beyond_the_limit_do_not_join_and_are_told() {
    let server = TestServer::with(|config| config.max_subscriptions = 3);
    ["a1", "a2", "a3", "a4"]
        .iter()
        .for_each(|topic| server.create_topic(topic));
    let mut client = server.ws();
    // The pattern is one, and so is each topic.
    assert_eq!(subscribe(&mut client, "a*", &json!({})), 4);
    expect_subscribed(&mut client, "a1", "a*");
    expect_subscribed(&mut client, "a2", "a*");
    let limit = client.next_json();
    let error =
        json!({"code": "LIMIT_REACHED", "message": "no more than 3 subscriptions per connection"});
    assert_eq!(
        (&limit["pattern"], &limit["count"], &limit["error"]),
        (&json!("a*"), &json!(2), &error)
    );
    server.create_topic("a5");
    let limit = client.next_json();
    assert_eq!(
        (&limit["topic"], &limit["pattern"], &limit["error"]),
        (&json!("a5"), &json!("a*"), &error)
    );
    client.subscribe_refused("a3", &json!({}), "LIMIT_REACHED");
    client.subscribe_refused("b*", &json!({}), "LIMIT_REACHED");
    // What did not join does not join later, but a new topic does.
    server.delete_topic("a1");
    client.next_info("topic_deleted");
    publish(&server, "a3");
    server.create_topic("a6");
    expect_subscribed(&mut client, "a6", "a*");
    server.await_subscribers("a3", 0);
}

#[test]
fn a_key_may_use_the_patterns_that_its_own_cover() {
    let keys = entry("shop", "secret", r#"subscribe = ["shop.*", "orders"]"#);
    let keys = TextFile::new(&keys);
    let server = TestServer::with(|config| config.keys_file = Some(keys.path().to_owned()));
    let dial = Dial::to(server.addr()).field("Authorization", "Bearer secret");
    let mut client = dial.connect();
    for pattern in ["*", "sho*", "*.eu", "order*", "shop*"] {
        let refused = client.subscribe_refused(pattern, &json!({}), "FORBIDDEN");
        assert_eq!(
            text_of(&refused),
            format!("The credential may not subscribe to topic '{pattern}'")
        );
    }
    for pattern in ["shop.*", "shop.eu.*", "shop.*.paid"] {
        assert_eq!(subscribe(&mut client, pattern, &json!({})), 0);
    }
}
