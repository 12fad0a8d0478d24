//! Deleting a topic: who is notified, what comes before the notice, and what stays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::{
    SequenceChecker, TestServer, WsClient, code_of, event_seqs, eventually, publish_text, text_of,
};

fn server_with_large_queues() -> TestServer {
    let server = TestServer::with(|config| {
        config.max_queue_size = 100_000;
        config.history_size = 10;
    });
    server.create_topic("orders");
    server
}

/// Reads events up to `topic_deleted` and returns the sequence of the last one.
fn read_to_deleted(client: &mut WsClient) -> u64 {
    let mut checker = SequenceChecker::starting_after("orders", 0);
    loop {
        let message = client.next_json();
        if message["msg"] == "topic_deleted" {
            assert_eq!(message["type"], "info", "{message}");
            assert_eq!(message["topic"], "orders", "{message}");
            assert_eq!(checker.skipped, 0, "{checker:?}");
            return checker.last();
        }
        checker.take(&message);
    }
}

/// Publishes until the topic is deleted; returns the last sequence that was acked.
fn publish_until_refused(server: &TestServer, acked: &AtomicU64) -> u64 {
    let mut client = server.ws();
    let mut last = 0;
    loop {
        client.send_text(&publish_text("orders", "1", "p"));
        let reply = client.next_json();
        if reply["type"] == "error" {
            assert_eq!(code_of(&reply), "TOPIC_NOT_FOUND", "{reply}");
            assert_eq!(text_of(&reply), "Topic 'orders' does not exist");
            return last;
        }
        last = reply["seq"].as_u64().unwrap();
        acked.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn events_acked_before_deletion_precede_its_notice() {
    let server = server_with_large_queues();
    let mut subscribers: Vec<_> = (0..5).map(|_| server.ws()).collect();
    for (n, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.subscribe("orders", &format!("c{n}"));
    }
    let acked = AtomicU64::new(0);
    let last = thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| publish_until_refused(&server, &acked)))
            .collect();
        eventually("some messages are acked", || {
            acked.load(Ordering::SeqCst) > 100
        });
        server.delete_topic("orders");
        let lasts = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap());
        lasts.max().unwrap()
    });
    assert_eq!(
        last,
        acked.load(Ordering::SeqCst),
        "sequences have no holes"
    );
    for subscriber in &mut subscribers {
        assert_eq!(read_to_deleted(subscriber), last);
        assert_eq!(subscriber.fence().len(), 0);
    }
}

#[test]
fn deletion_ends_subscriptions_and_keeps_connections() {
    let server = server_with_large_queues();
    server.create_topic("returns");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.subscribe("returns", "c");
    assert_eq!(server.health()["subscribers"], 2);
    server.delete_topic("orders");
    client.next_info("topic_deleted");
    assert_eq!(server.health()["subscribers"], 1);
    assert_eq!(server.health()["topics"], 1);
    client.publish("returns", &json!(1));
    assert_eq!(event_seqs(&client.fence()), [1]);
}

#[test]
fn each_subscription_gets_one_deletion_notice() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    client.subscribe("orders", "a");
    client.subscribe("orders", "b");
    server.delete_topic("orders");
    client.next_info("topic_deleted");
    client.next_info("topic_deleted");
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn deleted_topic_is_unknown_to_every_request() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    server.delete_topic("orders");
    let request = json!({"type": "unsubscribe", "topic": "orders", "client_id": "c"});
    let reply = client.ask_refused(request, "TOPIC_NOT_FOUND");
    assert_eq!(
        text_of(&reply),
        "Topic 'orders' not found or client not subscribed"
    );
    client.subscribe_refused("orders", &json!({}), "TOPIC_NOT_FOUND");
    let detail = server
        .http()
        .delete("/topics/orders")
        .expect_problem(404, "TOPIC_NOT_FOUND");
    assert_eq!(detail, "Topic 'orders' not found");
}

#[test]
fn recreated_topic_starts_at_sequence_1_with_a_new_epoch() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    let first = client.subscribe("orders", "c");
    client.publish_many("orders", 1, 3);
    server.delete_topic("orders");
    server.create_topic("orders");
    client.fence();
    let second = client.subscribe_with("orders", "c", &json!({"last_n": 10}));
    assert_ne!(first["epoch"], second["epoch"]);
    assert_eq!(second["seq"], 0);
    client.publish("orders", &json!(1));
    assert_eq!(event_seqs(&client.fence()), [1]);
}

#[test]
fn stalled_subscriber_gets_its_gaps_before_the_deletion_notice() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 10;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let mut client = server.small_buffer_ws();
    client.subscribe("orders", "slow");
    server.ws().publish_padded("orders", 1, 200, 4 << 10);
    server.delete_topic("orders");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut message = client.next_json();
    while message["msg"] != "topic_deleted" {
        checker.take(&message);
        message = client.next_json();
    }
    checker.assert_complete(200);
    assert!(checker.skipped > 0);
}

#[test]
fn topics_created_and_deleted_concurrently_leave_nothing_behind() {
    let server = TestServer::start();
    thread::scope(|scope| {
        for n in 0..3 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.ws();
                for round in 0..10 {
                    let topic = format!("t{n}-{round}");
                    server.create_topic(&topic);
                    client.subscribe(&topic, "c");
                    server.delete_topic(&topic);
                    client.next_info("topic_deleted");
                }
            });
        }
    });
    let health = server.health();
    assert_eq!(
        (&health["topics"], &health["subscribers"]),
        (&json!(0), &json!(0))
    );
}
