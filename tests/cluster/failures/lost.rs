//! Redis comes back without what it had: a new epoch for every topic that is still subscribed to, on all nodes, and nobody is misled.

use serde_json::{Value, json};

use super::{PACE, expect_heard_nothing};
use crate::cluster::{
    COUNT_LIMIT, Cluster, DELIVERY_LIMIT, Follower, Publisher, REJOIN_LIMIT, Redis, Setup, audit,
    within,
};
use crate::harness::{epoch_of, event_seqs, seq_of};

/// How Redis loses everything.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Restart,
    Flush,
}

impl Loss {
    fn strike(self, cluster: &Cluster) {
        match self {
            Loss::Restart => cluster.redis().restart_empty(),
            Loss::Flush => {
                cluster.redis().command(&["FLUSHALL"]);
            }
        }
    }
}

/// Waits until all are in one new epoch; returns it.
#[track_caller]
fn await_one_new_epoch(cluster: &Cluster, followers: &[Follower], old: &str) -> String {
    let new = followers[0].await_epoch_other_than(old);
    for follower in followers {
        follower.await_account(DELIVERY_LIMIT, "the new epoch", |account| {
            account.epoch() == new
        });
    }
    for node in cluster.nodes() {
        within(COUNT_LIMIT, "the new epoch on every node", || {
            let reply = node.get("/topics/orders");
            reply.status == 200 && epoch_of(&reply.json()) == new
        });
    }
    new
}

/// Asserts that everything up to `head` of this epoch was received, and that the epoch changed once.
#[track_caller]
fn expect_whole_in(followers: &[Follower], epoch: &str, head: u64) {
    for follower in followers {
        follower.await_position(head);
        let account = follower.account();
        account
            .check_complete(epoch, head)
            .unwrap_or_else(|error| panic!("{}: {error}", follower.client_id));
        assert_eq!(account.epoch_changes, 1, "{:?}", account.gaps);
        assert_eq!(account.skipped, 0, "{:?}", account.gaps);
        assert_eq!(account.notices, Vec::<Value>::new());
    }
}

fn expect_new_epoch_after(loss: Loss) {
    let cluster = Cluster::of(2);
    let options = json!({"history_size": 20, "max_queue_size": 9, "overflow": "disconnect"});
    cluster[0].create_topic_with("orders", &options);
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 30);
    followers
        .iter()
        .for_each(|follower| follower.expect_whole(30));
    let before = cluster[1].topic("orders");
    loss.strike(&cluster);
    let new = await_one_new_epoch(&cluster, &followers, epoch_of(&before));
    cluster.await_ready();
    for (node, follower) in cluster.nodes().iter().zip(&followers) {
        let after = node.topic("orders");
        assert_eq!(
            (after["seq"].as_u64(), &after["limits"]),
            (Some(0), &before["limits"])
        );
        assert_eq!(after["overflow"], before["overflow"]);
        assert_eq!(node.history("orders", "")["events"], json!([]));
        let notice = follower.look(|account| account.gaps[0].clone());
        assert_eq!(seq_of(&notice), 0, "{notice}");
    }
    assert_eq!(cluster[1].publish("orders", 31, 35), [1, 2, 3, 4, 5]);
    expect_whole_in(&followers, &new, 5);
    for node in cluster.nodes() {
        node.await_subscribers_within(REJOIN_LIMIT, "orders", 2);
    }
}

#[test]
fn redis_restarted_empty_begins_a_new_epoch_on_all_nodes() {
    expect_new_epoch_after(Loss::Restart);
}

#[test]
fn redis_that_was_flushed_begins_a_new_epoch_on_all_nodes() {
    expect_new_epoch_after(Loss::Flush);
}

fn expect_exact_accounts_after(loss: Loss) {
    let cluster = Setup::of(2)
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .set("PUBSUB_MAX_QUEUE_SIZE", "1000")
        .start();
    cluster[0].create_topic("orders");
    let old = cluster[0].epoch("orders");
    let followers = cluster.follow("orders");
    let publishers: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| Publisher::start(node, "orders", PACE))
        .collect();
    publishers
        .iter()
        .for_each(|publisher| publisher.await_acked(100));
    loss.strike(&cluster);
    let new = await_one_new_epoch(&cluster, &followers, &old);
    publishers
        .iter()
        .for_each(|publisher| publisher.await_acked(100));
    let published: Vec<_> = publishers.into_iter().map(Publisher::stop).collect();
    let head = cluster[0].seq("orders");
    expect_whole_in(&followers, &new, head);
    audit(&published, &followers);
}

#[test]
fn redis_restarted_empty_while_publishing_gives_no_number_twice() {
    expect_exact_accounts_after(Loss::Restart);
}

#[test]
fn redis_flushed_while_publishing_gives_no_number_twice() {
    expect_exact_accounts_after(Loss::Flush);
}

#[test]
fn topics_without_subscribers_are_gone_with_redis() {
    let cluster = Cluster::with_topic(2, "orders");
    cluster[0].create_topic("returns");
    let follower = Follower::start(&cluster[1], "orders", "f");
    cluster[0].publish("returns", 1, 5);
    let old = cluster[0].epoch("orders");
    cluster.redis().restart_empty();
    follower.await_epoch_other_than(&old);
    cluster.await_ready();
    for node in cluster.nodes() {
        within(COUNT_LIMIT, "one topic", || {
            node.topic_names() == ["orders"]
        });
        node.get("/topics/returns")
            .expect_problem(404, "TOPIC_NOT_FOUND");
    }
}

#[test]
fn client_that_was_away_meanwhile_is_told_of_the_new_epoch() {
    let cluster = Cluster::with_topic(2, "orders");
    let follower = Follower::start(&cluster[0], "orders", "f");
    let away = Follower::start(&cluster[1], "orders", "away");
    cluster[0].publish("orders", 1, 30);
    away.expect_whole(30);
    away.reset();
    let old = cluster[0].epoch("orders");
    cluster.redis().restart_empty();
    follower.await_epoch_other_than(&old);
    cluster.await_ready();
    cluster[0].publish("orders", 1, 40);
    away.resume_on(&cluster[1]);
    away.await_position(40);
    let account = away.account();
    assert_eq!((account.epoch_changes, account.events.len()), (1, 70));
}

#[test]
fn several_losses_make_several_epochs() {
    let cluster = Cluster::with_topic(2, "orders");
    let followers = cluster.follow("orders");
    for round in 1..=4 {
        let old = cluster[0].epoch("orders");
        cluster[round % 2].publish("orders", 1, 10);
        followers
            .iter()
            .for_each(|follower| follower.await_position(10));
        cluster.redis().restart_empty();
        await_one_new_epoch(&cluster, &followers, &old);
        cluster.await_ready();
        for follower in &followers {
            let changes = follower.look(|account| account.epoch_changes);
            assert_eq!(changes, round as u64);
        }
    }
}

#[test]
fn takeover_works_after_a_loss() {
    let cluster = Cluster::with_topic(2, "orders");
    let older = Follower::start(&cluster[0], "orders", "c");
    let old = cluster[0].epoch("orders");
    cluster.redis().restart_empty();
    older.await_epoch_other_than(&old);
    cluster.await_ready();
    let mut newer = cluster[1].ws();
    newer.subscribe("orders", "c");
    older.await_end("subscription_replaced");
    cluster[0].await_subscribers("orders", 1);
    cluster[0].publish("orders", 1, 3);
    assert_eq!(event_seqs(&newer.next_events(3)), [1, 2, 3]);
}

#[test]
fn history_that_was_trimmed_behind_a_restart_is_a_gap_and_no_loss() {
    let cluster = Setup::of(2)
        .over(Redis::durable())
        .with_proxies()
        .set("PUBSUB_HISTORY_SIZE", "30")
        .set("PUBSUB_MAX_QUEUE_SIZE", "30")
        .start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 20);
    followers[1].expect_whole(20);
    cluster.proxy(1).cut();
    cluster.redis().restart();
    cluster[0].await_ready();
    cluster[0].publish("orders", 21, 300);
    cluster.proxy(1).heal();
    cluster[1].await_ready();
    followers[1].await_position(300);
    let account = followers[1].account();
    assert_eq!(account.epoch_changes, 0, "{:?}", account.gaps);
    assert_eq!(account.gaps[0]["gap"]["reason"], "history_evicted");
    assert_eq!(account.events.len() as u64 + account.skipped, 300);
}

#[test]
fn redis_restarted_with_its_file_is_no_loss() {
    let cluster = super::durable_cluster(2);
    cluster[0].create_topic("quiet");
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 30);
    cluster[0].publish("quiet", 1, 3);
    let (shown, kept) = (cluster[1].topic("orders"), cluster[1].history("orders", ""));
    cluster.redis().restart();
    cluster.await_ready();
    for node in cluster.nodes() {
        assert_eq!(node.epoch("orders"), epoch_of(&shown));
        assert_eq!(node.history("orders", ""), kept);
        assert_eq!(node.seq("quiet"), 3);
    }
    cluster[1].publish("orders", 31, 35);
    for follower in &followers {
        follower.expect_whole(35);
        expect_heard_nothing(follower);
    }
}
