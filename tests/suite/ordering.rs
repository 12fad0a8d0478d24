//! The order of what comes on one connection: the five rules of the protocol.

use std::thread;

use serde_json::json;

use crate::harness::{Account, TestServer, WsClient, event_seqs, seq_of, uuid_of};

const PUBLISHERS: u64 = 3;
const EACH: u64 = 60;

/// Publishes from several connections at once, each its own numbers.
fn publish_from_all_sides(server: &TestServer, topic: &str) {
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || {
                let first = publisher * EACH + 1;
                server.ws().publish_many(topic, first, first + EACH - 1);
            });
        }
    });
}

fn roomy_server() -> TestServer {
    let server = TestServer::with(|config| {
        config.max_queue_size = 1000;
        config.history_size = 1000;
    });
    server.create_topic("orders");
    server
}

fn next_kind(client: &mut WsClient) -> String {
    let message = client.next_json();
    message["type"].as_str().unwrap().to_owned()
}

#[test]
fn subscribing_gives_the_ack_then_the_replay_then_live_events() {
    let server = TestServer::with_topic("orders");
    let (mut publisher, mut client) = (server.ws(), server.ws());
    publisher.publish_many("orders", 1, 5);
    client.send(&json!({"type": "subscribe", "topic": "orders", "client_id": "c", "last_n": 3}));
    assert_eq!(next_kind(&mut client), "ack");
    publisher.publish_many("orders", 6, 7);
    Account::starting_after("orders", 2).read_until(&mut client, 7);
}

#[test]
fn a_gap_notice_stands_between_the_ack_and_the_replay() {
    let server = TestServer::with(|config| config.history_size = 2);
    server.create_topic("orders");
    let mut client = server.ws();
    client.publish_many("orders", 1, 5);
    client.send(&json!({"type": "subscribe", "topic": "orders", "client_id": "c", "after_seq": 1}));
    assert_eq!(next_kind(&mut client), "ack");
    let gap = client.next_info("gap");
    assert_eq!(
        gap["gap"],
        json!({"from_seq": 2, "to_seq": 3, "count": 2, "reason": "history_evicted"})
    );
    assert_eq!(event_seqs(&client.fence()), [4, 5]);
}

#[test]
fn all_subscribers_see_the_same_order() {
    let server = roomy_server();
    let mut subscribers: Vec<_> = (0..5).map(|_| server.ws()).collect();
    for (n, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.subscribe("orders", &format!("c{n}"));
    }
    publish_from_all_sides(&server, "orders");
    let orders: Vec<_> = subscribers
        .iter_mut()
        .map(|subscriber| {
            let mut account = Account::starting_after("orders", 0);
            account.read_until(subscriber, PUBLISHERS * EACH);
            account.ids().to_vec()
        })
        .collect();
    assert!(orders.iter().all(|order| *order == orders[0]));
    let mut ids = orders[0].clone();
    ids.sort();
    ids.dedup();
    assert_eq!(
        ids.len() as u64,
        PUBLISHERS * EACH,
        "no message stands for another"
    );
}

#[test]
fn the_messages_of_one_publisher_keep_their_order() {
    let server = roomy_server();
    let mut subscriber = server.ws();
    subscriber.subscribe("orders", "c");
    publish_from_all_sides(&server, "orders");
    let mut account = Account::starting_after("orders", 0);
    account.read_until(&mut subscriber, PUBLISHERS * EACH);
    for publisher in 0..PUBLISHERS {
        let own: Vec<_> = (publisher * EACH + 1..=publisher * EACH + EACH)
            .map(uuid_of)
            .collect();
        let seen: Vec<_> = account
            .ids()
            .iter()
            .filter(|id| own.contains(id))
            .cloned()
            .collect();
        assert_eq!(seen, own);
    }
}

#[test]
fn publish_acks_number_the_messages_without_a_hole() {
    let server = roomy_server();
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
fn no_event_follows_the_ack_of_an_unsubscribe() {
    let server = roomy_server();
    thread::scope(|scope| {
        scope.spawn(|| publish_from_all_sides(&server, "orders"));
        for n in 0..4 {
            let server = &server;
            scope.spawn(move || leave_and_listen(server, &format!("c{n}")));
        }
    });
}

/// Subscribes and unsubscribes while others publish; the books close at the seq of the unsubscribe ack.
fn leave_and_listen(server: &TestServer, client_id: &str) {
    let mut client = server.ws();
    for _ in 0..10 {
        let start = seq_of(&client.subscribe("orders", client_id));
        let end = seq_of(&client.unsubscribe("orders", client_id));
        let mut account = Account::starting_after("orders", start);
        account.read_until(&mut client, end);
        assert_eq!(client.fence().len(), 0, "something came after the ack");
    }
}

#[test]
fn no_event_follows_topic_deleted() {
    let server = roomy_server();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.publish_many("orders", 1, 3);
    server.delete_topic("orders");
    server.create_topic("orders");
    server.ws().publish_many("orders", 4, 6);
    let messages = client.fence();
    assert_eq!(event_seqs(&messages), [1, 2, 3]);
    assert_eq!(messages[3]["msg"], "topic_deleted");
    assert_eq!(messages.len(), 4);
}

#[test]
fn a_publisher_that_subscribes_gets_its_ack_and_its_event_once() {
    let server = roomy_server();
    let mut client = server.ws();
    client.subscribe("orders", "c");
    assert_eq!(
        client.publish_many("orders", 1, 50),
        (1..=50).collect::<Vec<_>>()
    );
    Account::starting_after("orders", 0).read_until(&mut client, 50);
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn subscribing_again_starts_the_subscription_anew_without_a_notice() {
    let server = roomy_server();
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
    let server = roomy_server();
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
