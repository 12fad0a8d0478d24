//! Topics on first use, their settings and how long they live, across nodes.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Setup, within};
use crate::harness::{code_of, event_seqs, publish_text, seq_of};

/// A node looks for idle topics every 2 seconds; this leaves room for a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

fn patch(cluster: &Cluster, node: usize, change: &Value) -> Value {
    let mut http = cluster[node].http();
    http.patch("/topics/orders", change).expect(200)
}

fn exists(cluster: &Cluster, topic: &str) -> bool {
    let path = format!("/topics/{topic}");
    cluster[0].get(&path).status == 200
}

#[test]
fn the_first_use_on_any_node_creates_the_topic_for_all() {
    let cluster = Setup::of(2)
        .set("PUBSUB_AUTO_CREATE_TOPICS", "true")
        .set("PUBSUB_HISTORY_SIZE", "7")
        .start();
    assert_eq!(cluster[0].publish("by-websocket", 1, 3), [1, 2, 3]);
    let message = json!({"payload": 1});
    cluster[1]
        .post("/topics/by-rest/messages", &message)
        .expect(201);
    let mut client = cluster[0].ws();
    assert_eq!(seq_of(&client.subscribe("by-subscribe", "c")), 0);
    let behind = json!({"after_seq": 3});
    client.subscribe_refused("none", &behind, "TOPIC_NOT_FOUND");
    for node in cluster.nodes() {
        for topic in ["by-websocket", "by-rest", "by-subscribe"] {
            assert_eq!(node.topic(topic)["limits"]["history_size"], 7, "{topic}");
        }
        node.get("/topics/none")
            .expect_problem(404, "TOPIC_NOT_FOUND");
    }
    assert_eq!(cluster[1].publish("by-subscribe", 1, 2), [1, 2]);
    assert_eq!(event_seqs(&client.next_events(2)), [1, 2]);
}

#[test]
fn all_nodes_that_use_a_new_topic_at_once_use_the_same() {
    let cluster = Setup::of(2)
        .set("PUBSUB_AUTO_CREATE_TOPICS", "true")
        .start();
    for round in 0..10 {
        let topic = format!("t{round}");
        let mut client = cluster[0].ws();
        thread::scope(|scope| {
            for node in cluster.nodes() {
                scope.spawn(|| node.publish(&topic, 1, 5));
            }
            client.subscribe_with(&topic, "c", &json!({"after_seq": 0}));
        });
        let seqs = event_seqs(&client.next_events(10));
        assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    }
}

#[test]
fn no_more_topics_are_created_by_use_than_the_cluster_may_have() {
    let cluster = Setup::of(2)
        .set("PUBSUB_AUTO_CREATE_TOPICS", "true")
        .set("PUBSUB_MAX_TOPICS", "1")
        .start();
    cluster[0].publish("first", 1, 1);
    let mut client = cluster[1].ws();
    client.subscribe_refused("second", &json!({}), "LIMIT_REACHED");
    client.send_text(&publish_text("second", "1", "p"));
    assert_eq!(code_of(&client.next_json()), "LIMIT_REACHED");
    let refused = cluster[1].post("/topics/second/messages", &json!({"payload": 1}));
    refused.expect_problem(429, "LIMIT_REACHED");
}

#[test]
fn settings_that_one_node_changes_hold_on_all() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut clients = [0, 1].map(|node| {
        let mut client = cluster[node].ws();
        client.subscribe("orders", &format!("c{node}"));
        client
    });
    cluster[0].publish("orders", 1, 50);
    let change = json!({"history_size": 5, "max_queue_size": 9, "overflow": "disconnect",
                        "history_ttl_secs": 3600, "idle_secs": 7200.5});
    let changed = patch(&cluster, 1, &change);
    assert_eq!(changed["history"]["count"], 5);
    for node in cluster.nodes() {
        let shown = node.topic("orders");
        assert_eq!(shown["limits"], changed["limits"]);
        assert_eq!(shown["overflow"], "disconnect");
        assert_eq!(shown["history"]["count"], 5);
        let page = node.history("orders", "?after_seq=40");
        let gap = json!({"from_seq": 41, "to_seq": 45, "count": 5, "reason": "history_evicted"});
        assert_eq!(page["gap"], gap);
        let mut late = node.ws();
        // The mirrors learn of it over the channel of the topic.
        within(LIMIT, "a resume finds the smaller history", || {
            let ack = late.subscribe_with("orders", "late", &json!({"after_seq": 40}));
            ack["recovered"] == false && late.next_json()["gap"] == gap
        });
    }
    assert_eq!(patch(&cluster, 0, &json!({}))["limits"], changed["limits"]);
    for client in &mut clients {
        assert_eq!(client.next_events(50).len(), 50);
    }
    // Publishing goes on behind it, on both.
    cluster[1].publish("orders", 51, 60);
    cluster[0].publish("orders", 61, 70);
    for client in &mut clients {
        assert_eq!(
            event_seqs(&client.next_events(20)),
            (51..=70).collect::<Vec<_>>()
        );
    }
    let mut http = cluster[0].http();
    let block = http.patch("/topics/orders", &json!({"overflow": "block"}));
    block.expect_problem(422, "VALIDATION_ERROR");
    let missing = http.patch("/topics/other", &json!({}));
    missing.expect_problem(404, "TOPIC_NOT_FOUND");
}

#[test]
fn changes_on_all_nodes_at_once_all_hold() {
    let cluster = Cluster::with_topic(2, "orders");
    thread::scope(|scope| {
        let cluster = &cluster;
        scope.spawn(move || {
            for n in 1..=20 {
                patch(cluster, 0, &json!({"history_size": n}));
            }
        });
        scope.spawn(move || {
            for n in 1..=20 {
                patch(cluster, 1, &json!({"idle_secs": 1000 + n}));
            }
        });
        scope.spawn(move || cluster[0].publish("orders", 1, 50));
    });
    for node in cluster.nodes() {
        let shown = node.topic("orders");
        let limits = &shown["limits"];
        assert_eq!(
            (&limits["history_size"], &limits["idle_secs"]),
            (&json!(20), &json!(1020))
        );
        assert_eq!(
            (&shown["seq"], &shown["history"]["count"]),
            (&json!(50), &json!(20))
        );
    }
}

#[test]
fn an_event_that_is_too_old_is_in_the_history_of_no_node() {
    let cluster = Setup::of(2).set("PUBSUB_HISTORY_TTL_SECS", "1").start();
    cluster[0].create_topic("orders");
    // One node has a mirror, the other asks Redis.
    let mut client = cluster[0].ws();
    client.subscribe("orders", "c");
    cluster[0].publish("orders", 1, 5);
    assert_eq!(event_seqs(&client.next_events(5)), [1, 2, 3, 4, 5]);
    let gap = json!({"from_seq": 3, "to_seq": 5, "count": 3, "reason": "history_evicted"});
    for node in cluster.nodes() {
        within(LIMIT, "an empty history", || {
            node.topic("orders")["history"] == json!({"count": 0, "bytes": 0})
        });
        assert_eq!(node.history("orders", "")["events"], json!([]));
        assert_eq!(node.history("orders", "?after_seq=2")["gap"], gap);
        let mut late = node.ws();
        let ack = late.subscribe_with("orders", "late", &json!({"after_seq": 2}));
        assert_eq!(ack["recovered"], false);
        assert_eq!(late.next_info("gap")["gap"], gap);
    }
    assert_eq!(cluster[1].publish("orders", 6, 6), [6]);
    assert_eq!(event_seqs(&client.next_events(1)), [6]);
}

#[test]
fn a_topic_that_nobody_uses_on_any_node_is_deleted() {
    let cluster = Setup::of(2).set("PUBSUB_TOPIC_IDLE_SECS", "1").start();
    for topic in ["unused", "subscribed", "left"] {
        cluster[0].create_topic(topic);
    }
    cluster[0].create_topic_with("kept", &json!({"idle_secs": 0}));
    let mut client = cluster[1].ws();
    client.subscribe("subscribed", "c");
    client.subscribe("left", "c");
    within(LIMIT, "the unused topic is deleted", || {
        !exists(&cluster, "unused")
    });
    assert!(exists(&cluster, "subscribed") && exists(&cluster, "left"));
    client.unsubscribe("left", "c");
    within(LIMIT, "the other is deleted", || !exists(&cluster, "left"));
    assert!(exists(&cluster, "subscribed") && exists(&cluster, "kept"));
    assert_eq!(client.fence(), Vec::<Value>::new());
    // Publishes keep it, too.
    client.unsubscribe("subscribed", "c");
    let mut seq = 0;
    cluster[0].create_topic("another");
    within(LIMIT, "another is deleted", || {
        seq += 1;
        assert_eq!(cluster[1].publish("subscribed", seq, seq), [seq]);
        !exists(&cluster, "another")
    });
    within(LIMIT, "the last is deleted", || {
        !exists(&cluster, "subscribed")
    });
    let keys = cluster.redis().keys();
    let left: Vec<_> = keys.iter().filter(|key| key.ends_with(":used")).collect();
    assert!(left.is_empty(), "{left:?}");
}
