//! The figures of topics are the same on every node, and cost what is new.

use std::thread;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Follower};

const TOPICS: usize = 3000;

#[test]
fn figures_of_many_topics_are_alike_and_what_is_known_is_not_read_again() {
    let cluster = Cluster::of(2);
    make_topics(&cluster, TOPICS);
    let first = stats(&cluster, 0);
    assert_eq!(first["topics"].as_object().unwrap().len(), TOPICS);
    assert_eq!(first["topics"]["t7"]["seq"], 7 % 5);
    assert_eq!(first, stats(&cluster, 1));

    let reads = reads(&cluster);
    assert_eq!(first, stats(&cluster, 1));
    assert_eq!(reads, self::reads(&cluster), "nothing is new");

    cluster[0].publish("t7", 8, 9);
    cluster[0].delete_topic("t8");
    cluster[0].delete_topic("t9");
    cluster[0].create_topic("t9");
    let second = stats(&cluster, 1);
    assert_eq!(reads + 2, self::reads(&cluster), "two topics are new");
    assert_eq!(second["topics"]["t7"]["history"]["count"], 7 % 5 + 2);
    assert_eq!(second["topics"]["t8"], Value::Null);
    assert_eq!(second["topics"]["t9"]["seq"], 0);
    assert_eq!(second, stats(&cluster, 0));
}

#[test]
fn figures_are_alike_with_and_without_a_mirror() {
    let cluster = Cluster::of(3);
    let options = json!({"history_size": 30, "max_queue_size": 50});
    cluster[0].create_topic_with("orders", &options);
    let mut followers = Vec::new();
    for round in 0..8 {
        cluster[round % 3].publish("orders", 20 * round as u64 + 1, 20 * round as u64 + 20);
        if round == 2 || round == 5 {
            let client_id = format!("c{round}");
            followers.push(Follower::start(&cluster[round % 2], "orders", &client_id));
        }
        let shown = stats(&cluster, 0);
        let orders = &shown["topics"]["orders"];
        assert_eq!(orders["seq"], 20 * (round + 1));
        assert_eq!(orders["history"]["count"], 30.min(20 * (round + 1)));
        assert_eq!(orders["subscribers"], followers.len());
        for node in [1, 2] {
            assert_eq!(shown, stats(&cluster, node), "round {round}");
        }
        for node in cluster.nodes() {
            assert_eq!(node.topic("orders")["history"], orders["history"]);
        }
    }
}

#[test]
fn figures_of_a_mirror_are_not_read_from_redis() {
    let cluster = Cluster::with_topic(1, "orders");
    let follower = Follower::start(&cluster[0], "orders", "c");
    cluster[0].publish("orders", 1, 500);
    follower.await_position(500);
    let before = reads(&cluster);
    let shown = stats(&cluster, 0);
    assert_eq!(shown["topics"]["orders"]["history"]["first_seq"], 401);
    assert_eq!(before, reads(&cluster));
}

/// Makes topics `t0`, `t1` and so on, with 0 to 4 events each.
fn make_topics(cluster: &Cluster, count: usize) {
    thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                let (mut http, mut ws) = (cluster[part % 2].http(), cluster[part % 2].ws());
                for n in (0..count).skip(part).step_by(4) {
                    let topic = format!("t{n}");
                    http.post("/topics", &json!({"name": topic})).expect(201);
                    ws.publish_many(&topic, 1, n as u64 % 5);
                }
            });
        }
    });
}

/// The body of `GET /stats`.
fn stats(cluster: &Cluster, node: usize) -> Value {
    cluster[node].get("/stats").expect(200)
}

/// How often events were read from Redis.
fn reads(cluster: &Cluster) -> usize {
    let calls = cluster.redis().info("commandstats", "cmdstat_xrange");
    let calls = calls.split(['=', ',']).nth(1).unwrap();
    calls.parse().unwrap()
}
