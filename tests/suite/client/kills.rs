//! Connections of publishers are killed at random, not their server: every message is in the topic once, and every receipt is right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use threadcast::client::{Client, Delivery, Error, Published, Start};

use super::hostile::FakeServer;
use super::proxy::Proxy;
use super::random::Random;
use super::{builder, url};
use crate::harness::{DEADLINE, TestServer, in_time};

const PUBLISHERS: usize = 8;
const MESSAGES: usize = 300;
const WINDOW: usize = 16;

/// The receipt and the payload of each message.
type Receipts = Vec<(Published, String)>;

#[test]
fn every_message_is_published_once_while_connections_are_killed() {
    let server = TestServer::with(|config| {
        (config.history_size, config.max_queue_size) = (PUBLISHERS * MESSAGES, 100_000);
    });
    server.create_topic("orders");
    let mut random = Random::new(7);
    let budget = move || i64::try_from(2_000 + random.below(20_000)).expect("a small number");
    let proxy = Proxy::cutting(server.addr(), budget);
    let mut subscription = client(&server).subscribe("orders", Start::Now).unwrap();
    let working = AtomicUsize::new(PUBLISHERS);
    let (receipts, kills) = thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (proxy, working) = (&proxy, &working);
                scope.spawn(move || {
                    let _done = Done(working);
                    publish_all(proxy, publisher)
                })
            })
            .collect();
        let killer = scope.spawn(|| kill_connections(&server, &proxy, &working));
        let receipts: Receipts = publishers
            .into_iter()
            .flat_map(|publisher| publisher.join().unwrap())
            .collect();
        (receipts, killer.join().unwrap())
    });
    let duplicates = receipts.iter().filter(|(receipt, _)| receipt.duplicate);
    println!(
        "{} duplicates, {kills} kills, {} cuts",
        duplicates.count(),
        proxy.cuts()
    );
    assert!(kills > 5 && proxy.cuts() > 3, "too few kills");
    let history = client(&server).history("orders", &Start::Last(u64::MAX));
    let kept = history.unwrap().events.into_iter().map(|event| {
        let payload = event.payload::<String>().unwrap();
        (
            event.seq(),
            (event.id().to_owned(), event.ts().to_owned(), payload),
        )
    });
    let kept: BTreeMap<u64, _> = kept.collect();
    assert_eq!(kept.len(), PUBLISHERS * MESSAGES, "each once");
    for (receipt, payload) in receipts {
        let expected = (receipt.id, receipt.ts, payload);
        assert_eq!(kept.get(&receipt.seq), Some(&expected));
    }
    for (seq, (id, ..)) in &kept {
        let Some(Delivery::Event(event)) = subscription.recv_timeout(DEADLINE).unwrap() else {
            panic!("must be event {seq}")
        };
        assert_eq!((event.seq(), event.id()), (*seq, &**id));
    }
    assert_eq!(server.topic("orders")["messages"], PUBLISHERS * MESSAGES);
}

fn client(server: &TestServer) -> Client {
    builder(server.addr()).connect().unwrap()
}

/// Counts a publisher as done, also if it panics.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Publishes over a connection of its own: the one half of the publishers one by one, the other in a pipeline.
fn publish_all(proxy: &Proxy, publisher: usize) -> Receipts {
    let client = (0..100)
        .find_map(|_| builder(proxy.addr()).connect().ok())
        .expect("a connection that holds");
    let payloads = (0..MESSAGES).map(|number| format!("{publisher}-{number}"));
    if publisher.is_multiple_of(2) {
        let publish = |payload: String| (client.publish("orders", &payload).unwrap(), payload);
        return payloads.map(publish).collect();
    }
    let (to, receipts) = std::sync::mpsc::channel();
    let mut pipeline = client
        .pipeline("orders", WINDOW)
        .on_published(move |index, published| to.send((index, published.clone())).unwrap());
    for payload in payloads {
        pipeline.send(&payload).unwrap();
    }
    pipeline.finish().unwrap();
    let receipts = receipts.into_iter();
    let receipts = receipts.map(|(index, receipt)| (receipt, format!("{publisher}-{index}")));
    receipts.collect()
}

/// Kills one connection after the other while publishers work; returns how many. The server ends some, the network the others.
fn kill_connections(server: &TestServer, proxy: &Proxy, working: &AtomicUsize) -> u64 {
    let mut random = Random::new(8);
    let mut http = server.http();
    let mut kills = 0;
    while working.load(Ordering::SeqCst) > 0 {
        let list = http.get("/connections").expect(200);
        let connections = list["connections"].as_array().unwrap();
        let publishing = connections.iter().filter(|connection| {
            let subscriptions = connection["subscriptions"].as_array();
            connection["protocol"] == "websocket" && subscriptions.is_none_or(Vec::is_empty)
        });
        let ids: Vec<_> = publishing.map(|one| one["id"].clone()).collect();
        match random.below(8) {
            0 => proxy.cut_all(),
            at => {
                let Some(id) = ids.get(at as usize - 1) else {
                    continue;
                };
                // It may have ended meanwhile.
                kills += u64::from(http.delete(&format!("/connections/{id}")).status == 200);
            }
        }
        thread::park_timeout(Duration::from_millis(random.below(10)));
    }
    kills
}

#[test]
fn message_is_unconfirmed_when_its_window_has_passed() {
    const SHORT: Duration = Duration::from_millis(300);
    // Reads a message and breaks the connection.
    let fake = FakeServer::new(|mut stream| {
        let _message = std::io::Read::read(&mut stream, &mut [0; 1024]);
    });
    let client = Client::builder(&url(fake.addr()))
        .request_timeout(DEADLINE * 10)
        .reconnect_pauses(Duration::from_millis(1), Duration::from_millis(20))
        .idempotency_window(SHORT)
        .connect()
        .unwrap();
    let is_window = |error: &Error| {
        let Error::Unconfirmed { source, .. } = error else {
            panic!("{error:?}")
        };
        matches!(**source, Error::Timeout { what: "ack", after } if after == SHORT)
    };
    let error = in_time("giving up", || client.publish("t", &1)).unwrap_err();
    assert!(is_window(&error), "{error:?}");
    let mut pipeline = client.pipeline("t", 4);
    pipeline.send(&1).unwrap();
    let Err(Error::Pipeline { failed }) = in_time("giving up", || pipeline.finish()) else {
        panic!("publishing cannot succeed")
    };
    assert!(is_window(&failed[0].error), "{failed:?}");
}

#[test]
fn without_a_window_a_message_is_not_sent_again() {
    let sent = Arc::new(AtomicUsize::new(0));
    let its = Arc::clone(&sent);
    let fake = FakeServer::new(move |mut stream| {
        let _message = std::io::Read::read(&mut stream, &mut [0; 1024]);
        its.fetch_add(1, Ordering::SeqCst);
    });
    let builder = builder(fake.addr()).idempotency_window(Duration::ZERO);
    let client = builder.connect().unwrap();
    let error = client.publish("t", &1).unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }), "{error:?}");
    assert_eq!(sent.load(Ordering::SeqCst), 1);
}

#[test]
fn id_published_again_has_the_receipt_of_the_first() {
    const ID: &str = "550e8400-e29b-41d4-a716-446655440000";
    let server = TestServer::with_topic("orders");
    let publish = |id: &str| client(&server).publish_with_id("orders", id, &1).unwrap();
    let first = publish(ID);
    assert_eq!((first.seq, first.duplicate), (1, false));
    let again = publish(&ID.to_uppercase());
    assert_eq!((again.seq, again.duplicate, again.ts), (1, true, first.ts));
    assert_eq!(server.topic("orders")["messages"], 1);
}
