//! A node is killed, or stopped and taken for dead.

use serde_json::{Value, json};

use super::{PACE, durable_cluster, expect_all_whole, expect_heard_nothing};
use crate::cluster::{
    COUNT_LIMIT, Cluster, DEAD_NODE_LIMIT, DELIVERY_LIMIT, Follower, Homes, Node, Publisher,
    REJOIN_LIMIT, audit, throughout, within,
};
use crate::harness::seq_of;

#[test]
fn subscribers_of_a_killed_node_leave_within_15_s() {
    let cluster = Cluster::with_topic(3, "orders");
    let _followers = cluster.follow("orders");
    let _more = Follower::start(&cluster[2], "orders", "more");
    cluster[0].await_subscribers("orders", 4);
    cluster[2].kill();
    for node in &cluster.nodes()[..2] {
        node.await_subscribers_within(DEAD_NODE_LIMIT, "orders", 2);
        within(COUNT_LIMIT, "two subscriptions in all", || {
            node.health()["subscribers"] == 2
        });
        within(COUNT_LIMIT, "two nodes", || node.nodes().len() == 2);
    }
}

#[test]
fn node_killed_right_after_a_subscribe_leaves_nothing() {
    let mut cluster = Cluster::with_topic(1, "orders");
    for n in 0..3 {
        let new = cluster.add_node(&[]);
        let mut client = cluster[new].ws();
        client.subscribe("orders", &format!("c{n}"));
        cluster[new].kill();
    }
    cluster[0].await_subscribers_within(DEAD_NODE_LIMIT, "orders", 0);
    within(COUNT_LIMIT, "one node", || cluster[0].nodes().len() == 1);
}

#[test]
fn subscribers_of_a_node_that_is_shut_down_leave_at_once() {
    let cluster = Cluster::with_topic(2, "orders");
    let _followers = cluster.follow("orders");
    cluster[0].await_subscribers("orders", 2);
    cluster[1].shut_down();
    cluster[0].await_subscribers("orders", 1);
}

#[test]
fn clients_of_a_killed_node_resume_on_another() {
    let cluster = durable_cluster(3);
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    publisher.await_acked(100);
    cluster[2].kill();
    followers[2].await_cut();
    publisher.await_acked(100);
    followers[2].resume_on(&cluster[1]);
    publisher.await_acked(50);
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    cluster[0].await_subscribers_within(DEAD_NODE_LIMIT, "orders", 3);
    throughout(COUNT_LIMIT, "its resumed subscription stays", || {
        cluster[1].subscribers("orders") == 3
    });
}

#[test]
fn what_a_killed_node_had_acked_reaches_all() {
    for _ in 0..3 {
        let cluster = durable_cluster(3);
        let followers = vec![
            Follower::start(&cluster[1], "orders", "f1"),
            Follower::start(&cluster[2], "orders", "f2"),
        ];
        let homes = Homes::of(cluster.nodes()[..2].iter().map(Node::addr));
        let publishers: Vec<_> = (0..4)
            .map(|n| Publisher::roaming(&homes, n / 3, "orders", std::time::Duration::ZERO))
            .collect();
        publishers
            .iter()
            .for_each(|publisher| publisher.await_acked(200));
        cluster[0].kill();
        publishers
            .iter()
            .for_each(|publisher| publisher.await_acked(100));
        let published: Vec<_> = publishers.into_iter().map(Publisher::stop).collect();
        let head = cluster[1].seq("orders");
        for follower in &followers {
            follower.await_position(head);
            assert_eq!(follower.look(|account| account.skipped), 0);
        }
        audit(&published, &followers);
    }
}

#[test]
fn stopped_node_is_taken_for_dead_and_joins_again_by_itself() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    cluster[0].await_subscribers("orders", 2);
    cluster[1].pause();
    cluster[0].await_subscribers_within(DEAD_NODE_LIMIT, "orders", 1);
    cluster[0].publish("orders", 1, 200);
    cluster[1].proceed();
    within(REJOIN_LIMIT, "two nodes and two subscriptions", || {
        cluster[0].nodes().len() == 2 && cluster[0].subscribers("orders") == 2
    });
    cluster[1].await_ready();
    cluster[1].publish("orders", 201, 210);
    for follower in &followers {
        follower.expect_whole(210);
        expect_heard_nothing(follower);
    }
}

#[test]
fn node_stopped_for_a_moment_loses_nothing() {
    let cluster = durable_cluster(2);
    let followers = cluster.follow("orders");
    let publisher = Publisher::start(&cluster[0], "orders", PACE);
    for _ in 0..5 {
        cluster[1].pause();
        publisher.await_acked(50);
        cluster[1].proceed();
        publisher.await_acked(20);
    }
    expect_all_whole(&cluster[0], vec![publisher], &followers);
    followers.iter().for_each(expect_heard_nothing);
}

#[test]
fn stopped_node_takes_nothing_back_from_the_node_its_client_went_to() {
    let cluster = durable_cluster(2);
    let mut older = cluster[1].ws();
    older.subscribe("orders", "c");
    cluster[0].await_subscribers("orders", 1);
    cluster[1].pause();
    let newer = Follower::start(&cluster[0], "orders", "c");
    cluster[0].publish("orders", 1, 5);
    newer.expect_whole(5);
    cluster[1].proceed();
    let mut last = 0;
    loop {
        let message = older.next_json();
        if message["msg"] == "subscription_replaced" {
            assert_eq!(seq_of(&message), last);
            break;
        }
        last = seq_of(&message);
    }
    throughout(COUNT_LIMIT, "the newer subscription stays", || {
        newer.look(|account| account.end.is_none())
    });
    cluster[0].publish("orders", 6, 10);
    newer.expect_whole(10);
    assert_eq!(older.fence(), Vec::<Value>::new());
    cluster[1].await_subscribers("orders", 1);
}

#[test]
fn client_id_of_a_dead_node_can_be_used_at_once() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut older = cluster[1].ws();
    older.subscribe("orders", "c");
    cluster[1].kill();
    let newer = Follower::start(&cluster[0], "orders", "c");
    cluster[0].publish("orders", 1, 5);
    newer.expect_whole(5);
    throughout(DEAD_NODE_LIMIT, "the newer subscription stays", || {
        cluster[0].subscribers("orders") == 1
    });
    newer.expect_whole(5);
}

#[test]
fn topic_with_a_dead_node_can_be_deleted_and_made_again() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[1].ws();
    client.subscribe("orders", "c");
    cluster[1].kill();
    cluster[0].delete_topic("orders");
    cluster[0].create_topic("orders");
    cluster[0].await_subscribers("orders", 0);
    let follower = Follower::start(&cluster[0], "orders", "f");
    cluster[0].publish("orders", 1, 3);
    follower.expect_whole(3);
}

#[test]
fn shut_down_node_delivers_what_was_acked_and_says_goodbye() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[1].ws();
    client.subscribe("orders", "c");
    cluster[0].publish("orders", 1, 100);
    let witness = Follower::start(&cluster[0], "orders", "w");
    cluster[0].publish("orders", 101, 110);
    witness.await_position(110);
    client.next_events(100);
    std::thread::scope(|scope| {
        scope.spawn(|| cluster[1].shut_down());
        client.next_events(10);
        client.next_info("server_shutdown");
        assert_eq!(client.close_code(), Some(1001));
    });
    within(DELIVERY_LIMIT, "no subscription but the other", || {
        cluster[0].topic("orders")["subscribers"] == json!(1)
    });
}
