//! Another Redis takes over, with all that was acked or without the last of it.

use super::{PACE, expect_all_whole_after, expect_heard_nothing};
use crate::cluster::{
    Cluster, DELIVERY_LIMIT, Follower, Published, Publisher, Redis, Setup, audit, within,
};

const BEFORE: u64 = 20;

/// Two nodes with a proxy each, a topic with a subscriber on each node and 20 events, and a replica that has all of it.
fn replicated() -> (Cluster, Vec<Follower>, Redis, Published) {
    replicated_with_history("100000")
}

fn replicated_with_history(size: &str) -> (Cluster, Vec<Follower>, Redis, Published) {
    let cluster = Setup::of(2)
        .with_proxies()
        .set("PUBSUB_HISTORY_SIZE", size)
        .set("PUBSUB_MAX_QUEUE_SIZE", "30")
        .start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    let published = cluster[0].publish_noted("orders", 1, BEFORE);
    let replica = Redis::replica_of(cluster.redis());
    (cluster, followers, replica, published)
}

/// Like [`replicated`], but the replica is a primary that lacks the last `lost` events, which all subscribers have.
fn diverged(lost: u64) -> (Cluster, Vec<Follower>, Redis, [Published; 2]) {
    diverge(replicated(), lost)
}

fn diverge(
    (cluster, followers, replica, published): (Cluster, Vec<Follower>, Redis, Published),
    lost: u64,
) -> (Cluster, Vec<Follower>, Redis, [Published; 2]) {
    replica.promote(cluster.redis());
    let then_lost = cluster[0].publish_noted("orders", BEFORE + 1, BEFORE + lost);
    for follower in &followers {
        follower.expect_whole(BEFORE + lost);
    }
    (cluster, followers, replica, [published, then_lost])
}

fn cut_all(cluster: &Cluster) {
    cluster.proxies().iter().for_each(|proxy| proxy.cut());
}

/// Leads all nodes to another Redis.
fn switch(cluster: &Cluster, to: &Redis) {
    for proxy in cluster.proxies() {
        proxy.cut();
        proxy.lead_to(to.addr());
        proxy.heal();
    }
}

/// Waits until all subscribers and nodes are in one epoch that is not `old`; returns it.
#[track_caller]
fn await_one_new_epoch(cluster: &Cluster, followers: &[Follower], old: &str) -> String {
    let mut new = String::new();
    within(DELIVERY_LIMIT, "one new epoch for all", || {
        let reply = cluster[0].get("/topics/orders");
        if reply.status != 200 {
            return false;
        }
        new = crate::harness::epoch_of(&reply.json()).to_owned();
        let mut epochs = followers
            .iter()
            .map(|follower| follower.look(|account| account.epoch().to_owned()));
        new != old && epochs.all(|epoch| epoch == new)
    });
    new
}

#[test]
fn replica_that_has_everything_goes_on() {
    let (cluster, followers, replica, before) = replicated();
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(100);
    let epoch = cluster[0].epoch("orders");
    cut_all(&cluster);
    replica.promote(cluster.redis());
    switch(&cluster, &replica);
    cluster.await_ready();
    publisher.await_acked(100);
    assert_eq!(cluster[1].epoch("orders"), epoch);
    expect_all_whole_after(vec![before], &cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn replica_without_the_last_events_begins_a_new_epoch_on_all_nodes() {
    let (cluster, followers, replica, _) = diverged(5);
    let old = cluster[0].epoch("orders");
    switch(&cluster, &replica);
    let new = await_one_new_epoch(&cluster, &followers, &old);
    cluster.await_ready();
    assert_eq!(cluster[1].seq("orders"), 0);
    assert_eq!(cluster[1].publish("orders", 1, 3), [1, 2, 3]);
    for follower in &followers {
        follower.await_account(DELIVERY_LIMIT, "three events of the new epoch", |account| {
            account.check_complete(&new, 3).is_ok()
        });
        let account = follower.account();
        let whole = (BEFORE + 5 + 3) as usize;
        assert_eq!((account.epoch_changes, account.events.len()), (1, whole));
    }
}

#[test]
fn the_first_publish_notices_that_events_are_lost() {
    let (cluster, followers, replica, before) = diverged(1);
    let old = cluster[0].epoch("orders");
    let publisher = Publisher::start(&cluster[1], "orders", PACE);
    publisher.await_acked(10);
    switch(&cluster, &replica);
    await_one_new_epoch(&cluster, &followers, &old);
    publisher.await_acked(20);
    let published = publisher.stop();
    let head = cluster[0].seq("orders");
    for follower in &followers {
        follower.await_position(head);
    }
    let published: Vec<_> = before.into_iter().chain([published]).collect();
    audit(&published, &followers);
}

/// Another node goes on with the old epoch before those that know better are back: with fewer events than were lost, as many, or more.
fn expect_new_epoch_after_others_went_on(lost: u64, published: u64) {
    let (cluster, mut followers, replica, _) = diverged(lost);
    let old = cluster[0].epoch("orders");
    cut_all(&cluster);
    let unaware = cluster.node_at(&replica.url(), &[]);
    unaware.await_ready();
    followers.push(Follower::start(&unaware, "orders", "unaware"));
    unaware.publish("orders", 101, 100 + published);
    switch(&cluster, &replica);
    let new = await_one_new_epoch(&cluster, &followers, &old);
    cluster.await_ready();
    cluster[0].publish("orders", 201, 203);
    unaware.publish("orders", 204, 206);
    let head = cluster[1].seq("orders");
    let newest: Vec<String> = (201..=206).map(crate::harness::uuid_of).collect();
    for follower in &followers {
        follower.await_account(DELIVERY_LIMIT, "all of the new epoch", |account| {
            account.check_complete(&new, head).is_ok()
        });
        assert!(
            follower
                .account()
                .ids()
                .ends_with(&newest.iter().map(String::as_str).collect::<Vec<_>>())
        );
    }
}

#[test]
fn other_content_that_was_trimmed_since_begins_a_new_epoch() {
    let (cluster, followers, replica, _) = diverge(replicated_with_history("30"), 5);
    let old = cluster[0].epoch("orders");
    cut_all(&cluster);
    let unaware = cluster.node_at(&replica.url(), &[]);
    unaware.await_ready();
    // All that could be compared with what the followers have is gone from the history.
    unaware.publish("orders", 101, 300);
    switch(&cluster, &replica);
    let new = await_one_new_epoch(&cluster, &followers, &old);
    cluster.await_ready();
    cluster[1].publish("orders", 301, 310);
    let head = cluster[0].seq("orders");
    for follower in &followers {
        follower.await_account(DELIVERY_LIMIT, "all of the new epoch", |account| {
            account.check_complete(&new, head).is_ok()
        });
    }
}

#[test]
fn first_publish_after_a_trimmed_loss_begins_a_new_epoch() {
    let (cluster, followers, replica, _) = diverge(replicated_with_history("30"), 5);
    // The second node knows the lost events, but has no subscriber any more.
    drop(followers);
    cluster[0].await_subscribers("orders", 0);
    let last = cluster[1].publish("orders", 90, 90)[0];
    cut_all(&cluster);
    let unaware = cluster.node_at(&replica.url(), &[]);
    unaware.await_ready();
    unaware.publish("orders", 101, 300);
    let old = unaware.epoch("orders");
    switch(&cluster, &replica);
    cluster.await_ready();
    assert!(last > BEFORE);
    assert_eq!(cluster[1].publish("orders", 301, 301), [1]);
    assert_ne!(unaware.epoch("orders"), old);
}

#[test]
fn lower_seq_than_known_begins_a_new_epoch() {
    expect_new_epoch_after_others_went_on(5, 2);
}

#[test]
fn known_seq_with_another_content_begins_a_new_epoch() {
    expect_new_epoch_after_others_went_on(5, 5);
}

#[test]
fn higher_seq_behind_another_content_begins_a_new_epoch() {
    expect_new_epoch_after_others_went_on(5, 9);
}

#[test]
fn next_seq_behind_one_that_was_lost_begins_a_new_epoch() {
    expect_new_epoch_after_others_went_on(1, 2);
}

#[test]
fn subscriber_link_that_stays_at_the_old_primary_loses_nothing() {
    let (cluster, followers, replica, before) = replicated();
    replica.promote(cluster.redis());
    // New connections go to the new primary. Those that wait for events stay where they are, alive and silent.
    for proxy in cluster.proxies() {
        proxy.lead_to(replica.addr());
    }
    let killed = cluster.redis().kill_clients("normal");
    assert!(killed > 0, "no link for commands was at the old primary");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(200);
    expect_all_whole_after(vec![before], &cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn replica_that_is_not_promoted_counts_as_away_until_it_is() {
    let (cluster, followers, replica, before) = replicated();
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(50);
    switch(&cluster, &replica);
    for node in cluster.nodes() {
        node.await_not_ready();
    }
    publisher.await_unsure();
    followers.iter().for_each(expect_heard_nothing);
    replica.promote(cluster.redis());
    cluster.await_ready();
    publisher.await_acked(50);
    expect_all_whole_after(vec![before], &cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn deleted_topic_that_a_failover_brings_back_is_reported_as_deleted() {
    let (cluster, followers, replica, _) = replicated();
    replica.promote(cluster.redis());
    cluster[0].delete_topic("orders");
    for follower in &followers {
        follower.await_end("topic_deleted");
    }
    switch(&cluster, &replica);
    cluster.await_ready();
    // A node that knew of the deletion lives: the topic stays deleted, or is another one.
    let mut client = cluster[1].ws();
    let reply = client.ask(super::subscribe_request("orders", "later"));
    if reply["type"] == "ack" {
        assert_ne!(
            reply["epoch"],
            followers[0].look(|account| account.epoch().to_owned())
        );
    } else {
        assert_eq!(crate::harness::code_of(&reply), "TOPIC_NOT_FOUND");
    }
}
