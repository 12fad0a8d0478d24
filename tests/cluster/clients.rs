//! The Rust client and the program over several nodes.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use threadcast::client::{Client, Delivery, GapReason, Position, Start, Subscription};

use crate::cluster::{COUNT_LIMIT, Cluster, NOT_READY_LIMIT, Node, Redis, Setup, within};
use crate::harness::{DEADLINE, eventually};

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
    // Each node finds out for itself, and connects again.
    for node in cluster.nodes() {
        eventually("a node that noticed", || {
            node.has_logged("it does not know this node any more")
        });
    }
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

#[test]
fn rust_client_lists_the_nodes() {
    let cluster = Cluster::with_topic(2, "orders");
    let client = client_of(&[&cluster[0]]);
    let _subscription = client.subscribe("orders", Start::Now).unwrap();
    let mut nodes = Vec::new();
    within(COUNT_LIMIT, "two nodes and a subscription", || {
        nodes = client.nodes().unwrap();
        nodes.len() == 2 && nodes.iter().map(|node| node.subscriptions).sum::<u64>() == 1
    });
    assert!(client.health().unwrap().is_node());
    assert!(nodes.is_sorted_by_key(|node| node.id.clone()));
    for node in cluster.nodes() {
        let address = node.addr().to_string();
        let listed = nodes.iter().find(|listed| listed.address == address);
        let listed = listed.unwrap_or_else(|| panic!("{address} in {nodes:?}"));
        assert_eq!(listed.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(listed.engine.state, "up");
        assert!(listed.engine.latency_ms > 0.0, "{listed:?}");
    }
}

/// The lines that a run of the program prints, and what it says on standard error.
fn run(arguments: &[&str], node: &Node) -> (Option<i32>, Vec<String>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_threadcast"))
        .args(arguments)
        .args(["--url", &url(node)])
        .env_remove("PUBSUB_KEY")
        .output()
        .expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lines = text(&output.stdout).lines().map(str::to_owned).collect();
    (output.status.code(), lines, text(&output.stderr))
}

#[test]
fn program_lists_the_nodes_of_a_cluster() {
    let cluster = Cluster::of(2);
    within(COUNT_LIMIT, "two nodes", || cluster[1].nodes().len() == 2);
    let (code, table, errors) = run(&["nodes"], &cluster[1]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(table.len(), 3, "{table:?}");
    let columns = |line: &String| {
        let words = line.split_whitespace().map(str::to_owned);
        words.collect::<Vec<_>>()
    };
    let heading = columns(&table[0]);
    assert_eq!((&*heading[0], &*heading[6]), ("ID", "ENGINE"));
    for (line, node) in table[1..].iter().zip(cluster[1].nodes()) {
        let cells = columns(line);
        assert_eq!((cells.len(), &*cells[6]), (heading.len(), "up"), "{line}");
        assert_eq!(
            (node["id"].as_str(), node["address"].as_str()),
            (Some(&*cells[0]), Some(&*cells[1]))
        );
    }

    let (code, objects, _) = run(&["nodes", "--json"], &cluster[0]);
    assert_eq!((code, objects.len()), (Some(0), 2));
    for (line, node) in objects.iter().zip(cluster[0].nodes()) {
        let listed: Value = serde_json::from_str(line).expect("JSON");
        for field in ["id", "address", "version"] {
            assert_eq!(listed[field], node[field], "{line}");
        }
        assert_eq!(listed["engine"]["state"], "up", "{line}");
    }

    let (code, overview, _) = run(&["top", "--once", "--interval", "0.1"], &cluster[0]);
    assert_eq!(code, Some(0));
    assert!(
        overview[0].contains(", 2 nodes, 0 topics, "),
        "{overview:?}"
    );
}

#[test]
fn program_is_refused_the_nodes_while_redis_is_away() {
    let cluster = Cluster::of(1);
    cluster.redis().kill();
    within(NOT_READY_LIMIT, "the engine is down", || {
        cluster[0].health()["engine"] == "down"
    });
    let (code, lines, errors) = run(&["nodes"], &cluster[0]);
    assert_eq!((code, lines), (Some(1), Vec::new()));
    assert!(errors.contains("UNAVAILABLE"), "{errors}");
}
