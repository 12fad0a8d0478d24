//! Connections break at any byte while topics come and go: each topic is accounted for exactly.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use threadcast::client::{
    Client, Delivery, GapReason, Position, Positions, Subscription, TopicChange,
};

use super::newest;
use crate::client::proxy::Proxy;
use crate::client::random::Random;
use crate::client::{builder, client_of};
use crate::harness::{DEADLINE, TestServer};

const ROUNDS: u64 = 200;

#[test]
fn every_event_of_every_topic_is_delivered_or_in_a_gap() {
    for seed in 1..=4 {
        trial(seed, 10_000);
    }
}

#[test]
fn every_missed_event_is_in_a_gap_with_a_short_history() {
    for seed in 11..=14 {
        trial(seed, 3);
    }
}

fn trial(seed: u64, history_size: usize) {
    let server = TestServer::with(|config| {
        (config.history_size, config.max_queue_size) = (history_size, history_size);
    });
    server.create_topic("t.stays");
    let mut random = Random::new(seed + 1000);
    let proxy = Proxy::cutting(server.addr(), move || {
        i64::try_from(400 + random.below(8_000)).unwrap()
    });
    let is_done = AtomicBool::new(false);
    let checker = thread::scope(|scope| {
        let subscriber = scope.spawn(|| {
            let mut subscription = retrying_subscription(&proxy);
            listen(&mut subscription, &server, &is_done)
        });
        server.await_subscribers("t.stays", 1);
        publish_and_delete(&client_of(&server), seed);
        is_done.store(true, Ordering::SeqCst);
        subscriber.join().unwrap()
    });
    assert!(proxy.cuts() > 3, "too few cuts");
    let stays = &checker.counts["t.stays"];
    let published = server.topic("t.stays")["seq"].as_u64().unwrap();
    assert_eq!(
        (stays.events + stays.missed, stays.lives),
        (published, 1),
        "seed {seed}: {stays:?}"
    );
    if history_size as u64 > ROUNDS {
        assert_eq!(stays.missed, 0, "seed {seed}");
    }
}

/// A subscription from the beginning of each topic. The first attempts may be cut as well.
fn retrying_subscription(proxy: &Proxy) -> Subscription {
    let open = |_| {
        let client = builder(proxy.addr()).connect().ok()?;
        client.subscribe_pattern("t.*", Positions::new()).ok()
    };
    (0..100).find_map(open).expect("a connection that holds")
}

/// Publishes to a topic that stays and to some that are deleted and created again.
fn publish_and_delete(client: &Client, seed: u64) {
    let mut random = Random::new(seed);
    for round in 0..ROUNDS {
        client.publish("t.stays", &round).unwrap();
        let name = format!("t.{}", random.below(4));
        let _exists = client.create_topic(&name);
        client.publish(&name, &round).unwrap();
        if random.below(8) == 0 {
            client.delete_topic(&name).unwrap();
        }
    }
}

fn listen(subscription: &mut Subscription, server: &TestServer, is_done: &AtomicBool) -> Checker {
    let mut checker = Checker::default();
    let began = Instant::now();
    loop {
        let pause = std::time::Duration::from_millis(20);
        match subscription.recv_timeout(pause).expect("it continues") {
            Some(delivery) => checker.take(subscription, &delivery),
            None if is_done.load(Ordering::SeqCst)
                && subscription.positions() == newest(server) =>
            {
                return checker;
            }
            None => assert!(
                began.elapsed() < 3 * DEADLINE,
                "{:?} instead of {:?}",
                subscription.positions(),
                newest(server)
            ),
        }
    }
}

/// What was delivered of each topic.
#[derive(Default)]
struct Checker {
    counts: BTreeMap<String, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    lives: u64,
    events: u64,
    missed: u64,
    /// `None` while it does not exist.
    last: Option<Position>,
    /// Whether the first event of an epoch may be any.
    is_open: bool,
}

impl Checker {
    fn take(&mut self, subscription: &Subscription, delivery: &Delivery) {
        let topic = delivery.topic().expect("no limit is reached");
        let counts = self.counts.entry(topic.to_owned()).or_default();
        counts.take(delivery);
        let position = subscription.position(topic);
        if counts.is_open {
            counts.last.clone_from(&position);
        }
        assert_eq!(position, counts.last, "{delivery:?}");
    }
}

impl Counts {
    fn take(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Topic(TopicChange::Joined { position, .. }) => {
                assert!(self.last.is_none() && position.seq == 0, "{delivery:?}");
                self.last = Some(position.clone());
                self.lives += 1;
            }
            Delivery::Topic(TopicChange::Deleted { .. }) => {
                self.last.take().expect("it has joined");
                self.is_open = false;
            }
            Delivery::Gap(gap) if gap.reason() == GapReason::EpochChanged => {
                assert!(self.last.is_some(), "{gap}");
                self.lives += 1;
                self.is_open = true;
            }
            Delivery::Gap(gap) => {
                let (from, to) = gap.range().expect("its range is known");
                self.advance(from, to);
                self.missed += gap.count().expect("its count is known");
            }
            Delivery::Event(event) => {
                self.advance(event.seq(), event.seq());
                self.events += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    fn advance(&mut self, from: u64, to: u64) {
        let last = self.last.as_mut().expect("it has joined");
        assert!(
            from == last.seq + 1 || self.is_open,
            "{from} after {last:?}"
        );
        (last.seq, self.is_open) = (to, false);
    }
}
