//! The history is the cluster's: the same on every node, with subscribers or without, and a client resumes on any of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{
    COUNT_LIMIT, Cluster, DELIVERY_LIMIT, Follower, Node, Publisher, Redis, Setup, audit, within,
};
use crate::harness::{SequenceChecker, WsClient, epoch_of, event_seqs, seq_of, uuid_of};

fn events(history: &Value) -> &[Value] {
    history["events"].as_array().expect("a list")
}

/// Nodes that keep so many events, and one topic.
fn keeping(nodes: usize, events: usize) -> Cluster {
    let cluster = Setup::of(nodes)
        .set("PUBSUB_HISTORY_SIZE", &events.to_string())
        .start();
    cluster[0].create_topic("orders");
    cluster
}

/// Resumes after this position in this epoch on a connection of its own.
fn resume(node: &Node, after_seq: u64, epoch: &str) -> (WsClient, Value) {
    let mut client = node.ws();
    let fields = json!({"after_seq": after_seq, "epoch": epoch});
    let ack = client.subscribe_with("orders", "resumed", &fields);
    (client, ack)
}

#[test]
fn node_without_subscribers_answers_like_one_that_has_some() {
    let cluster = Cluster::with_topic(3, "orders");
    let follower = Follower::start(&cluster[0], "orders", "f");
    let epoch = cluster[0].epoch("orders");
    for part in 0..15 {
        cluster[part % 3].publish("orders", part as u64 * 10 + 1, part as u64 * 10 + 10);
        let head = part * 10 + 10;
        for query in [
            String::new(),
            "?last_n=7".to_owned(),
            format!("?after_seq={}&epoch={epoch}", head - 3),
            format!("?after_seq=1&epoch={epoch}"),
            "?after_seq=0&epoch=another".to_owned(),
        ] {
            let expected = cluster[0].history("orders", &query);
            for node in &cluster.nodes()[1..] {
                assert_eq!(node.history("orders", &query), expected, "{query}");
            }
        }
    }
    follower.expect_whole(150);
}

#[test]
fn what_one_node_acked_is_in_the_history_of_all_at_once() {
    let cluster = Cluster::with_topic(3, "orders");
    let mut publisher = cluster[0].ws();
    for n in 1..=30 {
        publisher.publish("orders", &json!(n));
        let history = cluster[n as usize % 3].history("orders", "?last_n=1");
        assert_eq!(seq_of(&history), n);
        assert_eq!(event_seqs(events(&history)), [n]);
        let shown = cluster[(n as usize + 1) % 3].topic("orders");
        assert_eq!((seq_of(&shown), &shown["messages"]), (n, &json!(n)));
    }
}

#[test]
fn last_n_replays_on_any_node() {
    let cluster = Cluster::with_topic(3, "orders");
    cluster[0].publish("orders", 1, 20);
    for node in cluster.nodes() {
        let mut client = node.ws();
        let ack = client.subscribe_with("orders", "c", &json!({"last_n": 5}));
        assert_eq!(seq_of(&ack), 20);
        assert_eq!(event_seqs(&client.next_events(5)), [16, 17, 18, 19, 20]);
        client.unsubscribe("orders", "c");
    }
}

#[test]
fn resume_on_another_node_gets_exactly_what_was_missed() {
    let cluster = Cluster::with_topic(3, "orders");
    let follower = Follower::start(&cluster[0], "orders", "f");
    cluster[0].publish("orders", 1, 10);
    follower.expect_whole(10);
    follower.reset();
    cluster[2].publish("orders", 11, 60);
    follower.resume_on(&cluster[1]);
    cluster[0].publish("orders", 61, 70);
    follower.expect_whole(70);
    let ids: Vec<String> = (1..=70).map(uuid_of).collect();
    assert_eq!(follower.account().ids(), ids);
}

#[test]
fn resumes_from_node_to_node_while_publishing_lose_and_double_nothing() {
    let cluster = Setup::of(3)
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .set("PUBSUB_MAX_QUEUE_SIZE", "1000")
        .start();
    cluster[0].create_topic("orders");
    let follower = Follower::start(&cluster[0], "orders", "f");
    let publisher = Publisher::start(&cluster[0], "orders", Duration::from_millis(1));
    for step in 1..=15 {
        publisher.await_acked(20);
        follower.resume_on(&cluster[step % 3]);
    }
    let published = publisher.stop();
    follower.expect_whole(published.acked.len() as u64);
    audit(&[published], &[follower]);
}

#[test]
fn gap_of_a_resume_is_exact_on_every_node() {
    let cluster = keeping(3, 5);
    let _elsewhere = Follower::start(&cluster[0], "orders", "f");
    cluster[0].publish("orders", 1, 12);
    let epoch = cluster[1].epoch("orders");
    let gap = json!({"from_seq": 3, "to_seq": 7, "count": 5, "reason": "history_evicted"});
    for node in cluster.nodes() {
        let (mut client, ack) = resume(node, 2, &epoch);
        assert_eq!((seq_of(&ack), &ack["recovered"]), (12, &json!(false)));
        assert_eq!(client.next_info("gap")["gap"], gap);
        assert_eq!(event_seqs(&client.next_events(5)), [8, 9, 10, 11, 12]);
        let history = node.history("orders", &format!("?after_seq=2&epoch={epoch}"));
        assert_eq!(history["gap"], gap);
        assert_eq!(event_seqs(events(&history)), [8, 9, 10, 11, 12]);
    }
}

#[test]
fn history_size_counts_events_inside_a_batch() {
    let cluster = keeping(2, 10);
    let mut publisher = cluster[0].ws();
    let mut head = 0;
    for batch in [25, 3, 7, 1, 12, 9] {
        publish_batch(&mut publisher, head + 1, batch);
        head += batch;
        let expected: Vec<u64> = (head - 9..=head).collect();
        for node in cluster.nodes() {
            let history = node.history("orders", "");
            assert_eq!(event_seqs(events(&history)), expected, "after {batch}");
            let shown = &node.topic("orders")["history"];
            assert_eq!(shown["count"], 10, "{shown}");
            assert_eq!(shown["first_seq"], head - 9, "{shown}");
        }
    }
    for node in cluster.nodes() {
        let last = node.history("orders", "?last_n=4");
        assert_eq!(
            event_seqs(events(&last)),
            (head - 3..=head).collect::<Vec<_>>()
        );
        let (mut client, ack) = resume(node, head - 11, &cluster[0].epoch("orders"));
        assert_eq!(ack["recovered"], false);
        let gap = &client.next_info("gap")["gap"];
        assert_eq!(
            (&gap["from_seq"], &gap["count"]),
            (&json!(head - 10), &json!(1))
        );
    }
}

#[test]
fn position_ahead_of_the_topic_is_a_foreign_epoch() {
    let cluster = Cluster::with_topic(2, "orders");
    cluster[0].publish("orders", 1, 3);
    let epoch = cluster[0].epoch("orders");
    for node in cluster.nodes() {
        let (mut client, ack) = resume(node, 1000, &epoch);
        assert_eq!((seq_of(&ack), &ack["recovered"]), (3, &json!(false)));
        let gap = &client.next_info("gap")["gap"];
        assert_eq!(*gap, json!({"reason": "epoch_changed"}));
        assert_eq!(event_seqs(&client.next_events(3)), [1, 2, 3]);
        let history = node.history("orders", &format!("?after_seq=1000&epoch={epoch}"));
        assert_eq!(history["gap"], json!({"reason": "epoch_changed"}));
        assert_eq!(event_seqs(events(&history)), [1, 2, 3]);
    }
}

#[test]
fn foreign_epoch_replays_the_history_on_any_node() {
    let cluster = keeping(2, 3);
    cluster[0].publish("orders", 1, 5);
    for node in cluster.nodes() {
        for position in [0, 4, 5] {
            let (mut client, ack) = resume(node, position, "another");
            assert_eq!(ack["recovered"], false);
            let gap = &client.next_info("gap")["gap"];
            assert_eq!(*gap, json!({"reason": "epoch_changed"}));
            assert_eq!(event_seqs(&client.next_events(3)), [3, 4, 5]);
        }
    }
}

#[test]
fn topic_without_history_delivers_to_all_nodes_and_reports_what_a_resume_missed() {
    let cluster = keeping(2, 0);
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 200);
    followers
        .iter()
        .for_each(|follower| follower.expect_whole(200));
    let epoch = cluster[0].epoch("orders");
    for node in cluster.nodes() {
        assert_eq!(events(&node.history("orders", "")), Vec::<Value>::new());
        let (mut client, ack) = resume(node, 150, &epoch);
        assert_eq!(ack["recovered"], false);
        let gap = &client.next_info("gap")["gap"];
        let expected =
            json!({"from_seq": 151, "to_seq": 200, "count": 50, "reason": "history_evicted"});
        assert_eq!(*gap, expected);
    }
}

#[test]
fn bytes_of_the_history_are_bounded_on_every_node() {
    let cluster = Setup::of(2)
        .set("PUBSUB_HISTORY_BYTES", "65536")
        .set("PUBSUB_HISTORY_SIZE", "1000")
        .start();
    cluster[0].create_topic("orders");
    cluster[0].ws().publish_padded("orders", 1, 100, 4 << 10);
    let histories: Vec<Value> = cluster
        .nodes()
        .iter()
        .map(|node| node.history("orders", ""))
        .collect();
    assert_eq!(histories[0], histories[1]);
    let kept = event_seqs(events(&histories[0]));
    assert!((8..=16).contains(&kept.len()), "{} events", kept.len());
    assert_eq!(kept.last(), Some(&100));
}

#[test]
fn topics_survive_the_end_of_all_nodes() {
    let mut cluster = Cluster::of(2);
    cluster[0].create_topic_with("orders", &json!({"history_size": 20, "max_queue_size": 9}));
    let follower = Follower::start(&cluster[0], "orders", "f");
    cluster[1].publish("orders", 1, 30);
    follower.expect_whole(30);
    let (shown, kept) = (cluster[0].topic("orders"), cluster[0].history("orders", ""));
    cluster[0].kill();
    cluster[1].shut_down();
    let new = cluster.add_node(&[]);
    let after = cluster[new].topic("orders");
    for field in ["epoch", "seq", "messages", "overflow", "limits"] {
        assert_eq!(after[field], shown[field], "{field}");
    }
    assert_eq!(cluster[new].history("orders", ""), kept);
    follower.resume_on(&cluster[new]);
    assert_eq!(cluster[new].publish("orders", 31, 35).last(), Some(&35));
    follower.expect_whole(35);
}

#[test]
fn topics_survive_the_end_of_all_nodes_and_of_redis() {
    let mut cluster = Setup::of(1).over(Redis::durable()).start();
    cluster[0].create_topic("orders");
    cluster[0].publish("orders", 1, 30);
    let (epoch, kept) = (cluster[0].epoch("orders"), cluster[0].history("orders", ""));
    cluster[0].shut_down();
    cluster.redis().restart();
    let new = cluster.add_node(&[]);
    assert_eq!(cluster[new].epoch("orders"), epoch);
    assert_eq!(cluster[new].history("orders", ""), kept);
    assert_eq!(cluster[new].publish("orders", 31, 31), [31]);
}

#[test]
fn old_events_leave_the_history_of_all_nodes() {
    let cluster = Cluster::of(2);
    cluster[0].create_topic_with("orders", &json!({"history_ttl_secs": 2}));
    let follower = Follower::start(&cluster[0], "orders", "f");
    cluster[0].publish("orders", 1, 5);
    for node in cluster.nodes() {
        within(COUNT_LIMIT, "old events have left the history", || {
            events(&node.history("orders", "")).is_empty()
        });
    }
    cluster[1].publish("orders", 6, 6);
    let epoch = cluster[0].epoch("orders");
    let (mut client, ack) = resume(&cluster[1], 2, &epoch);
    assert_eq!(ack["recovered"], false);
    assert_eq!(client.next_info("gap")["gap"]["to_seq"], 5);
    assert_eq!(event_seqs(&client.next_events(1)), [6]);
    follower.expect_whole(6);
}

#[test]
fn resume_with_the_epoch_of_a_deleted_topic_is_told_so_on_another_node() {
    let cluster = Cluster::with_topic(2, "orders");
    cluster[0].publish("orders", 1, 9);
    let old = cluster[0].epoch("orders");
    cluster[1].delete_topic("orders");
    cluster[0].create_topic("orders");
    cluster[0].publish("orders", 1, 2);
    let (mut client, ack) = resume(&cluster[1], 9, &old);
    assert_ne!(epoch_of(&ack), old);
    assert_eq!(client.next_info("gap")["gap"]["reason"], "epoch_changed");
    assert_eq!(event_seqs(&client.next_events(2)), [1, 2]);
}

#[test]
fn replay_larger_than_the_queue_is_no_gap() {
    let cluster = Setup::of(2)
        .set("PUBSUB_HISTORY_SIZE", "3000")
        .set("PUBSUB_MAX_QUEUE_SIZE", "5")
        .start();
    cluster[0].create_topic("orders");
    cluster[0].publish("orders", 1, 2500);
    let mut client = cluster[1].ws();
    client.subscribe_with("orders", "c", &json!({"last_n": 2500}));
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut client, 2500);
    assert_eq!(checker.skipped, 0);
}

#[test]
fn mirror_that_a_node_gave_up_is_read_again() {
    let cluster = Cluster::with_topic(2, "orders");
    for round in 0..4_u64 {
        let first = round * 20 + 1;
        let follower = Follower::start(&cluster[1], "orders", "f");
        cluster[0].publish("orders", first, first + 9);
        follower.await_position(first + 9);
        assert_eq!(follower.account().events.len(), 10);
        drop(follower);
        cluster[0].await_subscribers_within(DELIVERY_LIMIT, "orders", 0);
        cluster[0].publish("orders", first + 10, first + 19);
        assert_eq!(
            cluster[1].history("orders", ""),
            cluster[0].history("orders", "")
        );
    }
}

/// Publishes so many messages in one write, so that the server receives them at once.
fn publish_batch(publisher: &mut WsClient, first: u64, count: u64) {
    let request = |n: u64| {
        let message = json!({"id": uuid_of(n), "payload": n});
        json!({"type": "publish", "topic": "orders", "message": message, "request_id": n.to_string()})
            .to_string()
    };
    let numbers = first..first + count;
    publisher.send_texts(&numbers.clone().map(request).collect::<Vec<_>>());
    for n in numbers {
        assert_eq!(seq_of(&publisher.expect_ack(&n.to_string())), n);
    }
}
