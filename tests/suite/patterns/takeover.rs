//! There is one subscription per topic and client id, whether by name or by pattern.

use serde_json::json;

use super::{await_total, expect_event, expect_subscribed, publish, server_with, subscribe};
use crate::harness::{WsClient, seq_of};

fn expect_replaced(client: &mut WsClient, topic: &str, pattern: Option<&str>, seq: u64) {
    let replaced = client.next_info("subscription_replaced");
    assert_eq!(
        (&replaced["topic"], seq_of(&replaced)),
        (&json!(topic), seq)
    );
    assert_eq!(
        replaced.get("pattern").and_then(|pattern| pattern.as_str()),
        pattern
    );
}

#[test]
fn the_same_pattern_elsewhere_replaces_all_of_the_older_one() {
    let server = server_with(&["a1", "a2"]);
    let (mut older, mut newer) = (server.ws(), server.ws());
    subscribe(&mut older, "a*", &json!({}));
    expect_subscribed(&mut older, "a1", "a*");
    expect_subscribed(&mut older, "a2", "a*");
    publish(&server, "a1");
    expect_event(&mut older, "a1", 1);
    subscribe(&mut newer, "a*", &json!({}));
    expect_replaced(&mut older, "a1", Some("a*"), 1);
    expect_replaced(&mut older, "a2", Some("a*"), 0);
    expect_subscribed(&mut newer, "a1", "a*");
    expect_subscribed(&mut newer, "a2", "a*");
    server.create_topic("a3");
    expect_subscribed(&mut newer, "a3", "a*");
    publish(&server, "a3");
    expect_event(&mut newer, "a3", 1);
    assert_eq!(older.fence(), [json!(null); 0]);
    await_total(&server, 3);
    older.ask_refused(
        json!({"type": "unsubscribe", "topic": "a*", "client_id": "c"}),
        "TOPIC_NOT_FOUND",
    );
    assert_eq!(
        newer.unsubscribe("a*", "c")["positions"]
            .as_object()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn the_same_pattern_on_the_same_connection_begins_again_without_a_notice() {
    let server = server_with(&["a1"]);
    publish(&server, "a1");
    let mut client = server.ws();
    for _ in 0..3 {
        assert_eq!(subscribe(&mut client, "a*", &json!({"last_n": 1})), 1);
        assert_eq!(expect_subscribed(&mut client, "a1", "a*"), 1);
        expect_event(&mut client, "a1", 1);
    }
    publish(&server, "a1");
    expect_event(&mut client, "a1", 2);
    assert_eq!(client.fence(), [json!(null); 0]);
    await_total(&server, 1);
}

#[test]
fn a_subscribe_by_name_takes_one_topic_out_until_that_is_deleted() {
    let server = server_with(&["a1", "a2"]);
    let (mut pattern, mut name) = (server.ws(), server.ws());
    subscribe(&mut pattern, "a*", &json!({}));
    expect_subscribed(&mut pattern, "a1", "a*");
    expect_subscribed(&mut pattern, "a2", "a*");
    name.subscribe("a1", "c");
    expect_replaced(&mut pattern, "a1", Some("a*"), 0);
    publish(&server, "a1");
    expect_event(&mut name, "a1", 1);
    assert_eq!(name.unsubscribe("a1", "c")["seq"], 1);
    publish(&server, "a1");
    assert_eq!(pattern.fence(), [json!(null); 0]);
    server.delete_topic("a1");
    server.create_topic("a1");
    expect_subscribed(&mut pattern, "a1", "a*");
    publish(&server, "a1");
    expect_event(&mut pattern, "a1", 1);
}

#[test]
fn a_pattern_takes_over_what_is_subscribed_by_name() {
    let server = server_with(&["a1", "a2"]);
    let (mut pattern, mut name) = (server.ws(), server.ws());
    name.subscribe("a1", "c");
    pattern.subscribe("a2", "c");
    assert_eq!(subscribe(&mut pattern, "a*", &json!({})), 2);
    expect_replaced(&mut name, "a1", None, 0);
    expect_subscribed(&mut pattern, "a1", "a*");
    // That by name on the same connection ends without a notice, and is not back after the pattern.
    expect_subscribed(&mut pattern, "a2", "a*");
    pattern.ask_refused(
        json!({"type": "unsubscribe", "topic": "a2", "client_id": "c"}),
        "TOPIC_NOT_FOUND",
    );
    pattern.unsubscribe("a*", "c");
    await_total(&server, 0);
}

#[test]
fn of_two_patterns_of_one_client_the_newer_one_has_what_both_match() {
    let server = server_with(&["ab"]);
    let (mut older, mut newer) = (server.ws(), server.ws());
    subscribe(&mut older, "a*", &json!({}));
    expect_subscribed(&mut older, "ab", "a*");
    subscribe(&mut newer, "*b", &json!({}));
    expect_replaced(&mut older, "ab", Some("a*"), 0);
    expect_subscribed(&mut newer, "ab", "*b");
    for topic in ["acb", "ac", "cb"] {
        server.create_topic(topic);
    }
    expect_subscribed(&mut newer, "acb", "*b");
    expect_subscribed(&mut newer, "cb", "*b");
    expect_subscribed(&mut older, "ac", "a*");
    assert_eq!(older.fence(), [json!(null); 0]);
    assert_eq!(newer.fence(), [json!(null); 0]);
}

#[test]
fn patterns_of_other_clients_are_left_alone() {
    let server = server_with(&[]);
    let mut client = server.ws();
    client.subscribe("a*", "one");
    client.subscribe("a*", "two");
    server.create_topic("a1");
    for _ in 0..2 {
        expect_subscribed(&mut client, "a1", "a*");
    }
    server.await_subscribers("a1", 2);
    publish(&server, "a1");
    expect_event(&mut client, "a1", 1);
    expect_event(&mut client, "a1", 1);
    client.close();
    server.await_subscribers("a1", 0);
}
