//! Who is subscribed, across nodes.

use std::time::Duration;

use serde_json::json;

use super::failures::Outage;
use crate::cluster::{
    Answer, COUNT_LIMIT, Cluster, DEAD_NODE_LIMIT, Random, Redis, SLACK, Setup, within,
};
use crate::harness::{Audience, WsClient, epoch_of, names};

/// Waits until exactly these are there, as this client knows it.
#[track_caller]
fn await_within(
    limit: Duration,
    audience: &mut Audience,
    client: &mut WsClient,
    expected: &[&str],
) {
    within(limit, &format!("only {expected:?} are there"), || {
        for notice in client.fence() {
            assert_eq!(notice["msg"], "presence", "in {notice}");
            audience.apply(&notice, "t");
        }
        audience.present.iter().eq(expected)
    });
}

#[test]
fn the_list_is_that_of_the_whole_cluster() {
    let cluster = Cluster::with_topic(3, "t");
    let mut other = cluster[1].ws();
    other.subscribe("t", "s1");
    other.subscribe("t", "s 2");
    let mut watcher = cluster[0].ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    assert_eq!(audience.present.len(), 3);
    let mut second = cluster[2].ws();
    let mut seconds = Audience::begin(&mut second, "t", "w2");
    assert_eq!(seconds.present.len(), 4);
    audience.await_only(&mut watcher, "t", &["s 2", "s1", "w", "w2"]);
    other.unsubscribe("t", "s 2");
    drop(other);
    audience.await_only(&mut watcher, "t", &["w", "w2"]);
    seconds.await_only(&mut second, "t", &["w", "w2"]);
    // A takeover on another node is no change.
    let notices = seconds.notices;
    let mut newer = cluster[1].ws();
    let mut taken = Audience::begin(&mut newer, "t", "w");
    assert_eq!(taken.present.len(), 2);
    watcher.next_info("subscription_replaced");
    newer.subscribe("t", "marker");
    seconds.await_only(&mut second, "t", &["marker", "w", "w2"]);
    taken.await_only(&mut newer, "t", &["marker", "w", "w2"]);
    assert_eq!(seconds.notices, notices + 1);
    assert!(watcher.fence().is_empty(), "it still watches");
}

#[test]
fn the_subscribers_of_a_dead_node_leave() {
    let cluster = Cluster::with_topic(3, "t");
    let mut watcher = cluster[0].ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    let mut others = [cluster[1].ws(), cluster[2].ws()];
    others[0].subscribe("t", "dies");
    others[1].subscribe("t", "lives");
    audience.await_only(&mut watcher, "t", &["dies", "lives", "w"]);
    cluster[1].kill();
    await_within(
        DEAD_NODE_LIMIT + SLACK,
        &mut audience,
        &mut watcher,
        &["lives", "w"],
    );
}

#[test]
fn a_topic_that_is_created_again_has_a_list_of_its_own() {
    let cluster = Cluster::with_topic(2, "t");
    let mut watcher = cluster[0].ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    let mut other = cluster[1].ws();
    other.subscribe("t", "s");
    audience.await_only(&mut watcher, "t", &["s", "w"]);
    let epoch = cluster[0].epoch("t");
    cluster[1].delete_topic("t");
    cluster[1].create_topic("t");
    watcher.next_info("topic_deleted");
    let mut again = cluster[0].ws();
    let ack = again.subscribe_with("t", "w", &json!({"presence": true}));
    assert_ne!(epoch_of(&ack), epoch);
    let mut alone = Audience::default();
    alone.apply(&again.next_info("presence"), "t");
    assert_eq!(alone.present.len(), 1);
    other.next_info("topic_deleted");
    other.subscribe("t", "s2");
    alone.await_only(&mut again, "t", &["s2", "w"]);
}

#[test]
fn a_pattern_hears_of_each_topic_also_of_one_that_appears() {
    let cluster = Cluster::with_topic(2, "t");
    let mut watcher = cluster[0].ws();
    watcher.subscribe_with("t*", "w", &json!({"presence": true}));
    watcher.next_info("subscribed");
    let mut audience = Audience::default();
    audience.apply(&watcher.next_info("presence"), "t");
    cluster[1].create_topic("t2");
    assert_eq!(watcher.next_info("subscribed")["topic"], "t2");
    let list = watcher.next_info("presence");
    assert_eq!(names(&list["subscribers"]), ["w"]);
    let mut other = cluster[1].ws();
    other.subscribe("t2", "s");
    let notice = watcher.next_info("presence");
    assert_eq!(
        (&notice["topic"], &notice["total"]),
        (&json!("t2"), &json!(2))
    );
    other.subscribe("t", "s");
    audience.await_only(&mut watcher, "t", &["s", "w"]);
}

/// Who comes and goes while a node is away from Redis is seen afterwards.
fn expect_right_after(outage: Outage) {
    let cluster = Setup::of(2).over(Redis::durable()).with_proxies().start();
    cluster[0].create_topic("t");
    let mut watchers = [cluster[0].ws(), cluster[1].ws()];
    let mut audiences = [0, 1].map(|n| Audience::begin(&mut watchers[n], "t", &format!("w{n}")));
    let mut other = cluster[1].ws();
    other.subscribe("t", "goes");
    for (audience, watcher) in audiences.iter_mut().zip(&mut watchers) {
        audience.await_only(watcher, "t", &["goes", "w0", "w1"]);
    }
    outage.begin(&cluster);
    other.close();
    cluster[1].await_not_ready();
    outage.end(&cluster);
    cluster.await_ready();
    let mut other = cluster[1].ws();
    other.subscribe("t", "comes");
    for (audience, watcher) in audiences.iter_mut().zip(&mut watchers) {
        await_within(
            COUNT_LIMIT + SLACK,
            audience,
            watcher,
            &["comes", "w0", "w1"],
        );
    }
}

#[test]
fn after_a_cut_the_list_is_right() {
    expect_right_after(Outage::Cut);
}

#[test]
fn after_a_restart_of_redis_the_list_is_right() {
    expect_right_after(Outage::Killed);
}

/// Messages are lost while only the link is away, and so are owners by a failover.
#[test]
fn lost_messages_and_owners_are_noticed() {
    let cluster = Cluster::with_topic(2, "t");
    let mut watcher = cluster[0].ws();
    let mut audience = Audience::begin(&mut watcher, "t", "w");
    for n in 0..8 {
        cluster.await_ready();
        let mut other = cluster[1].ws();
        other.subscribe("t", &format!("s{n}"));
        assert!(cluster.redis().kill_clients("pubsub") >= 1);
        other.close();
    }
    cluster.await_ready();
    let mut other = cluster[1].ws();
    other.subscribe("t", "last");
    await_within(
        COUNT_LIMIT + SLACK,
        &mut audience,
        &mut watcher,
        &["last", "w"],
    );
    let owners = format!("{}:{{t}}:owners", cluster.prefix());
    cluster
        .redis()
        .command(&["HSET", &owners, "ghost", "1 nobody 1 1"]);
    await_within(
        COUNT_LIMIT + SLACK,
        &mut audience,
        &mut watcher,
        &["ghost", "last", "w"],
    );
    cluster.redis().command(&["HDEL", &owners, "ghost"]);
    await_within(
        COUNT_LIMIT + SLACK,
        &mut audience,
        &mut watcher,
        &["last", "w"],
    );
}

/// Clients join, leave and take over on all nodes at random: all watchers come to the same list, and nothing is left behind.
#[test]
fn all_nodes_come_to_the_same_list() {
    let cluster = Cluster::with_topic(3, "t");
    let mut watchers = [cluster[0].ws(), cluster[1].ws(), cluster[2].ws()];
    let mut audiences = [0, 1, 2].map(|n| Audience::begin(&mut watchers[n], "t", &format!("w{n}")));
    std::thread::scope(|scope| {
        for (n, node) in cluster.nodes().iter().enumerate() {
            scope.spawn(move || {
                let mut random = Random::from_seed(n as u64);
                let mut client = node.ws();
                for _ in 0..300 {
                    let client_id = format!("s{}", random.between(0, 9));
                    let what = ["subscribe", "unsubscribe"][random.between(0, 1) as usize];
                    client.ask(json!({"type": what, "topic": "t", "client_id": client_id}));
                }
                client.close();
            });
        }
    });
    for (audience, watcher) in audiences.iter_mut().zip(&mut watchers) {
        await_within(COUNT_LIMIT + SLACK, audience, watcher, &["w0", "w1", "w2"]);
    }
    let channel = format!("{}:{{t}}:presence", cluster.prefix());
    let followers = || match cluster.redis().command(&["PUBSUB", "NUMSUB", &channel]) {
        Answer::List(list) => list[1].number(),
        other => panic!("no list: {other:?}"),
    };
    assert_eq!(followers(), 3);
    watchers.into_iter().for_each(WsClient::close);
    within(COUNT_LIMIT + SLACK, "no node follows it any more", || {
        followers() == 0
    });
    cluster[0].await_subscribers("t", 0);
}
