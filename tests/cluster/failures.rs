//! What happens when a part of the cluster fails: nothing is lost silently, nothing comes twice, and clients hear as little as possible.

mod apart;
mod away;
mod clean_up;
mod failover;
mod links;
mod lost;
mod nodes;
mod refusals;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{
    Account, BOTH, Cluster, Follower, Node, Published, Publisher, Redis, SLACK, Setup,
    UNAVAILABLE_LIMIT, Way, audit,
};
use crate::harness::{Reply, WsClient, code_of, uuid_of};

/// Between two windows of a publisher: some thousand messages in ten seconds.
const PACE: Duration = Duration::from_millis(10);

/// A way in which all nodes lose Redis and get it back with everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Links are cut, new ones are refused.
    Cut,
    /// Links stay open, and nothing comes through.
    Silent,
    /// Redis gets everything, and its answers do not come through.
    OneWay,
    /// Redis is stopped; it does what it was asked when it goes on.
    Paused,
    /// Redis is killed, and started again with its file.
    Killed,
}

impl Outage {
    pub(crate) fn begin(self, cluster: &Cluster) {
        let proxies = cluster.proxies().iter();
        match self {
            Outage::Cut => proxies.for_each(|proxy| proxy.cut()),
            Outage::Silent => proxies.for_each(|proxy| proxy.hold(&BOTH)),
            Outage::OneWay => proxies.for_each(|proxy| proxy.hold(&[Way::FromRedis])),
            Outage::Paused => cluster.redis().pause(),
            Outage::Killed => cluster.redis().kill(),
        }
    }

    pub(crate) fn end(self, cluster: &Cluster) {
        match self {
            Outage::Paused => cluster.redis().proceed(),
            Outage::Killed => cluster.redis().restart(),
            _ => cluster.proxies().iter().for_each(|proxy| proxy.heal()),
        }
    }
}

/// Nodes with a proxy each over a Redis that keeps everything, and one topic with a long history.
fn durable_cluster(nodes: usize) -> Cluster {
    let cluster = Setup::of(nodes)
        .over(Redis::durable())
        .with_proxies()
        .set("PUBSUB_HISTORY_SIZE", "100000")
        .start();
    cluster[0].create_topic("orders");
    cluster
}

/// Ends the publishers, waits until every follower has all that is in the topic, and compares.
#[track_caller]
fn expect_all_whole(node: &Node, publishers: Vec<Publisher>, followers: &[Follower]) {
    expect_all_whole_after(Vec::new(), node, publishers, followers);
}

/// Like [`expect_all_whole`], with what was published before.
#[track_caller]
fn expect_all_whole_after(
    mut published: Vec<Published>,
    node: &Node,
    publishers: Vec<Publisher>,
    followers: &[Follower],
) {
    published.extend(publishers.into_iter().map(Publisher::stop));
    let head = node.seq("orders");
    for follower in followers {
        follower.expect_whole(head);
    }
    audit(&published, followers);
}

/// Asserts that a subscriber is connected and was sent nothing but events.
#[track_caller]
fn expect_heard_nothing(follower: &Follower) {
    assert!(follower.is_connected(), "{}", follower.client_id);
    follower.look(|account: &Account| {
        assert_eq!(account.notices, Vec::<Value>::new());
        assert_eq!(account.gaps, Vec::<Value>::new());
        assert_eq!(account.end, None);
    });
}

/// Asserts that a WebSocket request is answered with `UNAVAILABLE` in time.
#[track_caller]
fn expect_unavailable(client: &mut WsClient, request: Value) {
    let start = Instant::now();
    let answer = client.ask(request);
    assert_eq!(code_of(&answer), "UNAVAILABLE", "{answer}");
    expect_quick(start, &answer.to_string());
}

/// Asserts that a request over REST is answered with 503 in time.
#[track_caller]
fn expect_503(request: &str, ask: impl FnOnce() -> Reply) {
    let start = Instant::now();
    let reply = ask();
    reply.expect_problem(503, "UNAVAILABLE");
    let retry_after = reply.header("Retry-After").unwrap_or_default();
    let seconds: Result<u32, _> = retry_after.parse();
    assert!(
        seconds.is_ok_and(|seconds| seconds >= 1),
        "{request}: {reply}"
    );
    expect_quick(start, request);
}

#[track_caller]
fn expect_quick(start: Instant, what: &str) {
    let took = start.elapsed();
    assert!(took < UNAVAILABLE_LIMIT + SLACK, "{took:?}: {what}");
}

fn publish_request(topic: &str) -> Value {
    let message = json!({"id": uuid_of(1), "payload": 1});
    json!({"type": "publish", "topic": topic, "message": message})
}

fn subscribe_request(topic: &str, client_id: &str) -> Value {
    json!({"type": "subscribe", "topic": topic, "client_id": client_id})
}
