//! The links between nodes and Redis: killed by Redis, too slow, delayed.

use std::time::Duration;

use super::{PACE, durable_cluster, expect_all_whole, expect_heard_nothing};
use crate::cluster::{
    BOTH, Cluster, DELIVERY_LIMIT, Follower, NOT_READY_LIMIT, Publisher, Random, Redis, SLACK,
    Setup, UNAVAILABLE_LIMIT, Way, let_pass, throughout, within,
};

/// After this a node asks a connection whether it lives before it uses it.
const IDLE: Duration = Duration::from_millis(1100);

/// Publishes on both nodes while Redis ends links of these kinds, 20 times.
fn expect_whole_while_killing(kinds: &[&str]) {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    let publishers: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| Publisher::start(node, "orders", PACE))
        .collect();
    let mut random = Random::from_seed(1);
    let mut killed = 0;
    for round in 0..20 {
        publishers[0].await_acked(20);
        killed += cluster.redis().kill_clients(kinds[round % kinds.len()]);
        let_pass(Duration::from_millis(random.between(0, 200)));
    }
    assert!(killed >= 20, "{killed} links were killed");
    publishers
        .iter()
        .for_each(|publisher| publisher.await_acked(50));
    cluster.await_ready();
    expect_all_whole(&cluster[0], publishers, &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn killed_subscriber_links_lose_nothing() {
    expect_whole_while_killing(&["pubsub"]);
}

#[test]
fn killed_command_links_lose_nothing() {
    expect_whole_while_killing(&["normal"]);
}

#[test]
fn links_killed_in_turn_lose_nothing() {
    expect_whole_while_killing(&["pubsub", "normal"]);
}

/// A node with an open publisher, whose connections to Redis are idle.
fn idle_cluster() -> Cluster {
    let cluster = Setup::of(1).over(Redis::durable()).with_proxies().start();
    cluster[0].create_topic("orders");
    assert_eq!(cluster[0].publish("orders", 1, 1), [1]);
    let_pass(IDLE);
    cluster
}

#[test]
fn idle_connections_that_redis_closed_cost_no_publish() {
    let cluster = idle_cluster();
    let follower = Follower::start(&cluster[0], "orders", "f");
    for seq in 2..6 {
        assert!(cluster.redis().kill_clients("normal") >= 1);
        assert_eq!(cluster[0].publish("orders", seq, seq), [seq]);
        let_pass(IDLE);
    }
    assert!(cluster[0].is_ready());
    assert!(!cluster[0].has_logged("ERROR"), "{:?}", cluster[0].log());
    follower.expect_whole(5);
    expect_heard_nothing(&follower);
}

#[test]
fn redis_that_closes_idle_connections_costs_no_publish() {
    let cluster = idle_cluster();
    cluster.redis().set("timeout", "1");
    for seq in 2..6 {
        let closed = || cluster.redis().clients("normal") == 1;
        within(DELIVERY_LIMIT, "Redis closes the idle connections", closed);
        assert_eq!(cluster[0].publish("orders", seq, seq), [seq]);
    }
    assert!(cluster[0].is_ready());
    assert!(!cluster[0].has_logged("ERROR"), "{:?}", cluster[0].log());
}

#[test]
fn idle_connections_that_were_cut_silently_cost_no_publish() {
    let cluster = idle_cluster();
    // The two for commands. The third one is the link.
    cluster.proxy(0).freeze_first(2);
    assert_eq!(cluster[0].publish("orders", 2, 2), [2]);
    throughout(NOT_READY_LIMIT, "the node is ready", || {
        cluster[0].is_ready()
    });
    assert_eq!(cluster[0].publish("orders", 3, 3), [3]);
    assert!(!cluster[0].has_logged("ERROR"), "{:?}", cluster[0].log());
}

#[test]
fn link_that_redis_ends_because_it_is_too_slow_loses_nothing() {
    let redis = Redis::with(&[("client-output-buffer-limit", "pubsub 256kb 128kb 1")]);
    let cluster = Setup::of(2)
        .over(redis)
        .with_proxies()
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .set("PUBSUB_HISTORY_BYTES", "256MiB")
        .set("PUBSUB_MAX_QUEUE_SIZE", "10000")
        .start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    cluster.proxy(1).throttle(&[Way::FromRedis], 100_000);
    let mut publisher = cluster[0].ws();
    let mut head = 0;
    within(DELIVERY_LIMIT, "Redis ends the slow link", || {
        publisher.publish_padded("orders", head + 1, head + 50, 8 << 10);
        head += 50;
        followers[0].await_position(head);
        cluster.redis().clients("pubsub") == 1
    });
    followers[0].expect_whole(head);
    cluster.proxy(1).heal();
    followers[1].expect_whole(head);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn node_behind_a_throttled_link_shuts_down_without_reading_what_is_under_way() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    cluster.proxy(1).throttle(&[Way::FromRedis], 5_000);
    let mut publisher = cluster[0].ws();
    // Minutes of what the link passes on.
    for batch in 0..5 {
        publisher.publish_padded("orders", batch * 50 + 1, batch * 50 + 50, 8 << 10);
    }
    followers[0].await_position(250);
    cluster[1].shut_down();
}

#[test]
fn throttled_link_delays_only_its_node() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    cluster.proxy(1).throttle(&BOTH, 20_000);
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(500);
    let slowest = publisher.slowest();
    assert!(slowest < UNAVAILABLE_LIMIT, "{slowest:?}");
    let head = cluster[0].seq("orders");
    followers[0].await_position(head);
    cluster.proxy(1).heal();
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn delayed_link_is_no_failure() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    cluster.proxy(1).delay(&BOTH, Duration::from_millis(150));
    let publishers: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| Publisher::start(node, "orders", PACE))
        .collect();
    throughout(NOT_READY_LIMIT, "the node is ready", || {
        cluster[1].is_ready()
    });
    publishers
        .iter()
        .for_each(|publisher| publisher.await_acked(50));
    let slowest = publishers[1].slowest();
    assert!(slowest < UNAVAILABLE_LIMIT + SLACK, "{slowest:?}");
    expect_all_whole(&cluster[0], publishers, &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn delayed_link_to_redis_keeps_what_is_acked_true_on_other_nodes() {
    let cluster = durable_cluster(2);
    cluster.proxy(1).delay(&BOTH, Duration::from_millis(100));
    for n in 0..5 {
        let topic = format!("t{n}");
        cluster[0].create_topic(&topic);
        assert_eq!(cluster[1].seq(&topic), 0);
        cluster[0].publish(&topic, 1, 3);
        assert_eq!(cluster[1].history(&topic, "")["seq"], 3);
        let mut client = cluster[1].ws();
        assert_eq!(client.subscribe(&topic, "c")["seq"], 3);
        cluster[0].delete_topic(&topic);
        cluster[1]
            .get(&format!("/topics/{topic}"))
            .expect_problem(404, "TOPIC_NOT_FOUND");
    }
}

#[test]
fn many_topics_are_subscribed_to_again_after_a_cut() {
    const TOPICS: usize = 300;
    let cluster = Setup::of(2).with_proxies().start();
    let topics: Vec<String> = (0..TOPICS).map(|n| format!("t{n:03}")).collect();
    let mut client = cluster[1].ws();
    for topic in &topics {
        cluster[0].create_topic(topic);
        client.subscribe(topic, "c");
    }
    cluster.proxy(1).cut();
    cluster[1].await_not_ready();
    publish_one_each(&cluster, &topics);
    cluster.proxy(1).heal();
    cluster[1].await_ready();
    publish_one_each(&cluster, &topics);
    let mut heads = std::collections::BTreeMap::new();
    for event in client.next_events(2 * TOPICS) {
        let head = heads.entry(event["topic"].to_string()).or_insert(0);
        *head += 1;
        assert_eq!(event["seq"], *head, "{event}");
    }
    assert!(heads.len() == TOPICS && heads.values().all(|head| *head == 2));
}

fn publish_one_each(cluster: &Cluster, topics: &[String]) {
    let mut publisher = cluster[0].ws();
    for topic in topics {
        publisher.publish(topic, &serde_json::json!(topic));
    }
}

#[test]
fn subscriber_that_does_not_read_holds_up_no_link() {
    let cluster = Setup::of(2)
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .set("PUBSUB_SEND_BUFFER_BYTES", "4096")
        .start();
    cluster[0].create_topic("orders");
    cluster[0].create_topic("stuck");
    let dial = crate::harness::Dial::to(cluster[1].addr());
    let mut stuck = dial.receive_buffer(4 << 10).connect();
    stuck.subscribe("stuck", "s");
    let follower = Follower::start(&cluster[1], "orders", "f");
    cluster[0].ws().publish_padded("stuck", 1, 500, 8 << 10);
    cluster[0].publish("orders", 1, 500);
    follower.expect_whole(500);
}
