//! The Rust client and the program over several nodes.

use std::time::Duration;

use threadcast::client::{Client, Delivery, GapReason, Position, Start, Subscription};

use crate::cluster::{Cluster, Node, Redis, Setup};
use crate::harness::DEADLINE;

fn url(node: &Node) -> String {
    format!("ws://{}/ws", node.addr())
}

fn client_of(nodes: &[&Node]) -> Client {
    let urls: Vec<String> = nodes.iter().copied().map(url).collect();
    Client::builder(&urls.join(","))
        .connect_timeout(DEADLINE)
        .request_timeout(DEADLINE)
        .reconnect_pauses(Duration::from_millis(10), Duration::from_millis(200))
        .connect()
        .expect("a node")
}

#[track_caller]
fn expect_events(subscription: &mut Subscription, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        match next(subscription) {
            Delivery::Event(event) => assert_eq!(event.seq(), seq),
            other => panic!("expected event {seq}, got {other:?}"),
        }
    }
}

#[track_caller]
fn expect_epoch_change(subscription: &mut Subscription) {
    match next(subscription) {
        Delivery::Gap(gap) => assert_eq!(gap.reason(), GapReason::EpochChanged),
        other => panic!("expected a gap, got {other:?}"),
    }
}

fn next(subscription: &mut Subscription) -> Delivery {
    let delivery = subscription.recv_timeout(DEADLINE);
    delivery
        .expect("the subscription continues")
        .expect("a delivery in time")
}

fn position(subscription: &Subscription) -> Position {
    subscription.position("orders").expect("a position")
}

#[test]
fn rust_client_goes_on_in_the_new_epoch_and_resumes_there_on_another_node() {
    let cluster = Cluster::with_topic(2, "orders");
    let client = client_of(&[&cluster[0], &cluster[1]]);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    cluster[1].publish("orders", 1, 20);
    expect_events(&mut subscription, 1..=20);
    let old = position(&subscription);
    assert_eq!((old.seq, &*old.epoch), (20, &*cluster[0].epoch("orders")));

    cluster.redis().command(&["FLUSHALL"]);
    expect_epoch_change(&mut subscription);
    let new = position(&subscription);
    assert_eq!(new.seq, 0);
    assert_ne!(new.epoch, old.epoch);
    cluster.await_ready();
    assert_eq!(cluster[1].epoch("orders"), *new.epoch);
    cluster[1].publish("orders", 21, 25);
    expect_events(&mut subscription, 1..=5);

    assert_eq!(subscription.server(), cluster[0].addr().to_string());
    cluster[0].kill();
    cluster[1].publish("orders", 26, 30);
    expect_events(&mut subscription, 6..=10);
    assert_eq!(subscription.server(), cluster[1].addr().to_string());
    assert_eq!(position(&subscription).epoch, new.epoch);
}

/// All nodes that knew the newest events have ended, and Redis has lost those events.
#[test]
fn rust_client_ahead_of_its_topic_reads_it_anew() {
    let cluster = Setup::of(1).start();
    cluster[0].create_topic("orders");
    cluster[0].publish("orders", 1, 20);
    let replica = Redis::replica_of(cluster.redis());
    let unaware = cluster.node_at(&replica.url(), &[]);
    let client = client_of(&[&cluster[0], &unaware]);
    let mut subscription = client.subscribe("orders", Start::Last(20)).unwrap();
    replica.promote(cluster.redis());
    cluster[0].publish("orders", 21, 25);
    expect_events(&mut subscription, 1..=25);
    let old = position(&subscription);

    cluster[0].kill();
    unaware.await_ready();
    expect_epoch_change(&mut subscription);
    expect_events(&mut subscription, 1..=20);
    unaware.publish("orders", 26, 30);
    expect_events(&mut subscription, 21..=25);
    assert_eq!(
        position(&subscription),
        old,
        "other events, the same numbers"
    );
}
