//! What stays in Redis: nothing of topics that were deleted and nodes that have ended, except what expires soon.

use std::collections::BTreeSet;

use serde_json::json;

use crate::cluster::{Cluster, DEAD_NODE_LIMIT, Follower, Redis, Setup, within};

/// How long Redis may keep something of what was deleted.
const KEPT_SECS: i64 = 15 * 60;

/// The keys that do not expire; the others must expire soon.
fn lasting_keys(redis: &Redis) -> BTreeSet<String> {
    let keys = redis.keys().into_iter();
    let lasting = keys.filter(|key| {
        let seconds = redis.command(&["TTL", key]).number();
        assert!(seconds <= KEPT_SECS, "{key} expires in {seconds} s");
        seconds == -1
    });
    lasting.collect()
}

/// The keys that a cluster without any topic leaves.
fn keys_of_an_idle_cluster() -> usize {
    let cluster = Cluster::of(3);
    cluster.nodes().iter().for_each(|node| node.shut_down());
    lasting_keys(cluster.redis()).len()
}

/// Asserts that no more lasting keys are there than an idle cluster leaves, and none with any of these names.
#[track_caller]
fn expect_clean(cluster: &Cluster, names: &[&str]) {
    let idle = keys_of_an_idle_cluster();
    within(DEAD_NODE_LIMIT, "nothing is left", || {
        lasting_keys(cluster.redis()).len() <= idle
    });
    for key in lasting_keys(cluster.redis()) {
        let named = names.iter().find(|name| key.contains(**name));
        assert_eq!(named, None, "{key}");
    }
}

/// Uses a topic in every way.
fn use_topic(cluster: &Cluster, topic: &str) {
    cluster[0].create_topic_with(topic, &json!({"history_size": 50}));
    let followers: Vec<Follower> = cluster.follow(topic);
    cluster[0].publish(topic, 1, 100);
    cluster[1].history(topic, "");
    for follower in &followers {
        follower.expect_whole(100);
    }
    let mut client = cluster[1].ws();
    client.subscribe(topic, "unsubscribed");
    client.unsubscribe(topic, "unsubscribed");
}

#[test]
fn deleted_topics_and_ended_nodes_leave_nothing() {
    let cluster = Cluster::of(2);
    let topics = ["orders", "returns", "stock"];
    for topic in topics {
        use_topic(&cluster, topic);
    }
    let stay = cluster.follow(topics[0]);
    for topic in topics {
        cluster[1].delete_topic(topic);
    }
    stay[0].await_end("topic_deleted");
    drop(stay);
    cluster.nodes().iter().for_each(|node| node.shut_down());
    expect_clean(&cluster, &topics);
}

#[test]
fn deleted_topics_leave_nothing_while_nodes_live() {
    let cluster = Cluster::of(2);
    cluster[0].create_topic("first");
    cluster[0].delete_topic("first");
    let before = lasting_keys(cluster.redis()).len();
    for n in 0..30 {
        let topic = format!("t{n}");
        use_topic(&cluster, &topic);
        cluster[1].delete_topic(&topic);
    }
    within(DEAD_NODE_LIMIT, "as many keys as before", || {
        lasting_keys(cluster.redis()).len() <= before
    });
}

#[test]
fn killed_nodes_leave_nothing_once_another_has_cleaned_up() {
    let mut cluster = Setup::of(3).start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 20);
    cluster[1].kill();
    cluster[2].kill();
    drop(followers);
    cluster[0].await_subscribers_within(DEAD_NODE_LIMIT, "orders", 0);
    cluster[0].kill();
    let last = cluster.add_node(&[]);
    within(DEAD_NODE_LIMIT, "one node", || {
        cluster[last].nodes().len() == 1
    });
    cluster[last].delete_topic("orders");
    cluster[last].shut_down();
    expect_clean(&cluster, &["orders"]);
}

#[test]
fn publishes_to_unknown_topics_leave_nothing() {
    let cluster = Cluster::of(1);
    let before = lasting_keys(cluster.redis());
    for n in 0..20 {
        let path = format!("/topics/u{n}/messages");
        cluster[0]
            .post(&path, &json!({"payload": 1}))
            .expect_problem(404, "TOPIC_NOT_FOUND");
        cluster[0].get(&path).expect_problem(404, "TOPIC_NOT_FOUND");
    }
    assert_eq!(lasting_keys(cluster.redis()), before);
}
