//! Every kind of subscriber at once, while publishers publish to all their topics: each event is received or reported.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use super::{PUBLISHERS, subscriber};
use crate::harness::{SequenceChecker, TestServer, WsClient, eventually, seq_of};

const TOPICS: [&str; 3] = ["orders", "returns", "refunds"];
const EACH: u64 = 400;
/// The number of messages published to each topic.
const TOTAL: u64 = PUBLISHERS as u64 * EACH;
/// How many events a subscriber reads before it changes its subscription.
const STRIDE: u64 = 40;

/// Each event is received once and in order, or reported as a gap, whatever the subscriber does meanwhile.
#[test]
fn every_kind_of_subscriber_receives_each_event_or_its_gap() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 50;
        config.history_size = 200;
        config.send_buffer_bytes = 4 << 10;
    });
    TOPICS.iter().for_each(|topic| server.create_topic(topic));
    let kinds = [read_all, read_late, cut_and_resume, come_and_go, take_over];
    let ready = Barrier::new(TOPICS.len() * kinds.len() + PUBLISHERS);
    thread::scope(|scope| {
        for topic in TOPICS {
            for kind in kinds {
                let (server, ready) = (&server, &ready);
                scope.spawn(move || kind(server, topic, ready));
            }
        }
        for _ in 0..PUBLISHERS {
            scope.spawn(|| publish_everywhere(&server, &ready));
        }
    });
    eventually("no subscription is left", || {
        server.health()["subscribers"] == 0
    });
}

fn publish_everywhere(server: &TestServer, ready: &Barrier) {
    let mut publisher = server.ws();
    ready.wait();
    for first in (1..=EACH).step_by(10) {
        for topic in TOPICS {
            publisher.publish_padded(topic, first, first + 9, 1 << 10);
        }
    }
}

fn read_all(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut checker) = subscriber(server, topic, "all");
    ready.wait();
    checker.read_until(&mut client, TOTAL);
}

fn read_late(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut checker) = subscriber(server, topic, "late");
    ready.wait();
    eventually("everything is published", || {
        seq_of(&server.topic(topic)) == TOTAL
    });
    checker.read_until(&mut client, TOTAL);
    assert!(checker.skipped > 0, "{checker:?}");
}

fn cut_and_resume(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut checker) = subscriber(server, topic, "cut");
    ready.wait();
    while read_a_stride(&mut client, &mut checker) {
        client.reset();
        client = server.small_buffer_ws();
        client.subscribe_with(topic, "cut", &json!({"after_seq": checker.last()}));
    }
}

fn come_and_go(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut checker) = subscriber(server, topic, "restless");
    ready.wait();
    while read_a_stride(&mut client, &mut checker) {
        let end = seq_of(&client.unsubscribe(topic, "restless"));
        checker.read_until(&mut client, end);
        assert_eq!(client.fence().len(), 0, "messages after the ack");
        client.subscribe_with(topic, "restless", &json!({"after_seq": end}));
    }
}

fn take_over(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut checker) = subscriber(server, topic, "contested");
    ready.wait();
    while read_a_stride(&mut client, &mut checker) {
        let mut next = server.small_buffer_ws();
        let start = seq_of(&next.subscribe(topic, "contested"));
        let end = loop {
            let message = client.next_json();
            if message["msg"] == "subscription_replaced" {
                break seq_of(&message);
            }
            checker.take(&message);
        };
        checker.assert_complete(end);
        assert!(end <= start, "sent up to {end}, but replaced at {start}");
        next.subscribe_with(topic, "contested", &json!({"after_seq": end}));
        next.discard_earlier();
        client = next;
    }
}

/// Reads up to [`STRIDE`] events further; `false` at the end.
fn read_a_stride(client: &mut WsClient, checker: &mut SequenceChecker) -> bool {
    let goal = TOTAL.min(checker.last() + STRIDE);
    while checker.last() < goal {
        checker.take(&client.next_json());
    }
    checker.assert_complete(checker.last());
    checker.last() < TOTAL
}
