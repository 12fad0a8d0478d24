//! A second connection with the same client id: the newer subscription wins, the older one ends with a notice.

use std::thread;

use serde_json::json;

use crate::harness::{SequenceChecker, TestServer, WsClient, event_seqs, seq_of, text_of};

/// Two connections; the second has taken over the subscription of the first.
fn taken_over(server: &TestServer) -> (WsClient, WsClient) {
    let (mut older, mut newer) = (server.ws(), server.ws());
    older.subscribe("orders", "c");
    newer.subscribe("orders", "c");
    (older, newer)
}

#[test]
fn older_subscription_is_notified_with_its_last_seq() {
    let server = TestServer::with_topic("orders");
    let (mut older, mut newer) = (server.ws(), server.ws());
    older.subscribe("orders", "c");
    newer.publish_many("orders", 1, 3);
    // On a node of a cluster another thread may still send them when they are acknowledged.
    assert_eq!(event_seqs(&older.next_events(3)), [1, 2, 3]);
    newer.subscribe("orders", "c");
    newer.publish_many("orders", 4, 5);
    let messages = older.fence();
    let notice = &messages[0];
    assert_eq!(notice["type"], "info");
    assert_eq!(notice["msg"], "subscription_replaced");
    assert_eq!(notice["topic"], "orders");
    assert_eq!(seq_of(notice), 3);
    assert_eq!(messages.len(), 1);
    assert_eq!(event_seqs(&newer.fence()), [4, 5]);
}

#[test]
fn older_connection_stays_and_may_subscribe_again() {
    let server = TestServer::with_topic("orders");
    let (mut older, mut newer) = taken_over(&server);
    older.next_info("subscription_replaced");
    older.subscribe("orders", "c");
    newer.next_info("subscription_replaced");
    server.ws().publish("orders", &json!(1));
    assert_eq!(event_seqs(&older.fence()), [1]);
    assert_eq!(newer.fence().len(), 0);
}

#[test]
fn takeover_leaves_one_subscription() {
    let server = TestServer::with_topic("orders");
    let (older, mut newer) = taken_over(&server);
    assert_eq!(server.topic("orders")["subscribers"], 1);
    older.reset();
    newer.publish("orders", &json!(1));
    newer.next_event();
    assert_eq!(
        server.topic("orders")["subscribers"],
        1,
        "the older connection ended only itself"
    );
}

#[test]
fn older_connection_cannot_end_the_newer_subscription() {
    let server = TestServer::with_topic("orders");
    let (mut older, mut newer) = taken_over(&server);
    let request = json!({"type": "unsubscribe", "topic": "orders", "client_id": "c"});
    let reply = older.ask_refused(request, "TOPIC_NOT_FOUND");
    assert_eq!(
        text_of(&reply),
        "Topic 'orders' not found or client not subscribed"
    );
    newer.publish("orders", &json!(1));
    newer.next_event();
}

#[test]
fn same_client_id_on_another_topic_is_another_subscription() {
    let server = TestServer::with_topic("orders");
    server.create_topic("returns");
    let (mut first, mut second) = (server.ws(), server.ws());
    first.subscribe("orders", "c");
    second.subscribe("returns", "c");
    second.publish("orders", &json!(1));
    first.next_event();
    assert_eq!(second.fence().len(), 0);
}

#[test]
fn refused_takeover_leaves_the_older_subscription() {
    let server = TestServer::with_topic("orders");
    let (mut older, mut newer) = (server.ws(), server.ws());
    older.subscribe("orders", "refused");
    newer.subscribe_refused("orders", &json!({"after_seq": 99}), "BAD_REQUEST");
    newer.publish("orders", &json!(1));
    older.next_event();
}

#[test]
fn takeovers_during_publishing_neither_lose_nor_repeat_events() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 1000;
        config.history_size = 1000;
    });
    server.create_topic("orders");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut current = server.ws();
    current.subscribe("orders", "c");
    thread::scope(|scope| {
        scope.spawn(|| server.ws().publish_many("orders", 1, 400));
        for _ in 0..10 {
            let mut next = server.ws();
            let start = seq_of(&next.subscribe("orders", "c"));
            let end = read_to_replaced(&mut current, &mut checker);
            assert!(end <= start, "sent up to {end}, but replaced at {start}");
            let ack = next.subscribe_with("orders", "c", &json!({"after_seq": end}));
            assert_eq!(ack["recovered"], true);
            next.discard_earlier();
            current = next;
        }
        checker.read_until(&mut current, 400);
    });
    assert_eq!((checker.received, checker.skipped), (400, 0));
}

/// Reads the older subscription's messages up to the notice; returns the notice's seq.
fn read_to_replaced(client: &mut WsClient, checker: &mut SequenceChecker) -> u64 {
    loop {
        let message = client.next_json();
        if message["msg"] == "subscription_replaced" {
            let end = seq_of(&message);
            checker.assert_complete(end);
            return end;
        }
        checker.take(&message);
    }
}
