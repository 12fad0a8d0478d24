//! A connection breaks, and its client knows other servers: it goes on there, and stays.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use threadcast::client::{Client, Delivery, Error, GapReason, Reconnect, Start, Subscription};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::addresses::builder_of;
use super::hostile::FakeServer;
use super::proxy::Proxy;
use super::random::Random;
use super::reconnecting::restarted;
use super::responder::{Responder, UNAVAILABLE};
use super::{builder, client_of, next, next_event};
use crate::harness::{DEADLINE, TestServer, TextFile, await_stable, entry, eventually};

/// A pause that no test waits for.
const HOUR: Duration = Duration::from_secs(3600);

/// Waits for the gap of another epoch, which a server of another cluster reports.
fn expect_epoch_change(subscription: &mut Subscription) {
    let Delivery::Gap(gap) = next(subscription) else {
        panic!("must be a gap")
    };
    assert_eq!((gap.range(), gap.reason()), (None, GapReason::EpochChanged));
}

#[test]
fn failover_is_immediate_and_without_a_hole_or_a_double() {
    let server = TestServer::with_topic("orders");
    let proxies = [Proxy::to(server.addr()), Proxy::to(server.addr())];
    let client = builder_of(&proxies.each_ref().map(Proxy::addr))
        .reconnect_pauses(HOUR, HOUR)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
    proxies[0].set_down(true);
    proxies[0].cut_all();
    let direct = client_of(&server);
    direct.publish("orders", &2).unwrap();
    let receipt = client.publish("orders", &3).unwrap();
    assert_eq!(receipt.seq, 3);
    for seq in 2..=3 {
        assert_eq!(next_event(&mut subscription), (seq, seq.to_string()));
    }
    assert_eq!(subscription.server(), proxies[1].addr().to_string());
    assert_eq!(client.server(), proxies[1].addr().to_string());
}

#[test]
fn nothing_is_missed_while_both_ways_break_repeatedly() {
    const MESSAGES: u64 = 300;
    for seed in 1..=3 {
        let server = TestServer::with(|config| config.history_size = 1000);
        server.create_topic("orders");
        let cutting = |seed| {
            let mut random = Random::new(seed);
            Proxy::cutting(server.addr(), move || {
                i64::try_from(500 + random.below(8_000)).expect("a small number")
            })
        };
        let (first, second) = (cutting(seed), cutting(seed + 100));
        let addresses = [first.addr(), second.addr()];
        let client = (0..100)
            .find_map(|_| builder_of(&addresses).connect().ok())
            .expect("a connection that holds");
        let start = Start::After {
            seq: 0,
            epoch: None,
        };
        let mut subscription = (0..100)
            .find_map(|_| client.subscribe("orders", start.clone()).ok())
            .expect("a connection that holds");
        thread::scope(|scope| {
            scope.spawn(|| {
                let direct = client_of(&server);
                for number in 1..=MESSAGES {
                    direct.publish("orders", &number).unwrap();
                }
            });
            for seq in 1..=MESSAGES {
                let expected = (seq, seq.to_string());
                assert_eq!(next_event(&mut subscription), expected, "seed {seed}");
            }
        });
        let cuts = (first.cuts(), second.cuts());
        assert!(cuts.0 > 1 && cuts.1 > 1, "too few cuts: {cuts:?}");
    }
}

#[test]
fn client_goes_on_with_the_second_server_and_stays_there() {
    let (first, second) = (
        TestServer::with_topic("orders"),
        TestServer::with_topic("orders"),
    );
    let address = first.addr();
    let client = builder_of(&[address, second.addr()]).connect().unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
    first.shutdown();
    client.publish("orders", &"second").unwrap();
    expect_epoch_change(&mut subscription);
    assert_eq!(next_event(&mut subscription), (1, "\"second\"".to_owned()));

    let first = restarted(address.port());
    first.create_topic("orders");
    client.publish("orders", &"still").unwrap();
    assert_eq!(next_event(&mut subscription), (2, "\"still\"".to_owned()));
    client.create_topic("later").unwrap();
    let another = client.subscribe("later", Start::Now).unwrap();
    let second_address = second.addr().to_string();
    assert_eq!(subscription.server(), second_address);
    assert_eq!(
        (another.server(), client.server()),
        (second_address.clone(), second_address)
    );
    assert_eq!(first.health()["topics"], 1);
    assert_eq!(first.topic("orders")["seq"], 0);
    assert_eq!(second.topic("orders")["seq"], 2);
}

#[test]
fn all_servers_are_down_and_one_comes_back() {
    let servers = [
        TestServer::with_topic("orders"),
        TestServer::with_topic("orders"),
    ];
    let addresses = servers.each_ref().map(TestServer::addr);
    let client = builder_of(&addresses).connect().unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    drop(servers);
    eventually("the loss is noticed", || {
        assert!(subscription.try_recv().unwrap().is_none());
        !subscription.is_connected()
    });
    client.create_topic("other").unwrap_err();

    let second = restarted(addresses[1].port());
    second.create_topic("orders");
    expect_epoch_change(&mut subscription);
    assert_eq!(subscription.server(), addresses[1].to_string());
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
}

#[test]
fn pause_comes_when_each_server_has_failed() {
    let server = TestServer::with_topic("orders");
    let (proxy, full) = (Proxy::to(server.addr()), Responder::always(UNAVAILABLE));
    let client = builder_of(&[proxy.addr(), full.addr()])
        .reconnect_pauses(HOUR, HOUR)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    proxy.set_down(true);
    proxy.cut_all();
    eventually("the other one is tried", || {
        assert!(subscription.try_recv().unwrap().is_none());
        full.requests() > 0
    });
    proxy.set_down(false);
    let attempts = await_stable(Duration::from_millis(200), || {
        assert!(subscription.try_recv().unwrap().is_none());
        full.requests()
    });
    assert_eq!(attempts, 1);
    assert!(!subscription.is_connected());
}

#[test]
fn loss_without_a_policy_is_an_error_also_with_several_servers() {
    let server = TestServer::with_topic("orders");
    let (proxy, other) = (Proxy::to(server.addr()), Responder::always(UNAVAILABLE));
    let client = builder_of(&[proxy.addr(), other.addr()])
        .reconnect(Reconnect::Never)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    proxy.cut_all();
    subscription.recv_timeout(DEADLINE).unwrap_err();
    assert!(subscription.is_over());
    assert_eq!(other.requests(), 0);
}

#[test]
fn withdrawn_key_is_no_reason_to_go_to_another_server() {
    let rights = "publish = [\"*\"]\nsubscribe = [\"*\"]\nadmin = true";
    let file = TextFile::new(&entry("both", "s3cret", rights));
    let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
    let other = Responder::always(UNAVAILABLE);
    let client = builder_of(&[server.addr(), other.addr()]);
    let client = client.key("s3cret").connect().unwrap();
    client.create_topic("orders").unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
    file.write(&entry("another", "another", "admin = true"));
    server.reload_keys().unwrap();
    let error = subscription.recv_timeout(DEADLINE).unwrap_err();
    assert_eq!(error.code(), Some("UNAUTHORIZED"), "{error:?}");
    let error = client.publish("orders", &1).unwrap_err();
    assert_eq!(error.code(), Some("UNAUTHORIZED"), "{error:?}");
    assert_eq!(other.requests(), 0);
}

#[test]
fn too_large_message_does_not_move_the_publisher() {
    let small = TestServer::with(|config| config.max_message_bytes = 4 << 10);
    small.create_topic("orders");
    let other = Responder::always(UNAVAILABLE);
    let client = builder_of(&[small.addr(), other.addr()]).connect().unwrap();
    let error = client.publish("orders", &"x".repeat(8 << 10)).unwrap_err();
    assert_eq!(error.code(), Some("PAYLOAD_TOO_LARGE"), "{error:?}");
    client.publish("orders", &1).unwrap();
    assert_eq!(other.requests(), 0);
}

/// A server that refuses whatever it is sent over a WebSocket, and the count of its connections.
fn refusing(code: &'static str) -> (FakeServer, Arc<AtomicUsize>) {
    let connections = Arc::<AtomicUsize>::default();
    let its = Arc::clone(&connections);
    let server = FakeServer::new(move |stream: TcpStream| {
        its.fetch_add(1, Ordering::SeqCst);
        let mut ws = WebSocket::from_raw_socket(stream, Role::Server, None);
        while let Ok(Message::Text(request)) = ws.read() {
            let request: Value = serde_json::from_str(&request).unwrap();
            let error = json!({
                "type": "error", "request_id": request["request_id"],
                "error": {"code": code, "message": "m"}, "ts": "z",
            });
            let _gone = ws.send(Message::text(error.to_string()));
        }
        // Answers a close frame.
        let _gone = ws.flush();
    });
    (server, connections)
}

#[test]
fn message_that_a_draining_server_refuses_is_published_by_the_next() {
    let (draining, _) = refusing("SHUTTING_DOWN");
    let second = TestServer::with_topic("orders");
    let client = builder_of(&[draining.addr(), second.addr()])
        .connect()
        .unwrap();
    assert_eq!(client.publish("orders", &1).unwrap().seq, 1);
    let mut pipeline = client.pipeline("orders", 8);
    for number in 2..=20 {
        pipeline.send(&number).unwrap();
    }
    assert_eq!(pipeline.finish().unwrap().published, 19);
    assert_eq!(second.topic("orders")["seq"], 20);
}

#[test]
fn pipeline_keeps_its_order_when_a_draining_server_refuses_it() {
    let (draining, _) = refusing("SHUTTING_DOWN");
    let second = TestServer::with_topic("orders");
    let client = builder_of(&[draining.addr(), second.addr()])
        .connect()
        .unwrap();
    let mut pipeline = client.pipeline("orders", 4);
    for number in 1..=20 {
        pipeline.send(&number).unwrap();
    }
    assert_eq!(pipeline.finish().unwrap().published, 20);
    let history = client.history("orders", &Start::Last(100)).unwrap();
    let payloads: Vec<u64> = history
        .events
        .iter()
        .map(|event| event.payload().unwrap())
        .collect();
    assert_eq!(payloads, (1..=20).collect::<Vec<_>>());
}

/// A client that leaves an unavailable server at once.
fn impatient(addresses: &[SocketAddr]) -> Client {
    let builder = builder_of(addresses);
    let builder = builder.reconnect_pauses(Duration::from_millis(1), Duration::ZERO);
    builder.connect().unwrap()
}

#[test]
fn publisher_leaves_an_unavailable_server_and_reports_the_message() {
    let (unavailable, connections) = refusing("UNAVAILABLE");
    let second = TestServer::with_topic("orders");
    let client = impatient(&[unavailable.addr(), second.addr()]);
    let error = client.publish("orders", &1).unwrap_err();
    assert_eq!(error.code(), Some("UNAVAILABLE"));
    assert_eq!(client.publish("orders", &2).unwrap().seq, 1);
    assert_eq!(connections.load(Ordering::SeqCst), 1);

    // Without another server it stays, and so it does soon after it came.
    for client in [
        impatient(&[unavailable.addr()]),
        builder_of(&[unavailable.addr(), second.addr()])
            .reconnect_pauses(HOUR, HOUR)
            .connect()
            .unwrap(),
    ] {
        let before = connections.load(Ordering::SeqCst);
        for _ in 0..3 {
            let error = client.publish("orders", &1).unwrap_err();
            assert_eq!(error.code(), Some("UNAVAILABLE"));
        }
        assert_eq!(connections.load(Ordering::SeqCst), before + 1);
    }
}

/// How many messages a pipeline reports as refused; there must be no other failure.
fn refused_by(result: Result<(), Error>) -> u64 {
    let Err(Error::Pipeline { failed }) = result else {
        return result.map_or_else(|error| panic!("{error:?}"), |()| 0);
    };
    for one in &failed {
        assert_eq!(one.error.code(), Some("UNAVAILABLE"), "{failed:?}");
        assert!(matches!(one.error, Error::Refused { .. }), "{failed:?}");
    }
    failed.len() as u64
}

#[test]
fn messages_in_flight_get_their_answers_when_the_publisher_leaves() {
    let (unavailable, connections) = refusing("UNAVAILABLE");
    let second = TestServer::with_topic("orders");
    let client = impatient(&[unavailable.addr(), second.addr()]);
    let mut pipeline = client.pipeline("orders", 8);
    let mut refused = 0;
    for number in 1..=40 {
        // A failed call reports earlier messages, and has not sent this one.
        while let Err(earlier) = pipeline.send(&number) {
            refused += refused_by(Err(earlier));
        }
    }
    refused += refused_by(pipeline.flush());
    let published = second.topic("orders")["seq"].as_u64().unwrap();
    assert!(refused > 0 && published > 0);
    assert_eq!(refused + published, 40);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let history = client.history("orders", &Start::Last(100)).unwrap();
    let payloads = history
        .events
        .iter()
        .map(|event| event.payload::<u64>().unwrap());
    assert!(payloads.is_sorted());
}

#[test]
fn subscription_leaves_a_server_that_cannot_serve_it() {
    let server = TestServer::with_topic("orders");
    for code in ["UNAVAILABLE", "SHUTTING_DOWN"] {
        let (opening, _) = refusing(code);
        let client = builder_of(&[opening.addr(), server.addr()])
            .connect()
            .unwrap();
        let subscription = client.subscribe("orders", Start::Now).unwrap();
        assert_eq!(subscription.server(), server.addr().to_string());

        let (first, (second, _), third) = (
            Proxy::to(server.addr()),
            refusing(code),
            Proxy::to(server.addr()),
        );
        let addresses = [first.addr(), second.addr(), third.addr()];
        let client = builder_of(&addresses).reconnect_pauses(HOUR, HOUR);
        let client = client.connect().unwrap();
        let mut subscription = client.subscribe("orders", Start::Now).unwrap();
        first.set_down(true);
        first.cut_all();
        let receipt = builder(server.addr())
            .connect()
            .unwrap()
            .publish("orders", &1);
        assert_eq!(next_event(&mut subscription).0, receipt.unwrap().seq);
        assert_eq!(subscription.server(), third.addr().to_string());
    }
}
