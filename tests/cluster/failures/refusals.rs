//! Redis answers, but refuses: out of memory, a wrong password, a failed snapshot, a policy that evicts.

use std::time::Duration;

use serde_json::json;

use super::{PACE, expect_503, expect_all_whole, expect_heard_nothing, expect_unavailable};
use super::{publish_request, subscribe_request};
use crate::cluster::{
    Cluster, DELIVERY_LIMIT, Follower, Node, Publisher, Redis, Setup, throughout, within,
};

/// Publishes while Redis refuses writes, until both nodes say that they are not ready and name `reason`, and afterwards; nothing
/// may be missing.
fn expect_whole_after(
    redis: Redis,
    reason: &str,
    refuse: impl Fn(&Redis),
    accept: impl Fn(&Redis),
) {
    let cluster = Setup::of(2)
        .over(redis)
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(100);
    refuse(cluster.redis());
    publisher.await_unsure();
    for node in cluster.nodes() {
        node.await_not_ready();
        expect_reason(node, reason);
    }
    let mut client = cluster[1].ws();
    expect_unavailable(&mut client, publish_request("orders"));
    expect_unavailable(&mut client, subscribe_request("orders", "c"));
    expect_503("creation", || {
        cluster[0].try_create_topic("new", &json!({}))
    });
    followers.iter().for_each(expect_heard_nothing);
    accept(cluster.redis());
    cluster.await_ready();
    publisher.await_acked(100);
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
    let health = cluster[0].health();
    assert!(health["engine_error"].is_null(), "{health}");
}

/// Waits until `/health` and the log of a node say what Redis answered.
#[track_caller]
fn expect_reason(node: &Node, reason: &str) {
    within(DELIVERY_LIMIT, reason, || {
        let health = node.health();
        let error = health["engine_error"].as_str().unwrap_or_default();
        health["engine"] == "down" && error.contains(reason)
    });
    let log = node.log();
    let lines = log.iter().filter(|line| line.contains(reason));
    let lines: Vec<_> = lines.filter(|line| line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{log:#?}");
}

#[test]
fn redis_out_of_memory_takes_nothing_new() {
    expect_whole_after(
        Redis::with(&[("maxmemory-policy", "noeviction")]),
        "out of memory (OOM)",
        |redis| redis.set("maxmemory", "1"),
        |redis| redis.set("maxmemory", "0"),
    );
}

#[test]
fn redis_that_cannot_save_counts_as_away() {
    expect_whole_after(
        Redis::start(),
        "(MISCONF)",
        Redis::break_saving,
        Redis::mend_saving,
    );
}

#[test]
fn redis_that_becomes_a_replica_counts_as_away() {
    let primary = Redis::start();
    let (host, port) = ("127.0.0.1", primary.addr().port().to_string());
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[1].ws();
    client.subscribe("orders", "c");
    cluster.redis().command(&["REPLICAOF", host, &port]);
    expect_unavailable(&mut client, publish_request("orders"));
    for node in cluster.nodes() {
        node.await_not_ready();
        let has_said = |text| node.log().iter().any(|line| line.contains(text));
        within(DELIVERY_LIMIT, "what Redis answered", || {
            has_said("(READONLY)")
        });
        within(DELIVERY_LIMIT, "why it cannot be used", || {
            let error = node.health()["engine_error"].to_string();
            error.contains("it is a replica: the URL must lead to the primary")
        });
        assert!(!has_said("a connection to it failed"), "{:#?}", node.log());
    }
}

#[test]
fn redis_without_the_replicas_that_it_wants_counts_as_away() {
    expect_whole_after(
        Redis::start(),
        "(NOREPLICAS)",
        |redis| redis.set("min-replicas-to-write", "1"),
        |redis| redis.set("min-replicas-to-write", "0"),
    );
}

#[test]
fn redis_that_is_full_is_relieved_by_deleting_topics_over_a_node() {
    let redis = Redis::with(&[("maxmemory-policy", "noeviction")]);
    let cluster = Setup::of(2)
        .over(redis)
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .start();
    cluster[0].create_topic("orders");
    cluster[0].create_topic("large");
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 10);
    cluster[0].ws().publish_padded("large", 1, 200, 64 << 10);
    let links = cluster.redis().clients("pubsub");
    let used: u64 = cluster
        .redis()
        .info("memory", "used_memory")
        .parse()
        .unwrap();
    cluster
        .redis()
        .set("maxmemory", &(used - (4 << 20)).to_string());
    cluster.nodes().iter().for_each(Node::await_not_ready);
    let mut client = cluster[1].ws();
    expect_unavailable(&mut client, publish_request("orders"));
    assert_eq!(cluster[1].topic_names(), ["large", "orders"]);
    assert_eq!(cluster[1].history("orders", "")["seq"], 10);
    assert_eq!(cluster[0].nodes().len(), 2);
    cluster[1].delete_topic("large");
    assert_eq!(cluster[0].topic_names(), ["orders"]);
    // The last events of a deleted topic stay for nodes that are behind; what the test cannot wait for expires now.
    let key = format!("{}:{{large}}:last", cluster.prefix());
    assert_eq!(cluster.redis().command(&["EXPIRE", &key, "0"]).number(), 1);
    cluster.await_ready();
    cluster[0].publish("orders", 11, 20);
    for follower in &followers {
        follower.expect_whole(20);
        expect_heard_nothing(follower);
    }
    assert_eq!(cluster.redis().clients("pubsub"), links, "no node left");
    for node in cluster.nodes() {
        assert!(!node.has_logged("trying again"), "{:#?}", node.log());
    }
}

#[test]
fn node_connects_to_a_redis_that_is_full_and_deletes_topics() {
    let redis = Redis::with(&[("maxmemory-policy", "noeviction")]);
    let cluster = Setup::of(1).over(redis).start();
    cluster[0].create_topic("orders");
    cluster[0].create_topic("large");
    let follower = Follower::start(&cluster[0], "orders", "f");
    cluster.redis().set("maxmemory", "1");
    let late = cluster.node_at(&cluster.redis().url(), &[]);
    expect_reason(&late, "out of memory (OOM)");
    cluster.redis().kill_clients("normal");
    cluster.redis().kill_clients("pubsub");
    for (node, topic) in [(&late, "large"), (&cluster[0], "large")] {
        within(DELIVERY_LIMIT, "the node can be asked", || {
            node.get(&format!("/topics/{topic}")).status == 200
        });
        assert!(!node.is_ready());
    }
    late.delete_topic("large");
    assert_eq!(cluster[0].topic_names(), ["orders"]);
    cluster.redis().set("maxmemory", "0");
    cluster.await_ready();
    late.await_ready();
    cluster[0].await_subscribers("orders", 1);
    late.publish("orders", 1, 3);
    follower.expect_whole(3);
    expect_heard_nothing(&follower);
}

#[test]
fn redis_whose_password_changes_counts_as_away() {
    expect_whole_after(
        Redis::with(&[("requirepass", "first")]),
        "(WRONGPASS)",
        |redis| {
            // Connections that are open stay authenticated.
            redis.set("requirepass", "second");
            redis.kill_clients("pubsub");
            redis.kill_clients("normal");
        },
        |redis| {
            redis.set("requirepass", "first");
        },
    );
}

#[test]
fn wrong_password_is_reported_in_one_line_that_does_not_show_it() {
    let redis = Redis::with(&[("requirepass", "right")]);
    let url = format!("redis://:wr0ng-secret@{}", redis.addr());
    let node = Node::start(&[("PUBSUB_REDIS_URL", &url), ("PUBSUB_LOG_LEVEL", "DEBUG")]);
    let refusals = || {
        let count = redis.info("stats", "total_error_replies");
        count.parse::<u64>().expect("a count")
    };
    within(DELIVERY_LIMIT, "three attempts", || refusals() >= 3);
    assert_eq!(node.get("/livez").status, 200);
    assert!(!node.is_ready());
    let is_about_it = |line: &&String| {
        let line = line.to_lowercase();
        (line.contains("error") || line.contains("warn")) && line.contains("password")
    };
    let log = node.log();
    let lines: Vec<_> = log.iter().filter(is_about_it).collect();
    assert_eq!(lines.len(), 1, "{log:#?}");
    assert!(!node.has_logged("wr0ng-secret"), "{log:#?}");
    for path in ["/config", "/health"] {
        let shown = node.get(path).to_string();
        assert!(!shown.contains("wr0ng-secret"), "{shown}");
    }
    let mut client = node.ws();
    expect_unavailable(&mut client, subscribe_request("orders", "c"));
    redis.set("requirepass", "wr0ng-secret");
    node.await_ready();
}

#[test]
fn policy_that_evicts_is_logged_and_shown() {
    let redis = Redis::with(&[("maxmemory", "1gb"), ("maxmemory-policy", "allkeys-lru")]);
    let cluster = Setup::of(1).over(redis).start();
    within(DELIVERY_LIMIT, "an error about the policy", || {
        let log = cluster[0].log();
        log.iter().any(|line| {
            line.contains("ERROR")
                && line.contains("maxmemory-policy")
                && line.contains("allkeys-lru")
        })
    });
    let health = cluster[0].health();
    assert!(health.to_string().contains("allkeys-lru"), "{health}");
}

#[test]
fn policy_that_does_not_evict_is_not_mentioned() {
    let cluster = Cluster::of(1);
    let health = cluster[0].health();
    assert!(!health.to_string().contains("noeviction"), "{health}");
    assert!(!cluster[0].has_logged("ERROR"), "{:?}", cluster[0].log());
}

#[test]
fn one_of_two_redis_away_leaves_the_topics_of_the_other() {
    let (first, second) = (Redis::durable(), Redis::durable());
    let urls = format!("{},{}", first.url(), second.url());
    let nodes = [(); 2].map(|()| Node::start(&[("PUBSUB_REDIS_URL", &urls)]));
    nodes.iter().for_each(Node::await_ready);
    let topics: Vec<String> = (10..30).map(|n| format!("t{n}")).collect();
    for topic in &topics {
        nodes[0].create_topic(topic);
        nodes[0].publish(topic, 1, 1);
    }
    let keys = first.keys();
    let (here, there): (Vec<_>, Vec<_>) = topics
        .iter()
        .partition(|topic| keys.iter().any(|key| key.contains(*topic)));
    assert!(
        !here.is_empty() && !there.is_empty(),
        "{here:?} and {there:?}"
    );
    let follow = |topic: &String| Follower::start(&nodes[1], topic, "f");
    let (lost, kept) = (follow(here[0]), follow(there[0]));
    first.kill();
    nodes.iter().for_each(Node::await_not_ready);
    for node in &nodes {
        let mut client = node.ws();
        expect_unavailable(&mut client, publish_request(here[0]));
        expect_unavailable(&mut client, subscribe_request(here[0], "c"));
        let path = format!("/topics/{}/messages", here[0]);
        expect_503("history", || node.get(&path));
        client.subscribe(there[0], "c");
        client.publish(there[0], &json!(1));
        client.next_event();
        node.history(there[0], "");
    }
    kept.expect_whole(3);
    expect_heard_nothing(&lost);
    first.restart();
    nodes.iter().for_each(Node::await_ready);
    nodes[0].publish(here[0], 2, 3);
    lost.expect_whole(3);
    expect_heard_nothing(&lost);
}

#[test]
fn redis_that_refuses_for_a_moment_at_the_start_is_waited_for() {
    let redis = Redis::with(&[("maxmemory-policy", "noeviction")]);
    redis.set("maxmemory", "1");
    let node = Node::start(&[("PUBSUB_REDIS_URL", &redis.url())]);
    throughout(Duration::from_secs(2), "not ready", || !node.is_ready());
    expect_503("creation", || node.try_create_topic("orders", &json!({})));
    redis.set("maxmemory", "0");
    node.await_ready();
    node.create_topic("orders");
}
