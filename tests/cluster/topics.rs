//! The list of topics is the cluster's: made, shown, listed and deleted on any node.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{
    Cluster, DELIVERY_LIMIT, Follower, LIST_LIMIT, NodeProcess, Publisher, Setup, within,
};
use crate::harness::{epoch_of, seq_of};

#[test]
fn topic_made_on_one_node_is_there_on_all_at_once() {
    let cluster = Cluster::of(3);
    for n in 0..20 {
        let topic = format!("t{n}");
        cluster[n % 3].create_topic(&topic);
        let (next, last) = (&cluster[(n + 1) % 3], &cluster[(n + 2) % 3]);
        assert_eq!(next.topic(&topic)["seq"], 0);
        next.ws().subscribe(&topic, "c");
        assert_eq!(last.publish(&topic, 1, 1), [1]);
    }
}

#[test]
fn topic_made_by_one_node_is_in_the_lists_of_all_within_a_second() {
    let cluster = Cluster::of(3);
    for n in 0..5 {
        let topic = format!("t{n}");
        cluster[n % 3].create_topic(&topic);
        for node in cluster.nodes() {
            within(LIST_LIMIT, "the topic is in the list", || {
                node.topic_names().contains(&topic)
            });
        }
        cluster[(n + 1) % 3].delete_topic(&topic);
        for node in cluster.nodes() {
            within(LIST_LIMIT, "the topic has left the list", || {
                !node.topic_names().contains(&topic)
            });
        }
    }
}

#[test]
fn every_node_lists_all_topics_once_and_by_name() {
    let cluster = Cluster::of(3);
    let mut names: Vec<String> = (0..150).map(|n| format!("t{n}")).collect();
    thread::scope(|scope| {
        for (node, part) in cluster.nodes().iter().zip(names.chunks(50)) {
            scope.spawn(|| part.iter().for_each(|name| node.create_topic(name)));
        }
    });
    names.sort();
    for node in cluster.nodes() {
        within(LIST_LIMIT, "the whole list", || node.topic_names() == names);
    }
}

#[test]
fn name_that_one_node_has_given_is_a_conflict_on_all() {
    let cluster = Cluster::with_topic(3, "orders");
    for node in cluster.nodes() {
        let detail = node
            .try_create_topic("orders", &json!({}))
            .expect_problem(409, "TOPIC_EXISTS");
        assert_eq!(detail, "Topic 'orders' already exists");
    }
}

#[test]
fn name_that_all_nodes_are_asked_for_at_once_is_given_once() {
    let cluster = Cluster::of(3);
    for n in 0..20 {
        let topic = format!("t{n}");
        let mut statuses = on_all_at_once(&cluster, |node| {
            cluster[node].try_create_topic(&topic, &json!({})).status
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409], "{topic}");
    }
}

#[test]
fn deleted_topic_is_gone_on_all_nodes_at_once() {
    let cluster = Cluster::of(3);
    for n in 0..10 {
        let topic = format!("t{n}");
        cluster[0].create_topic(&topic);
        cluster[1].publish(&topic, 1, 3);
        cluster[n % 3].delete_topic(&topic);
        for node in cluster.nodes() {
            let path = format!("/topics/{topic}");
            node.get(&path).expect_problem(404, "TOPIC_NOT_FOUND");
            node.delete(&path).expect_problem(404, "TOPIC_NOT_FOUND");
            let mut client = node.ws();
            client.subscribe_refused(&topic, &json!({}), "TOPIC_NOT_FOUND");
            let message = json!({"id": crate::harness::uuid_of(1), "payload": 1});
            let publish = json!({"type": "publish", "topic": topic, "message": message});
            client.ask_refused(publish, "TOPIC_NOT_FOUND");
        }
    }
}

#[test]
fn topic_that_all_nodes_delete_at_once_is_deleted_once() {
    let cluster = Cluster::of(3);
    for n in 0..20 {
        let topic = format!("t{n}");
        cluster[0].create_topic(&topic);
        let path = format!("/topics/{topic}");
        let mut statuses = on_all_at_once(&cluster, |node| cluster[node].delete(&path).status);
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404, 404], "{topic}");
    }
}

#[test]
fn deletion_ends_subscriptions_on_all_nodes_behind_their_last_event() {
    let cluster = Cluster::with_topic(3, "orders");
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 60);
    cluster[1].delete_topic("orders");
    for follower in &followers {
        follower.await_end("topic_deleted");
        follower.expect_whole(60);
    }
}

#[test]
fn events_acked_before_a_deletion_come_before_it_on_all_nodes() {
    let cluster = Setup::of(3).set("PUBSUB_MAX_QUEUE_SIZE", "1000").start();
    for round in 0..5 {
        let topic = format!("t{round}");
        cluster[0].create_topic(&topic);
        let followers = cluster.follow(&topic);
        let publisher = Publisher::start(&cluster[round % 3], &topic, Duration::ZERO);
        publisher.await_acked(50);
        cluster[(round + 1) % 3].delete_topic(&topic);
        for follower in &followers {
            follower.await_end("topic_deleted");
        }
        let published = publisher.stop();
        let acked = published.acked.len() as u64;
        for follower in &followers {
            follower.expect_whole(acked);
        }
        crate::cluster::audit(&[published], &followers);
    }
}

/// A node may learn of the new topic from its own publish before it hears that the old one was deleted.
#[test]
fn publish_to_a_topic_made_again_does_not_overtake_the_deletion() {
    let cluster = Cluster::of(2);
    for round in 0..20 {
        let topic = format!("t{round}");
        cluster[0].create_topic(&topic);
        let follower = Follower::start(&cluster[0], &topic, "f");
        cluster[1].publish(&topic, 1, 3);
        follower.await_position(3);
        let publishers =
            [0; 4].map(|node| Publisher::start(&cluster[node], &topic, Duration::ZERO));
        for publisher in &publishers {
            publisher.await_acked(20);
        }
        cluster[1].delete_topic(&topic);
        cluster[1].create_topic(&topic);
        within(DELIVERY_LIMIT, "a publish to the new topic", || {
            cluster[1].seq(&topic) > 0
        });
        follower.await_end("topic_deleted");
        assert_eq!(follower.account().epoch_changes, 0, "{topic}");
    }
}

#[test]
fn topic_made_again_has_one_new_epoch_on_all_nodes_and_begins_at_1() {
    let cluster = Cluster::with_topic(3, "orders");
    cluster[1].publish("orders", 1, 5);
    let old = cluster[2].epoch("orders");
    cluster[1].delete_topic("orders");
    cluster[2].create_topic("orders");
    let new = cluster[0].epoch("orders");
    assert_ne!(new, old);
    for node in cluster.nodes() {
        let shown = node.topic("orders");
        assert_eq!((epoch_of(&shown), seq_of(&shown)), (&*new, 0));
        assert_eq!(node.history("orders", "")["events"], json!([]));
    }
    assert_eq!(cluster[0].publish("orders", 1, 2), [1, 2]);
}

#[test]
fn limit_of_topics_is_the_clusters() {
    let cluster = Setup::of(3).set("PUBSUB_MAX_TOPICS", "3").start();
    cluster[0].create_topic("a");
    cluster[0].create_topic("b");
    cluster[1].create_topic("c");
    for node in cluster.nodes() {
        node.try_create_topic("d", &json!({}))
            .expect_problem(429, "LIMIT_REACHED");
    }
    cluster[2].delete_topic("a");
    cluster[1].create_topic("d");
}

#[test]
fn limit_of_topics_holds_when_all_nodes_make_some_at_once() {
    let cluster = Setup::of(3).set("PUBSUB_MAX_TOPICS", "10").start();
    let made = on_all_at_once(&cluster, |node| {
        let tried = (0..6).map(|n| format!("t{node}-{n}"));
        let statuses = tried.map(|name| cluster[node].try_create_topic(&name, &json!({})).status);
        statuses.filter(|status| *status == 201).count()
    });
    assert_eq!(made.iter().sum::<usize>(), 10, "{made:?}");
}

#[test]
fn options_of_a_topic_are_the_same_on_every_node() {
    let cluster = Cluster::of(2);
    let options = json!({"history_size": 7, "max_queue_size": 9, "overflow": "disconnect"});
    cluster[0].create_topic_with("orders", &options);
    let shown = cluster[0].topic("orders");
    assert_eq!(shown["overflow"], "disconnect");
    assert_eq!(shown["limits"]["history_size"], 7);
    assert_eq!(shown["limits"]["max_queue_size"], 9);
    let elsewhere = cluster[1].topic("orders");
    assert_eq!(elsewhere["overflow"], shown["overflow"]);
    assert_eq!(elsewhere["limits"], shown["limits"]);
}

#[test]
fn defaults_of_a_topic_are_those_of_the_node_that_made_it() {
    let mut cluster = Setup::of(1).set("PUBSUB_HISTORY_SIZE", "5").start();
    cluster.add_node(&[("PUBSUB_HISTORY_SIZE", "50")]);
    cluster[0].create_topic("small");
    cluster[1].create_topic("large");
    for (topic, kept) in [("small", 5), ("large", 20)] {
        for (node, first) in [(0, 1), (1, 11)] {
            cluster[node].publish(topic, first, first + 9);
        }
        for node in cluster.nodes() {
            let events = node.history(topic, "")["events"].as_array().unwrap().len();
            assert_eq!(events, kept, "{topic}");
        }
    }
}

#[test]
fn topic_of_the_settings_that_exists_stays_as_it_is() {
    let mut cluster = Cluster::of(1);
    cluster[0].create_topic_with("orders", &json!({"history_size": 7}));
    cluster[0].publish("orders", 1, 3);
    let before = cluster[0].topic("orders");
    cluster.add_node(&[("PUBSUB_TOPICS", "orders,returns")]);
    let after = cluster[1].topic("orders");
    for field in ["epoch", "seq", "messages", "limits"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(cluster[0].topic("returns")["seq"], 0);
}

#[test]
fn policy_block_is_refused_on_creation() {
    let cluster = Cluster::of(1);
    cluster[0]
        .try_create_topic("orders", &json!({"overflow": "block"}))
        .expect_problem(422, "VALIDATION_ERROR");
    cluster[0]
        .get("/topics/orders")
        .expect_problem(404, "TOPIC_NOT_FOUND");
}

#[test]
fn policy_block_as_the_default_stops_the_start() {
    let url = crate::cluster::Redis::start().url();
    let node = NodeProcess::start(&[("PUBSUB_REDIS_URL", &url), ("PUBSUB_OVERFLOW", "block")]);
    assert_eq!(node.await_end().code(), Some(2));
    let log = node.log().join("\n");
    assert!(log.contains("PUBSUB_OVERFLOW"), "{log}");
}

/// Runs `work` for every node at the same time; returns the results by node.
fn on_all_at_once<T: Send>(cluster: &Cluster, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let count = cluster.nodes().len();
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|node| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(node)
                })
            })
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    })
}
