//! One subscription per topic and `client_id` in the whole cluster: the newer one wins, on whatever node it is.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{COUNT_LIMIT, Cluster, Follower, Publisher, Setup, throughout, within};
use crate::harness::{SequenceChecker, WsClient, code_of, event_seqs, seq_of, text_of};

/// Two connections, one to each of two nodes; the second has taken over the subscription of the first.
fn taken_over(cluster: &Cluster) -> (WsClient, WsClient) {
    let (mut older, mut newer) = (cluster[0].ws(), cluster[1].ws());
    older.subscribe("orders", "c");
    newer.subscribe("orders", "c");
    older.next_info("subscription_replaced");
    (older, newer)
}

#[test]
fn older_subscription_on_another_node_is_told_with_its_last_seq() {
    let cluster = Cluster::with_topic(3, "orders");
    let (mut older, mut newer) = (cluster[0].ws(), cluster[1].ws());
    older.subscribe("orders", "c");
    cluster[2].publish("orders", 1, 3);
    assert_eq!(event_seqs(&older.next_events(3)), [1, 2, 3]);
    newer.subscribe("orders", "c");
    let notice = older.next_info("subscription_replaced");
    assert_eq!((&notice["topic"], seq_of(&notice)), (&json!("orders"), 3));
    cluster[2].publish("orders", 4, 5);
    assert_eq!(event_seqs(&newer.next_events(2)), [4, 5]);
    assert_eq!(older.fence(), Vec::<Value>::new());
}

#[test]
fn takeover_leaves_one_subscription_in_the_counts_of_all() {
    let cluster = Cluster::with_topic(3, "orders");
    let (_older, _newer) = taken_over(&cluster);
    for node in cluster.nodes() {
        node.await_subscribers("orders", 1);
    }
    throughout(COUNT_LIMIT, "one subscription", || {
        cluster
            .nodes()
            .iter()
            .all(|node| node.subscribers("orders") == 1)
    });
}

#[test]
fn end_of_the_older_connection_leaves_the_newer_subscription() {
    let cluster = Cluster::with_topic(2, "orders");
    let (older, mut newer) = taken_over(&cluster);
    older.reset();
    cluster[0].await_subscribers("orders", 1);
    throughout(COUNT_LIMIT, "one subscription", || {
        cluster[0].subscribers("orders") == 1
    });
    cluster[0].publish("orders", 1, 1);
    newer.next_event();
}

#[test]
fn older_connection_cannot_end_the_newer_subscription() {
    let cluster = Cluster::with_topic(2, "orders");
    let (mut older, mut newer) = taken_over(&cluster);
    let request = json!({"type": "unsubscribe", "topic": "orders", "client_id": "c"});
    let reply = older.ask_refused(request, "TOPIC_NOT_FOUND");
    assert_eq!(
        text_of(&reply),
        "Topic 'orders' not found or client not subscribed"
    );
    cluster[0].publish("orders", 1, 1);
    newer.next_event();
}

#[test]
fn older_connection_may_take_it_back_again_and_again() {
    let cluster = Cluster::with_topic(2, "orders");
    let (mut older, mut newer) = taken_over(&cluster);
    for round in 1..=10 {
        older.subscribe("orders", "c");
        newer.next_info("subscription_replaced");
        cluster[0].publish("orders", round, round);
        assert_eq!(seq_of(&older.next_event()), round);
        assert_eq!(newer.fence(), Vec::<Value>::new());
        std::mem::swap(&mut older, &mut newer);
    }
    cluster[0].await_subscribers("orders", 1);
}

#[test]
fn client_id_on_another_topic_is_another_subscription() {
    let cluster = Cluster::with_topic(2, "orders");
    cluster[0].create_topic("returns");
    let (mut first, mut second) = (cluster[0].ws(), cluster[1].ws());
    first.subscribe("orders", "c");
    second.subscribe("returns", "c");
    cluster[1].publish("orders", 1, 1);
    first.next_event();
    assert_eq!(second.fence(), Vec::<Value>::new());
    cluster[0].publish("returns", 1, 1);
    second.next_event();
    assert_eq!(first.fence(), Vec::<Value>::new());
}

#[test]
fn subscribing_again_on_the_same_connection_is_no_takeover() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[0].ws();
    for _ in 0..5 {
        client.subscribe("orders", "c");
    }
    cluster[1].publish("orders", 1, 1);
    assert_eq!(seq_of(&client.next_event()), 1);
    assert_eq!(client.fence(), Vec::<Value>::new());
    cluster[1].await_subscribers("orders", 1);
}

#[test]
fn takeover_and_unsubscribe_leave_no_subscription() {
    let cluster = Cluster::with_topic(2, "orders");
    let (_older, mut newer) = taken_over(&cluster);
    newer.unsubscribe("orders", "c");
    for node in cluster.nodes() {
        node.await_subscribers("orders", 0);
    }
}

#[test]
fn of_subscribes_on_all_nodes_at_once_one_remains() {
    let cluster = Cluster::with_topic(3, "orders");
    for round in 1..=15 {
        let barrier = Barrier::new(3);
        let mut clients: Vec<WsClient> = thread::scope(|scope| {
            let threads: Vec<_> = cluster
                .nodes()
                .iter()
                .map(|node| {
                    let barrier = &barrier;
                    scope.spawn(move || {
                        let mut client = node.ws();
                        barrier.wait();
                        client.subscribe("orders", "c");
                        client
                    })
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut replaced = 0;
        let mut is_kept = [true; 3];
        within(COUNT_LIMIT, "two of three are replaced", || {
            for (client, kept) in clients.iter_mut().zip(&mut is_kept) {
                for message in client.fence() {
                    assert_eq!(message["msg"], "subscription_replaced", "{message}");
                    replaced += 1;
                    *kept = false;
                }
            }
            replaced == 2
        });
        cluster[0].publish("orders", round, round);
        for (client, kept) in clients.iter_mut().zip(is_kept) {
            match kept {
                true => assert_eq!(seq_of(&client.next_event()), round),
                false => assert_eq!(client.fence(), Vec::<Value>::new()),
            }
        }
    }
}

#[test]
fn takeovers_from_node_to_node_while_publishing_lose_and_double_nothing() {
    let cluster = Setup::of(2)
        .set("PUBSUB_MAX_QUEUE_SIZE", "1000")
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .start();
    cluster[0].create_topic("orders");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut current = cluster[0].ws();
    current.subscribe("orders", "c");
    let publisher = Publisher::start(&cluster[0], "orders", Duration::from_millis(2));
    for round in 1..=12 {
        let mut next = cluster[round % 2].ws();
        next.subscribe("orders", "c");
        let end = read_to_replaced(&mut current, &mut checker);
        let ack = next.subscribe_with("orders", "c", &json!({"after_seq": end}));
        assert_eq!(ack["recovered"], true);
        next.discard_earlier();
        current = next;
    }
    let head = publisher.stop().acked.len() as u64;
    checker.read_until(&mut current, head);
    assert_eq!((checker.received, checker.skipped), (head, 0));
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

#[test]
fn refused_subscribe_takes_nothing_over() {
    let cluster = Setup::of(2).set("PUBSUB_MAX_SUBSCRIPTIONS", "1").start();
    cluster[0].create_topic("orders");
    cluster[0].create_topic("returns");
    let older = Follower::start(&cluster[0], "orders", "c");
    let mut full = cluster[1].ws();
    full.subscribe("returns", "c");
    let refused = full.ask(json!({"type": "subscribe", "topic": "orders", "client_id": "c"}));
    assert_eq!(code_of(&refused), "LIMIT_REACHED");
    cluster[1].publish("orders", 1, 5);
    older.expect_whole(5);
    assert_eq!(cluster[1].subscribers("orders"), 1);
}
