//! One node is cut off from Redis while the others go on.

use serde_json::{Value, json};

use super::{PACE, durable_cluster, expect_all_whole, expect_heard_nothing, expect_unavailable};
use super::{publish_request, subscribe_request};
use crate::cluster::{
    BOTH, COUNT_LIMIT, Cluster, DEAD_NODE_LIMIT, DELIVERY_LIMIT, Follower, Publisher, REJOIN_LIMIT,
    SLACK, Setup, UNAVAILABLE_LIMIT, throughout, within,
};

/// Cuts the second node off until it says so.
fn cut_off(cluster: &Cluster) {
    cluster.proxy(1).cut();
    cluster[1].await_not_ready();
}

fn heal(cluster: &Cluster) {
    cluster.proxy(1).heal();
    cluster[1].await_ready();
}

#[test]
fn others_go_on_and_it_reads_what_it_missed() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    for silent in [false, true] {
        publisher.await_acked(100);
        match silent {
            true => cluster.proxy(1).hold(&BOTH),
            false => cluster.proxy(1).cut(),
        }
        cluster[1].await_not_ready();
        publisher.await_acked(200);
        assert!(cluster[0].is_ready());
        expect_heard_nothing(&followers[1]);
        heal(&cluster);
    }
    let slowest = publisher.slowest();
    assert!(slowest < UNAVAILABLE_LIMIT, "{slowest:?} beside the cut");
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn what_the_history_no_longer_has_is_reported_exactly() {
    let cluster = Setup::of(2)
        .with_proxies()
        .set("PUBSUB_HISTORY_SIZE", "10")
        .start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    cluster[0].publish("orders", 1, 20);
    followers
        .iter()
        .for_each(|follower| follower.expect_whole(20));
    cut_off(&cluster);
    cluster[0].publish("orders", 21, 220);
    heal(&cluster);
    followers[0].expect_whole(220);
    followers[1].await_position(220);
    let account = followers[1].account();
    assert_eq!(account.gaps.len(), 1, "{:?}", account.gaps);
    let gap = &account.gaps[0]["gap"];
    assert_eq!(
        (&gap["from_seq"], &gap["reason"]),
        (&json!(21), &json!("history_evicted"))
    );
    // At least the history is received.
    assert!(account.skipped <= 190, "{gap}");
    assert_eq!(account.events.len() as u64 + account.skipped, 220);
    cluster[1].publish("orders", 221, 225);
    followers[1].await_position(225);
}

#[test]
fn what_it_missed_is_no_queue_that_overflows() {
    let cluster = Setup::of(2)
        .with_proxies()
        .set("PUBSUB_HISTORY_SIZE", "5000")
        .set("PUBSUB_MAX_QUEUE_SIZE", "5")
        .set("PUBSUB_OVERFLOW", "disconnect")
        .start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    cut_off(&cluster);
    cluster[0].publish("orders", 1, 3000);
    heal(&cluster);
    for follower in &followers {
        follower.expect_whole(3000);
        expect_heard_nothing(follower);
    }
}

#[test]
fn it_takes_neither_publishes_nor_subscriptions() {
    let cluster = durable_cluster(2);
    cut_off(&cluster);
    let mut client = cluster[1].ws();
    expect_unavailable(&mut client, publish_request("orders"));
    expect_unavailable(&mut client, subscribe_request("orders", "c"));
    heal(&cluster);
    assert_eq!(
        client.publish("orders", &json!(1)),
        1,
        "the refused one was not taken"
    );
    client.subscribe("orders", "c");
}

#[test]
fn takeover_elsewhere_meanwhile_holds_when_it_is_back() {
    let cluster = durable_cluster(2);
    let older = Follower::start(&cluster[1], "orders", "c");
    cut_off(&cluster);
    let newer = Follower::start(&cluster[0], "orders", "c");
    cluster[0].publish("orders", 1, 10);
    newer.expect_whole(10);
    heal(&cluster);
    older.await_end("subscription_replaced");
    for node in cluster.nodes() {
        node.await_subscribers("orders", 1);
    }
    cluster[1].publish("orders", 11, 20);
    newer.expect_whole(20);
    throughout(COUNT_LIMIT, "the newer subscription stays", || {
        newer.look(|account| account.end.is_none()) && cluster[0].subscribers("orders") == 1
    });
}

#[test]
fn deletion_elsewhere_meanwhile_ends_its_subscriptions_when_it_is_back() {
    for made_again in [false, true] {
        let cluster = durable_cluster(2);
        let follower = Follower::start(&cluster[1], "orders", "f");
        cluster[0].publish("orders", 1, 5);
        follower.expect_whole(5);
        cut_off(&cluster);
        cluster[0].delete_topic("orders");
        if made_again {
            cluster[0].create_topic("orders");
            cluster[0].publish("orders", 1, 3);
        }
        heal(&cluster);
        follower.await_end("topic_deleted");
        match made_again {
            true => cluster[0].await_subscribers("orders", 0),
            false => {
                cluster[1]
                    .get("/topics/orders")
                    .expect_problem(404, "TOPIC_NOT_FOUND");
            }
        }
    }
}

#[test]
fn topic_made_elsewhere_meanwhile_is_there_when_it_is_back() {
    let cluster = durable_cluster(2);
    cut_off(&cluster);
    cluster[0].create_topic("returns");
    heal(&cluster);
    assert_eq!(cluster[1].topic_names(), ["orders", "returns"]);
    assert_eq!(cluster[1].publish("returns", 1, 1), [1]);
}

#[test]
fn it_is_taken_for_dead_and_joins_again() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    cluster[0].await_subscribers("orders", 2);
    cluster.proxy(1).cut();
    cluster[0].await_subscribers_within(DEAD_NODE_LIMIT, "orders", 1);
    within(DEAD_NODE_LIMIT, "one node", || {
        cluster[0].nodes().len() == 1
    });
    cluster[0].publish("orders", 1, 50);
    cluster.proxy(1).heal();
    for node in cluster.nodes() {
        within(REJOIN_LIMIT, "two nodes and two subscriptions", || {
            node.is_ready() && node.nodes().len() == 2 && node.subscribers("orders") == 2
        });
    }
    cluster[1].publish("orders", 51, 60);
    for follower in &followers {
        follower.expect_whole(60);
        expect_heard_nothing(follower);
    }
}

#[test]
fn node_that_flaps_loses_nothing() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    for _ in 0..30 {
        publisher.await_acked(10);
        cluster.proxy(1).drop_connections();
    }
    within(DELIVERY_LIMIT + SLACK, "ready", || cluster[1].is_ready());
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn subscriber_of_a_quiet_topic_gets_its_next_event_after_a_silent_loss_of_the_link() {
    let cluster = durable_cluster(2);
    let mut client = cluster[1].ws();
    client.subscribe("orders", "c");
    // The link is dead, but neither side can know: no byte, no end.
    cluster.proxy(1).hold(&BOTH);
    cluster[0].publish("orders", 1, 1);
    cluster[1].await_not_ready();
    cluster.proxy(1).cut();
    heal(&cluster);
    client.next_event();
    assert_eq!(client.fence(), Vec::<Value>::new());
}
