//! The order of messages on one connection: the five rules of the protocol.

use std::thread;

use serde_json::json;

use crate::harness::{SequenceChecker, TestServer, WsClient, event_seqs, seq_of, uuid_of};

const PUBLISHERS: u64 = 3;
const EACH: u64 = 60;

/// Publishes from several connections at once, with distinct message numbers.
fn publish_concurrently(server: &TestServer, topic: &str) {
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || {
                let first = publisher * EACH + 1;
                server.ws().publish_many(topic, first, first + EACH - 1);
            });
        }
    });
}

fn server_with_large_queues() -> TestServer {
    let server = TestServer::with(|config| {
        config.max_queue_size = 1000;
        config.history_size = 1000;
    });
    server.create_topic("orders");
    server
}

fn next_type(client: &mut WsClient) -> String {
    let message = client.next_json();
    message["type"].as_str().unwrap().to_owned()
}

#[test]
fn ack_precedes_replay_and_replay_precedes_live_events() {
    let server = TestServer::with_topic("orders");
    let (mut publisher, mut client) = (server.ws(), server.ws());
    publisher.publish_many("orders", 1, 5);
    client.send(&json!({"type": "subscribe", "topic": "orders", "client_id": "c", "last_n": 3}));
    assert_eq!(next_type(&mut client), "ack");
    publisher.publish_many("orders", 6, 7);
    SequenceChecker::starting_after("orders", 2).read_until(&mut client, 7);
}

#[test]
fn gap_notice_comes_between_ack_and_replay() {
    let server = TestServer::with(|config| config.history_size = 2);
    server.create_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 5);
    client.send(&json!({"type": "subscribe", "topic": "orders", "client_id": "c", "after_seq": 1}));
    assert_eq!(next_type(&mut client), "ack");
    let gap = client.next_info("gap");
    assert_eq!(
        gap["gap"],
        json!({"from_seq": 2, "to_seq": 3, "count": 2, "reason": "history_evicted"})
    );
    assert_eq!(event_seqs(&client.fence()), [4, 5]);
}

#[test]
fn all_subscribers_see_the_same_order() {
    let server = server_with_large_queues();
    let mut subscribers: Vec<_> = (0..5).map(|_| server.ws()).collect();
    for (n, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.subscribe("orders", &format!("c{n}"));
    }
    publish_concurrently(&server, "orders");
    let orders: Vec<_> = subscribers
        .iter_mut()
        .map(|subscriber| {
            let mut checker = SequenceChecker::starting_after("orders", 0);
            checker.read_until(subscriber, PUBLISHERS * EACH);
            checker.ids().to_vec()
        })
        .collect();
    assert!(orders.iter().all(|order| *order == orders[0]));
    let mut ids = orders[0].clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len() as u64, PUBLISHERS * EACH, "every id occurs once");
}

#[test]
fn messages_of_one_publisher_keep_their_order() {
    let server = server_with_large_queues();
    let mut subscriber = server.ws();
    subscriber.subscribe("orders", "c");
    publish_concurrently(&server, "orders");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut subscriber, PUBLISHERS * EACH);
    for publisher in 0..PUBLISHERS {
        let own: Vec<_> = (publisher * EACH + 1..=publisher * EACH + EACH)
            .map(uuid_of)
            .collect();
        let seen: Vec<_> = checker
            .ids()
            .iter()
            .filter(|id| own.contains(id))
            .cloned()
            .collect();
        assert_eq!(seen, own);
    }
}

#[test]
fn publish_acks_have_consecutive_sequences() {
    let server = server_with_large_queues();
    let seqs = thread::scope(|scope| {
        let threads: Vec<_> = (0..PUBLISHERS)
            .map(|_| scope.spawn(|| server.ws().publish_many("orders", 1, EACH)))
            .collect();
        let seqs = threads.into_iter().map(|thread| thread.join().unwrap());
        seqs.collect::<Vec<_>>()
    });
    assert!(seqs.iter().all(|own| own.is_sorted()));
    let mut all = seqs.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=PUBLISHERS * EACH).collect::<Vec<_>>());
}

#[test]
fn no_event_follows_an_unsubscribe_ack() {
    let server = server_with_large_queues();
    thread::scope(|scope| {
        scope.spawn(|| publish_concurrently(&server, "orders"));
        for n in 0..4 {
            let server = &server;
            scope.spawn(move || unsubscribe_while_publishing(server, &format!("c{n}")));
        }
    });
}

/// Subscribes and unsubscribes while others publish; every event up to the seq of the unsubscribe ack must arrive.
fn unsubscribe_while_publishing(server: &TestServer, client_id: &str) {
    let mut client = server.ws();
    for _ in 0..10 {
        let start = seq_of(&client.subscribe("orders", client_id));
        let end = seq_of(&client.unsubscribe("orders", client_id));
        let mut checker = SequenceChecker::starting_after("orders", start);
        checker.read_until(&mut client, end);
        assert_eq!(client.fence().len(), 0, "messages after the ack");
    }
}

#[test]
fn no_event_follows_topic_deleted() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.publish_many("orders", 1, 3);
    server.delete_topic("orders");
    server.create_topic("orders");
    server.ws().publish_many("orders", 4, 6);
    let events = client.next_events(3);
    assert_eq!(event_seqs(&events), [1, 2, 3]);
    client.next_info("topic_deleted");
    assert_eq!(client.fence().len(), 0, "messages after the notice");
}

#[test]
fn subscribed_publisher_gets_its_ack_and_its_event_once() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    assert_eq!(
        client.publish_many("orders", 1, 50),
        (1..=50).collect::<Vec<_>>()
    );
    SequenceChecker::starting_after("orders", 0).read_until(&mut client, 50);
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn subscribing_again_restarts_the_subscription_without_a_notice() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.publish_many("orders", 1, 5);
    assert_eq!(event_seqs(&client.fence()), [1, 2, 3, 4, 5]);
    assert_eq!(
        seq_of(&client.subscribe_with("orders", "c", &json!({"last_n": 2}))),
        5
    );
    client.publish("orders", &json!(6));
    let messages = client.fence();
    assert_eq!(event_seqs(&messages), [4, 5, 6]);
    assert_eq!(messages.len(), 3, "a notice among {messages:?}");
    assert_eq!(server.topic("orders")["subscribers"], 1);
}

#[test]
fn two_client_ids_on_one_connection_are_two_subscriptions() {
    let server = server_with_large_queues();
    let mut client = server.ws();
    client.subscribe("orders", "a");
    client.subscribe("orders", "b");
    client.publish_many("orders", 1, 3);
    let mut seqs = event_seqs(&client.fence());
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 1, 2, 2, 3, 3]);
    client.unsubscribe("orders", "a");
    client.publish("orders", &json!(4));
    assert_eq!(event_seqs(&client.fence()), [4]);
}
