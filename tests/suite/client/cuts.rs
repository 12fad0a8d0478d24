//! Connections break repeatedly, at any byte: every lost event is reported as a gap, none is duplicated, the order holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use threadcast::client::{Client, Delivery, Start, Subscription};

use super::builder;
use super::proxy::Proxy;
use super::random::Random;
use crate::harness::{DEADLINE, TestServer};

const PUBLISHERS: u64 = 3;
const MESSAGES: u64 = 150;

/// The receipts of the publishers: the payload of each `seq`, and how many were those of a first attempt.
#[derive(Default)]
struct Publishes {
    confirmed: BTreeMap<u64, String>,
    duplicates: usize,
}

/// The deliveries of a subscriber.
#[derive(Default)]
struct Delivered {
    events: BTreeMap<u64, String>,
    missed: u64,
    last: u64,
}

#[test]
fn nothing_is_missed_while_the_history_holds_everything() {
    for seed in 1..=4 {
        let delivered = trial(seed, 10_000);
        assert_eq!(delivered.missed, 0, "seed {seed}");
    }
}

#[test]
fn every_missed_event_is_reported_with_a_short_history() {
    for seed in 11..=14 {
        trial(seed, 5);
    }
}

fn budgets(seed: u64) -> impl FnMut() -> i64 + Send + 'static {
    let mut random = Random::new(seed);
    move || i64::try_from(150 + random.below(8_000)).expect("a small number")
}

fn trial(seed: u64, history_size: usize) -> Delivered {
    let server = TestServer::with(|config| {
        (config.history_size, config.max_queue_size) = (history_size, history_size);
    });
    server.create_topic("orders");
    let publishing = Proxy::cutting(server.addr(), budgets(seed));
    let reading = Proxy::cutting(server.addr(), budgets(seed + 1000));
    let is_done = AtomicBool::new(false);
    let (publishes, delivered) = thread::scope(|scope| {
        let subscriber = scope.spawn(|| {
            let client = retrying_client(&reading);
            let mut subscription = retrying_subscription(&client);
            listen(&mut subscription, &server, &is_done)
        });
        server.await_subscribers("orders", 1);
        let client = retrying_client(&publishing);
        let publish = |publisher| {
            let client = client.clone();
            move || publish_all(&client, publisher)
        };
        let publishers: Vec<_> = (0..PUBLISHERS).map(|p| scope.spawn(publish(p))).collect();
        let mut publishes = Publishes::default();
        for publisher in publishers {
            let its = publisher.join().unwrap();
            publishes.confirmed.extend(its.confirmed);
            publishes.duplicates += its.duplicates;
        }
        is_done.store(true, Ordering::SeqCst);
        (publishes, subscriber.join().unwrap())
    });
    assert!(publishing.cuts() > 3 && reading.cuts() > 3, "too few cuts");
    check(seed, &server, &publishes, &delivered);
    delivered
}

/// A client whose first requests may be cut as well.
fn retrying_client(proxy: &Proxy) -> Client {
    (0..100)
        .find_map(|_| builder(proxy.addr()).connect().ok())
        .expect("a connection that holds")
}

fn retrying_subscription(client: &Client) -> Subscription {
    (0..100)
        .find_map(|_| {
            client
                .subscribe(
                    "orders",
                    Start::After {
                        seq: 0,
                        epoch: None,
                    },
                )
                .ok()
        })
        .expect("a connection that holds")
}

fn publish_all(client: &Client, publisher: u64) -> Publishes {
    let mut publishes = Publishes::default();
    for number in 0..MESSAGES {
        let payload = format!("{publisher}-{number}");
        let receipt = client.publish("orders", &payload).unwrap();
        publishes.duplicates += usize::from(receipt.duplicate);
        let before = publishes.confirmed.insert(receipt.seq, payload);
        assert_eq!(before, None, "a repeated seq");
    }
    publishes
}

fn listen(subscription: &mut Subscription, server: &TestServer, is_done: &AtomicBool) -> Delivered {
    let mut delivered = Delivered::default();
    let is_all = |last| {
        is_done.load(Ordering::SeqCst) && server.topic("orders")["seq"].as_u64() == Some(last)
    };
    while !is_all(delivered.last) {
        let wait = DEADLINE / 100;
        match subscription.recv_timeout(wait).unwrap() {
            None => {}
            Some(Delivery::Event(event)) => {
                assert_eq!(event.seq(), delivered.last + 1);
                delivered.last = event.seq();
                delivered
                    .events
                    .insert(event.seq(), event.payload().unwrap());
            }
            Some(Delivery::Gap(gap)) => {
                let (from, to) = gap.range().unwrap();
                assert_eq!(from, delivered.last + 1);
                delivered.last = to;
                delivered.missed += gap.count().unwrap();
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    delivered
}

fn check(seed: u64, server: &TestServer, publishes: &Publishes, delivered: &Delivered) {
    let published = server.topic("orders")["seq"].as_u64().unwrap();
    let events = u64::try_from(delivered.events.len()).unwrap();
    assert_eq!(events + delivered.missed, published, "seed {seed}");
    assert_eq!(published, PUBLISHERS * MESSAGES, "seed {seed}");
    println!("seed {seed}: {} duplicates", publishes.duplicates);
    let mut last = HashMap::new();
    for (seq, payload) in &delivered.events {
        assert_eq!(publishes.confirmed.get(seq), Some(payload), "seed {seed}");
        let (publisher, number) = payload.split_once('-').unwrap();
        let number: u64 = number.parse().unwrap();
        let before = last.insert(publisher.to_owned(), number);
        assert!(
            before < Some(number),
            "seed {seed}: out of order: {payload}"
        );
    }
}

#[test]
fn pipeline_publishes_everything_once_and_in_order() {
    for seed in 21..=23 {
        let server = TestServer::with(|config| config.history_size = 10_000);
        server.create_topic("orders");
        let proxy = Proxy::cutting(server.addr(), budgets(seed));
        let client = (0..100)
            .find_map(|_| builder(proxy.addr()).connect().ok())
            .expect("a connection that holds");
        let mut pipeline = client.pipeline("orders", 16);
        for number in 0..400_u64 {
            pipeline.send(&number).unwrap();
        }
        assert_eq!(pipeline.finish().unwrap().published, 400, "seed {seed}");
        assert!(proxy.cuts() > 3, "too few cuts");
        let direct = builder(server.addr()).connect().unwrap();
        let history = direct.history("orders", &Start::Last(10_000)).unwrap();
        let events = history.events.iter();
        let numbers: Vec<_> = events
            .map(|event| event.payload::<u64>().unwrap())
            .collect();
        assert_eq!(numbers, (0..400).collect::<Vec<_>>(), "seed {seed}");
    }
}
