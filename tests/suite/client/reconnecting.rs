//! Lost connections: the caller sees nothing, an exact gap, or one error.

use std::time::{Duration, Instant};

use serde_json::json;
use threadcast::client::{Delivery, Error, GapReason, Reconnect, Start};

use super::proxy::Proxy;
use super::{builder, client_of, next, next_event};
use crate::harness::{TestServer, eventually};

/// A new server on the same port, without topics.
pub(super) fn restarted(port: u16) -> TestServer {
    let mut server = None;
    eventually("the port is free again", || {
        let config = threadcast::Config {
            port,
            ..threadcast::Config::default()
        };
        if threadcast::Server::bind(config).is_ok() {
            server = Some(TestServer::with(|config| config.port = port));
        }
        server.is_some()
    });
    server.unwrap()
}

#[test]
fn disconnect_is_invisible_to_the_caller() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let (client, direct) = (builder(proxy.addr()).connect().unwrap(), client_of(&server));
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    for round in 0..5 {
        direct.publish("orders", &1).unwrap();
        proxy.cut_all();
        direct.publish("orders", &2).unwrap();
        assert_eq!(
            next_event(&mut subscription),
            (round * 2 + 1, "1".to_owned())
        );
        assert_eq!(
            next_event(&mut subscription),
            (round * 2 + 2, "2".to_owned())
        );
    }
    assert_eq!(server.topic("orders")["subscribers"], 1);
}

#[test]
fn events_evicted_while_disconnected_are_an_exact_gap() {
    let server = TestServer::start();
    server.create_topic_with("orders", &json!({"history_size": 3, "max_queue_size": 3}));
    let proxy = Proxy::to(server.addr());
    let (client, direct) = (builder(proxy.addr()).connect().unwrap(), client_of(&server));
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    direct.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
    proxy.cut_all();
    server.await_subscribers("orders", 0);
    for number in 2..=10 {
        direct.publish("orders", &number).unwrap();
    }
    let Delivery::Gap(gap) = next(&mut subscription) else {
        panic!("must be a gap")
    };
    assert_eq!(
        (gap.range(), gap.reason()),
        (Some((2, 7)), GapReason::HistoryEvicted)
    );
    assert_eq!(next_event(&mut subscription).0, 8);
}

#[test]
fn disconnect_before_the_first_replayed_event_loses_nothing() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let (client, direct) = (builder(proxy.addr()).connect().unwrap(), client_of(&server));
    direct.publish("orders", &1).unwrap();
    // An empty replay: the subscription requested newest events, and receives the first one live.
    let mut subscription = client.subscribe("orders", Start::Last(1)).unwrap();
    proxy.cut_all();
    server.await_subscribers("orders", 0);
    for number in 2..=5 {
        direct.publish("orders", &number).unwrap();
    }
    for seq in 1..=5 {
        assert_eq!(next_event(&mut subscription).0, seq);
    }
}

#[test]
fn server_restart_is_reported_as_an_epoch_change() {
    let server = TestServer::with_topic("orders");
    let port = server.addr().port();
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    for number in 1..=7 {
        client.publish("orders", &number).unwrap();
    }
    for seq in 1..=7 {
        assert_eq!(next_event(&mut subscription).0, seq);
    }
    let old = subscription.position("orders").unwrap();
    server.shutdown();
    let server = restarted(port);
    // Reconnected, but the topic does not exist yet.
    assert!(
        subscription
            .recv_timeout(Duration::from_millis(100))
            .unwrap()
            .is_none()
    );
    assert_eq!(subscription.position("orders").unwrap(), old);
    server.create_topic("orders");
    client.publish("orders", &"new").unwrap();
    let Delivery::Gap(gap) = next(&mut subscription) else {
        panic!("must be a gap")
    };
    assert_eq!((gap.range(), gap.reason()), (None, GapReason::EpochChanged));
    assert_eq!(next_event(&mut subscription), (1, "\"new\"".to_owned()));
    let new = subscription.position("orders").unwrap();
    assert!(new.seq == 1 && new.epoch != old.epoch);
}

#[test]
fn client_reconnects_after_a_graceful_shutdown() {
    let server = TestServer::with_topic("orders");
    let port = server.addr().port();
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    let report = server.shutdown();
    assert_eq!(report.events_undelivered, 0);
    assert_eq!(
        next_event(&mut subscription).0,
        1,
        "what was queued is not lost"
    );
    let server = restarted(port);
    server.create_topic("orders");
    assert!(matches!(next(&mut subscription), Delivery::Gap(_)));
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription).0, 1);
}

#[test]
fn topic_that_stays_missing_ends_with_the_policy() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr())
        .reconnect(Reconnect::For(Duration::from_millis(200)))
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    proxy.cut_all();
    server.await_subscribers("orders", 0);
    server.delete_topic("orders");
    let before = Instant::now();
    let error = subscription.recv().unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    assert!(before.elapsed() >= Duration::from_millis(200));
    assert!(subscription.is_over());
}

#[test]
fn exhausted_policy_fails_with_the_reason() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    for (policy, at_least) in [
        (Reconnect::Never, Duration::ZERO),
        (
            Reconnect::For(Duration::from_millis(200)),
            Duration::from_millis(200),
        ),
    ] {
        proxy.set_down(false);
        let client = builder(proxy.addr()).reconnect(policy).connect().unwrap();
        let mut subscription = client.subscribe("orders", Start::Now).unwrap();
        proxy.set_down(true);
        proxy.cut_all();
        let before = Instant::now();
        let error = subscription.recv().unwrap_err();
        assert!(
            matches!(error, Error::Lost { .. } | Error::Connect { .. }),
            "{error:?}"
        );
        assert!(before.elapsed() >= at_least);
        assert!(subscription.is_over());
        assert!(matches!(subscription.recv(), Err(Error::Closed)));
    }
}

#[test]
fn repeated_try_recv_reconnects() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let (client, direct) = (builder(proxy.addr()).connect().unwrap(), client_of(&server));
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    proxy.cut_all();
    direct.publish("orders", &1).unwrap();
    eventually("an event by polling alone", || {
        subscription.try_recv().unwrap().is_some()
    });
}

#[test]
fn disconnected_slow_consumer_resumes() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 16 << 10);
    server.create_topic_with(
        "jobs",
        &json!({"overflow": "disconnect", "max_queue_size": 4, "history_size": 1000}),
    );
    let narrow = builder(server.addr())
        .receive_buffer_bytes(8 << 10)
        .connect()
        .unwrap();
    let mut subscription = narrow.subscribe("jobs", Start::Now).unwrap();
    let pad = "x".repeat(8 << 10);
    for _ in 0..100 {
        narrow.publish("jobs", &pad).unwrap();
    }
    server.await_subscribers("jobs", 0);
    for seq in 1..=100 {
        assert_eq!(next_event(&mut subscription).0, seq);
    }
}

#[test]
fn publishing_continues_over_a_new_connection() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr()).connect().unwrap();
    for number in 1..=10_u64 {
        let receipt = client.publish("orders", &number).unwrap();
        assert_eq!(receipt.seq, number);
        proxy.cut_all();
    }
}
