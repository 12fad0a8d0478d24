//! More publishers at once than a queue holds: who reads without pause misses nothing.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::harness::{
    Account, Config, Frame, Incoming, OverflowPolicy, TestServer, WsClient, uuid_of,
};

const PUBLISHERS: u64 = 120;
const REST_PUBLISHERS: u64 = 8;
const READERS: usize = 12;
const ROUNDS: u64 = 3;

/// A crowd that says one thing at the same moment, again and again, some of it over REST; every reader hears it all.
fn nobody_misses_anything(change: impl FnOnce(&mut Config)) {
    let server = TestServer::with(change);
    server.create_topic("room");
    let mut readers: Vec<(WsClient, Account)> = (0..READERS)
        .map(|n| {
            let mut client = server.ws();
            client.subscribe("room", &format!("reader{n}"));
            (client, Account::starting_after("room", 0))
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
        for (client, account) in &mut readers {
            scope.spawn(move || account.read_until(client, total));
        }
    });
    for (_, account) in &readers {
        assert_eq!(account.told, 0, "{account:?}");
    }
    assert_eq!(server.topic("room")["dropped"], 0);
}

#[test]
fn a_crowd_of_publishers_makes_no_reader_slow() {
    nobody_misses_anything(|_| {});
}

#[test]
fn a_crowd_makes_no_reader_slow_with_a_queue_of_one_and_no_history() {
    for overflow in [
        OverflowPolicy::DropOldest,
        OverflowPolicy::Disconnect,
        OverflowPolicy::Block,
    ] {
        nobody_misses_anything(|config| {
            config.overflow = overflow;
            config.max_queue_size = 1;
            config.history_size = 0;
        });
    }
}

#[test]
fn a_crowd_makes_no_reader_slow_with_few_bytes_of_history() {
    nobody_misses_anything(|config| {
        config.max_queue_size = 1;
        config.history_bytes = 1;
    });
}

/// Replies, other topics and replays share the connection with the events; none of it makes them late.
#[test]
fn a_reader_with_other_things_to_hear_misses_nothing_with_a_queue_of_one() {
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
        let mut accounts = ["a", "b"].map(|topic| Account::starting_after(topic, 0));
        while accounts.iter().any(|account| account.last() < 20 + events) {
            client.send(&json!({"type": "ping"}));
            let message = client.next_json();
            match message["topic"].as_str() {
                Some("a") => accounts[0].take(&message),
                Some("b") => accounts[1].take(&message),
                _ => assert_eq!(message["type"], "pong"),
            }
        }
        for account in accounts {
            assert_eq!(account.told, 0, "{account:?}");
        }
    });
}

/// The end of the requests is in sight while they wait for the fan-out; that is a moment, and each of them is done.
#[test]
fn a_crowd_that_says_goodbye_behind_its_messages_has_all_of_them_published() {
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
            scope.spawn(move || Account::starting_after("room", 0).read_until(reader, total));
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
                    match client.receive("acks, and a close frame") {
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
