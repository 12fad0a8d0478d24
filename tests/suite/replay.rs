//! Replay by `last_n`: its bounds, its timestamps, and the transition from replay to live events.

use std::thread;

use serde_json::{Value, json};

use crate::harness::{SequenceChecker, TestServer, WsClient, event_seqs, seq_of};

const HISTORY: u64 = 50;
const PUBLISHED: u64 = 300;

fn replay(client: &mut WsClient, last_n: u64) -> Vec<Value> {
    client.subscribe_with("orders", "c", &json!({"last_n": last_n}));
    client.fence()
}

#[test]
fn last_n_replays_the_newest_events_oldest_first() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 10);
    assert_eq!(event_seqs(&replay(&mut client, 3)), [8, 9, 10]);
    assert_eq!(
        event_seqs(&replay(&mut client, 10)),
        (1..=10).collect::<Vec<_>>()
    );
}

#[test]
fn last_n_over_the_number_published_replays_all_without_a_gap() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    assert_eq!(replay(&mut client, 5), Vec::<Value>::new());
    client.publish_many("orders", 1, 3);
    client.fence();
    let messages = replay(&mut client, 1000);
    assert_eq!(event_seqs(&messages), [1, 2, 3]);
    assert_eq!(messages.len(), 3);
}

#[test]
fn last_n_is_capped_by_the_history_size() {
    let server = TestServer::with(|config| config.history_size = 4);
    server.create_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 20);
    let messages = replay(&mut client, 10);
    assert_eq!(event_seqs(&messages), [17, 18, 19, 20]);
    assert_eq!(
        messages.len(),
        4,
        "only a resume reports a gap: {messages:?}"
    );
}

#[test]
fn topic_may_have_its_own_history_size() {
    let server = TestServer::start();
    server.create_topic_with("orders", &json!({"history_size": 2}));
    let mut client = server.ws();
    client.publish_many("orders", 1, 5);
    assert_eq!(event_seqs(&replay(&mut client, 10)), [4, 5]);
}

#[test]
fn without_history_nothing_is_replayed_and_live_events_still_come() {
    let server = TestServer::with(|config| config.history_size = 0);
    server.create_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 5);
    assert_eq!(replay(&mut client, 10), Vec::<Value>::new());
    client.publish("orders", &json!(6));
    assert_eq!(event_seqs(&client.fence()), [6]);
}

#[test]
fn replayed_event_equals_the_live_one() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.publish_many("orders", 1, 3);
    let live = client.fence();
    let later = replay(&mut client, 3);
    assert_eq!(live, later, "every field is equal, including ts");
}

#[test]
fn replay_longer_than_the_queue_drops_nothing() {
    let server = TestServer::with(|config| {
        config.history_size = 200;
        config.max_queue_size = 5;
    });
    server.create_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 200);
    let messages = replay(&mut client, 200);
    assert_eq!(event_seqs(&messages), (1..=200).collect::<Vec<_>>());
    assert_eq!(messages.len(), 200);
}

#[test]
fn replay_and_live_events_join_exactly_during_publishing() {
    let server = TestServer::with(|config| {
        config.history_size = HISTORY as usize;
        config.max_queue_size = 1000;
    });
    server.create_topic("orders");
    thread::scope(|scope| {
        scope.spawn(|| server.ws().publish_many("orders", 1, PUBLISHED));
        for joiner in 0..4 {
            let server = &server;
            scope.spawn(move || subscribe_repeatedly(server, joiner));
        }
    });
}

/// Subscribes with different replays while messages are published; each subscription must get every event once.
fn subscribe_repeatedly(server: &TestServer, joiner: u64) {
    let mut joined = Vec::new();
    for n in 0..8 {
        let mut client = server.ws();
        let last_n = (joiner * 8 + n) * 7 % 60;
        let client_id = format!("c-{joiner}-{n}");
        let ack = client.subscribe_with("orders", &client_id, &json!({"last_n": last_n}));
        let newest = seq_of(&ack);
        let replayed = last_n.min(newest).min(HISTORY);
        joined.push((
            client,
            SequenceChecker::starting_after("orders", newest - replayed),
        ));
    }
    for (client, checker) in &mut joined {
        checker.read_until(client, PUBLISHED);
        assert_eq!(checker.skipped, 0, "{checker:?}");
    }
}

#[test]
fn replay_overtaken_by_eviction_reports_a_gap() {
    let server = TestServer::with(|config| {
        config.history_size = 100;
        config.max_queue_size = 10;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, 100, 8 << 10);
    let mut client = server.small_buffer_ws();
    client.subscribe_with("orders", "c", &json!({"last_n": 100}));
    publisher.publish_padded("orders", 101, 300, 8 << 10);
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut client, 300);
    assert!(checker.skipped > 0, "the log evicts unread events");
}
