//! More concurrent publishers than a queue holds: a reader that never pauses misses nothing.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::harness::{
    Config, Frame, Incoming, OverflowPolicy, SequenceChecker, TestServer, WsClient, uuid_of,
};

const PUBLISHERS: u64 = 120;
const REST_PUBLISHERS: u64 = 8;
const READERS: usize = 12;
const ROUNDS: u64 = 3;

/// Many publishers, some over REST, publish at the same moment in several rounds; asserts that every reader gets every event.
fn expect_no_reader_misses_anything(change: impl FnOnce(&mut Config)) {
    let server = TestServer::with(change);
    server.create_topic("room");
    let mut readers: Vec<(WsClient, SequenceChecker)> = (0..READERS)
        .map(|n| {
            let mut client = server.ws();
            client.subscribe("room", &format!("reader{n}"));
            (client, SequenceChecker::starting_after("room", 0))
        })
        .collect();
    let moment = Barrier::new((PUBLISHERS + REST_PUBLISHERS) as usize);
    let total = (PUBLISHERS + REST_PUBLISHERS) * ROUNDS;
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| {
                let mut client = server.ws();
                for round in 0..ROUNDS {
                    moment.wait();
                    client.publish("room", &json!(round));
                }
            });
        }
        for _ in 0..REST_PUBLISHERS {
            scope.spawn(|| {
                let mut client = server.http();
                for round in 0..ROUNDS {
                    moment.wait();
                    let body = json!({"payload": round});
                    client.post("/topics/room/messages", &body).expect(201);
                }
            });
        }
        for (client, checker) in &mut readers {
            scope.spawn(move || checker.read_until(client, total));
        }
    });
    for (_, checker) in &readers {
        assert_eq!(checker.skipped, 0, "{checker:?}");
    }
    assert_eq!(server.topic("room")["dropped"], 0);
}

#[test]
fn many_publishers_make_no_reader_miss_events() {
    expect_no_reader_misses_anything(|_| {});
}

#[test]
fn many_publishers_make_no_reader_miss_events_with_a_queue_of_one_and_no_history() {
    for overflow in [
        OverflowPolicy::DropOldest,
        OverflowPolicy::Disconnect,
        OverflowPolicy::Block,
    ] {
        expect_no_reader_misses_anything(|config| {
            config.overflow = overflow;
            config.max_queue_size = 1;
            config.history_size = 0;
        });
    }
}

#[test]
fn many_publishers_make_no_reader_miss_events_with_one_byte_of_history() {
    expect_no_reader_misses_anything(|config| {
        config.max_queue_size = 1;
        config.history_bytes = 1;
    });
}

/// Replies, other topics and replays share the connection with the events and must not delay them.
#[test]
fn reader_with_replies_and_two_topics_misses_nothing_with_a_queue_of_one() {
    let server = TestServer::with(|config| config.max_queue_size = 1);
    for topic in ["a", "b"] {
        server.create_topic(topic);
        server.ws().publish_padded(topic, 1, 20, 4 << 10);
    }
    let events = 150;
    thread::scope(|scope| {
        for topic in ["a", "b"] {
            let server = &server;
            scope.spawn(move || server.ws().publish_many(topic, 21, 20 + events));
        }
        let mut client = server.ws();
        client.ask(json!({"type": "subscribe", "topic": "a", "client_id": "c", "after_seq": 0}));
        client.ask(json!({"type": "subscribe", "topic": "b", "client_id": "c", "after_seq": 0}));
        let mut checkers = ["a", "b"].map(|topic| SequenceChecker::starting_after(topic, 0));
        while checkers.iter().any(|checker| checker.last() < 20 + events) {
            client.send(&json!({"type": "ping"}));
            let message = client.next_json();
            match message["topic"].as_str() {
                Some("a") => checkers[0].take(&message),
                Some("b") => checkers[1].take(&message),
                _ => assert_eq!(message["type"], "pong"),
            }
        }
        for checker in checkers {
            assert_eq!(checker.skipped, 0, "{checker:?}");
        }
    });
}

/// Close frames arrive while the publishers wait for the fan-out; the wait is short, and every publish completes.
#[test]
fn publishers_that_close_after_their_messages_have_all_of_them_published() {
    let server = TestServer::with(|_| {});
    server.create_topic("room");
    let each = 400;
    let mut readers: Vec<WsClient> = (0..4).map(|_| server.ws()).collect();
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.subscribe("room", &format!("reader{at}"));
    }
    let moment = Barrier::new(PUBLISHERS as usize);
    let total = PUBLISHERS * each;
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(move || {
                SequenceChecker::starting_after("room", 0).read_until(reader, total);
            });
        }
        for _ in 0..PUBLISHERS {
            scope.spawn(|| {
                let mut client = server.ws();
                let message = json!({"id": uuid_of(1), "payload": 1});
                let text = json!({"type": "publish", "topic": "room", "message": message});
                moment.wait();
                client.send_texts(&vec![text.to_string(); each as usize]);
                client.send_frame(&Frame::close(1000));
                let mut acked = 0;
                loop {
                    match client.receive("an ack or a close frame") {
                        Incoming::Text(text) => {
                            assert!(text.contains(r#""type":"ack""#), "{text}");
                            acked += 1;
                        }
                        Incoming::Close(_) => break assert_eq!(acked, each),
                        _ => {}
                    }
                }
            });
        }
    });
}
