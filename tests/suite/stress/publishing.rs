//! Publishers that burst, wait, or do not read: their events reach every subscriber and make none of them slow.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{PUBLISHERS, subscriber};
use crate::harness::{
    Frame, OverflowPolicy, SequenceChecker, TestServer, await_stable, eventually, publish_text,
    seq_of,
};

/// Publishes `each` messages from every publisher at the same moment, each publisher's in one write.
fn burst_together(server: &TestServer, topic: &str, each: usize) {
    let barrier = Barrier::new(PUBLISHERS);
    let publish = || {
        let mut publisher = server.ws();
        let frame = |n: usize| Frame::text(&publish_text(topic, "1", &n.to_string())).masked();
        let burst: Vec<u8> = (1..=each).flat_map(frame).collect();
        barrier.wait();
        publisher.send_bytes(&burst);
        publisher.expect_ack(&each.to_string());
    };
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(publish);
        }
    });
}

#[test]
fn simultaneous_bursts_make_no_idle_subscriber_miss_events() {
    let (rounds, subscribers, each) = (4, 40, 150);
    for overflow in [OverflowPolicy::DropOldest, OverflowPolicy::Disconnect] {
        let server = TestServer::with(|config| config.overflow = overflow);
        server.create_topic("orders");
        let mut clients: Vec<_> = (0..subscribers)
            .map(|n| {
                let mut client = server.ws();
                client.subscribe("orders", &format!("c{n}"));
                (client, SequenceChecker::starting_after("orders", 0))
            })
            .collect();
        for round in 1..=rounds {
            burst_together(&server, "orders", each);
            for (client, checker) in &mut clients {
                checker.read_until(client, (round * PUBLISHERS * each) as u64);
                assert_eq!(checker.skipped, 0, "{overflow}, round {round}");
            }
        }
    }
}

/// A connection that falls behind on one topic still gets the events of its other topic in between.
#[test]
fn busy_topic_does_not_delay_another_topic_of_the_connection() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 500;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("busy");
    server.create_topic("rare");
    let mut client = server.small_buffer_ws();
    client.subscribe("busy", "c");
    client.subscribe("rare", "c");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = || {
            let mut publisher = server.ws();
            while !stop.load(Ordering::Relaxed) {
                publisher.publish_padded("busy", 1, 100, 4 << 10);
            }
        };
        (0..3).for_each(|_| drop(scope.spawn(flood)));
        eventually("more is published than the client reads", || {
            seq_of(&server.topic("busy")) > 1000
        });
        server.ws().publish("rare", &json!(1));
        let is_rare = |message: &Value| message["topic"] == "rare";
        let found = (0..1000).any(|_| is_rare(&client.next_json()));
        stop.store(true, Ordering::Relaxed);
        assert!(found, "no event of the other topic");
    });
}

/// Wherever the connection stops because its client does not read, published messages are delivered.
#[test]
fn events_of_a_publisher_that_reads_no_replies_are_delivered() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 4 << 10);
    server.create_topic("orders");
    server.create_topic("other");
    let mut subscriber = server.ws();
    subscriber.subscribe("orders", "c");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let ping = json!({"type": "ping", "request_id": "y".repeat(128)}).to_string();
    let subscribe = json!({"type": "subscribe", "topic": "other", "client_id": "c"}).to_string();
    for pings in (300..900).step_by(50) {
        let mut silent = server.small_buffer_ws();
        let texts = std::iter::repeat_n(ping.as_str(), pings);
        let publish = publish_text("orders", "1", "p");
        let texts = texts.chain([publish.as_str(), subscribe.as_str()]);
        let frames: Vec<u8> = texts.flat_map(|text| Frame::text(text).masked()).collect();
        silent.send_bytes(&frames);
        let end = await_stable(Duration::from_millis(50), || {
            seq_of(&server.topic("orders"))
        });
        checker.read_until(&mut subscriber, end);
        silent.reset();
    }
}

/// Publishers that wait for a slow subscriber, for each other and for themselves make progress and lose nothing.
#[test]
fn subscribed_publishers_under_block_drop_nothing() {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::Block;
        config.max_queue_size = 5;
        config.history_bytes = 16 << 10;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let (mut slow, mut checker) = subscriber(&server, "orders", "slow");
    let ready = Barrier::new(PUBLISHERS);
    let each = 60;
    let total = PUBLISHERS as u64 * each;
    thread::scope(|scope| {
        for n in 0..PUBLISHERS {
            let (server, ready) = (&server, &ready);
            scope.spawn(move || {
                let (mut client, mut checker) = subscriber(server, "orders", &format!("p{n}"));
                ready.wait();
                client.publish_padded("orders", 1, each, 4 << 10);
                checker.read_until(&mut client, total);
                assert_eq!(checker.skipped, 0, "{checker:?}");
            });
        }
        checker.read_until(&mut slow, total);
    });
    assert_eq!(checker.skipped, 0, "{checker:?}");
}
