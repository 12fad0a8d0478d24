//! Nodes, publishers and subscribers under faults at random, with an exact account for every subscriber.
//!
//! `CLUSTER_SOAK_SECS` says how long (20 by default), `CLUSTER_SOAK_SEED` which faults: a run prints its seed.
//! `CLUSTER_SOAK_PACE_MS` is the pause of a publisher between eight messages (20 by default).
//!
//!     CLUSTER_SOAK_SECS=600 CLUSTER_SOAK_PACE_MS=2 tests/cluster/run soak --nocapture

mod faults;

use std::env;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::cluster::{
    Account, Cluster, DEAD_NODE_LIMIT, DELIVERY_LIMIT, Follower, Homes, Node, Publisher, Random,
    Redis, SLACK, Setup, audit, let_pass, within,
};
use crate::harness::{epoch_of, seq_of};
use faults::Fault;

const NODES: usize = 3;
const TOPICS: [&str; 3] = ["orders", "returns", "stock"];
const FOLLOWERS: usize = 4;
const PUBLISHERS: usize = 2;
const PACE_MS: u64 = 20;
/// After which everything must work again.
const HEAL_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn faults_at_random_lose_and_double_nothing() {
    let mut soak = Soak::start();
    while soak.goes_on() {
        let faults = soak.choose(&Fault::HARMLESS);
        soak.suffer(&faults);
    }
    soak.finish(0);
}

#[test]
fn faults_and_losses_at_random_are_accounted_for_exactly() {
    let mut soak = Soak::start();
    let mut losses = 0;
    while soak.goes_on() {
        let faults = soak.choose(&Fault::HARMLESS);
        soak.suffer(&faults);
        soak.lose_everything();
        losses += 1;
    }
    soak.finish(losses);
}

struct Soak {
    // Dropped in this order: clients end before their nodes.
    publishers: Vec<Vec<Publisher>>,
    followers: Vec<Vec<Follower>>,
    homes: Homes,
    cluster: Cluster,
    random: Random,
    start: Instant,
    end: Instant,
}

impl Soak {
    fn start() -> Soak {
        let seed = number_in("CLUSTER_SOAK_SEED").unwrap_or_else(time_as_seed);
        let seconds = number_in("CLUSTER_SOAK_SECS").unwrap_or(20);
        println!("CLUSTER_SOAK_SECS={seconds} CLUSTER_SOAK_SEED={seed}");
        let cluster = Setup::of(NODES)
            .over(Redis::durable())
            .with_proxies()
            .set("PUBSUB_HISTORY_SIZE", "100000")
            .set("PUBSUB_HISTORY_BYTES", "256MiB")
            .set("PUBSUB_MAX_QUEUE_SIZE", "10000")
            .start();
        let homes = Homes::of(cluster.nodes().iter().map(Node::addr));
        for topic in TOPICS {
            cluster[0].create_topic(topic);
        }
        Soak {
            followers: TOPICS.map(|topic| follow(&homes, topic)).into(),
            publishers: TOPICS.map(|topic| publish(&homes, topic)).into(),
            homes,
            cluster,
            random: Random::from_seed(seed),
            start: Instant::now(),
            end: Instant::now() + Duration::from_secs(seconds),
        }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    /// One fault or two.
    fn choose(&mut self, from: &[Fault]) -> Vec<Fault> {
        let count = 1 + self.random.below(2);
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let fault = from[self.random.below(from.len())];
            if !chosen.contains(&fault) {
                chosen.push(fault);
            }
        }
        chosen
    }

    /// Has these faults at the same time for a while, and waits until everything works again.
    fn suffer(&mut self, faults: &[Fault]) {
        let node = self.random.below(NODES);
        let millis = self.random.between(50, 5_000);
        let after = self.start.elapsed();
        println!("{after:?}: {faults:?} of node {node} for {millis} ms");
        for fault in faults {
            fault.begin(&mut self.cluster, node, &mut self.random);
        }
        let_pass(Duration::from_millis(millis));
        for fault in faults {
            fault.end(&mut self.cluster, node, &self.homes);
        }
        self.await_all_well();
    }

    /// Waits until all nodes are ready, all publishers get acks, and all subscribers are connected.
    fn await_all_well(&self) {
        let start = Instant::now();
        let left = || HEAL_LIMIT.saturating_sub(start.elapsed());
        for node in self.cluster.nodes() {
            within(left(), "all nodes are ready", || node.is_ready());
        }
        for publisher in self.publishers.iter().flatten() {
            publisher.await_acked_within(left(), 1);
        }
        for follower in self.followers.iter().flatten() {
            let what = format!("{} is connected", follower.client_id);
            within(left(), &what, || {
                follower.position();
                follower.is_connected()
            });
        }
    }

    /// Empties Redis; every topic has subscribers on living nodes.
    fn lose_everything(&mut self) {
        let old = TOPICS.map(|topic| epoch_of(&self.shown(topic)).to_owned());
        println!("{:?}: everything is lost", self.start.elapsed());
        match self.random.below(2) {
            0 => self.cluster.redis().restart_empty(),
            _ => {
                self.cluster.redis().command(&["FLUSHALL"]);
            }
        }
        for (followers, old) in self.followers.iter().zip(old) {
            for follower in followers {
                follower.await_epoch_other_than(&old);
            }
        }
        self.await_all_well();
    }

    /// A node that was ready a moment ago may find that it has to connect once more.
    fn shown(&self, topic: &str) -> Value {
        let path = format!("/topics/{topic}");
        let mut shown = None;
        within(HEAL_LIMIT, "the node shows the topic", || {
            let reply = self.cluster[0].get(&path);
            shown = (reply.status == 200).then(|| reply.json());
            shown.is_some()
        });
        shown.expect("it was just there")
    }

    /// Ends the publishers; every subscriber must have everything, each event as it was acked.
    fn finish(mut self, losses: u64) {
        let mut deliveries = 0;
        let mut publishers = std::mem::take(&mut self.publishers).into_iter();
        for (topic, followers) in TOPICS.iter().zip(&self.followers) {
            let stopped = publishers.next().into_iter().flatten();
            let published: Vec<_> = stopped.map(Publisher::stop).collect();
            let shown = self.shown(topic);
            let (epoch, head) = (epoch_of(&shown), seq_of(&shown));
            for follower in followers {
                expect_complete(follower, epoch, head, losses);
                deliveries += follower.look(|account| account.events.len());
            }
            audit(&published, followers);
            for node in self.cluster.nodes() {
                node.await_subscribers_within(DEAD_NODE_LIMIT, topic, FOLLOWERS as u64);
            }
        }
        for node in self.cluster.nodes() {
            within(DEAD_NODE_LIMIT, "no other nodes", || {
                node.nodes().len() == NODES
            });
        }
        println!("{deliveries} deliveries, {losses} losses");
    }
}

#[track_caller]
fn expect_complete(follower: &Follower, epoch: &str, head: u64, losses: u64) {
    let what = format!("everything up to {head} of {epoch}");
    follower.await_account(DELIVERY_LIMIT + SLACK, &what, |account| {
        account.check_complete(epoch, head).is_ok()
    });
    let changes = follower.look(|account: &Account| account.epoch_changes);
    assert_eq!(
        changes,
        losses,
        "{}: {}",
        follower.client_id,
        follower.look(Account::summary)
    );
}

fn follow(homes: &Homes, topic: &str) -> Vec<Follower> {
    (0..FOLLOWERS)
        .map(|n| Follower::roaming(homes, n, topic, &format!("{topic}-{n}")))
        .collect()
}

fn publish(homes: &Homes, topic: &str) -> Vec<Publisher> {
    let pace = number_in("CLUSTER_SOAK_PACE_MS").unwrap_or(PACE_MS);
    (0..PUBLISHERS)
        .map(|n| Publisher::roaming(homes, n, topic, Duration::from_millis(pace)))
        .collect()
}

fn number_in(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn time_as_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("a time after 1970").as_micros() as u64
}
