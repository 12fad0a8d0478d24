//! Subscriptions on a stable connection: their start, deliveries and end.

use std::thread;
use std::time::Duration;

use serde_json::json;
use threadcast::client::{Delivery, EndReason, Error, GapReason, Reconnect, Start};

use super::{builder, client_of, next, next_event};
use crate::harness::{TestServer, in_time};

#[test]
fn subscription_starts_where_requested() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    for number in 1..=5 {
        client.publish("orders", &number).unwrap();
    }
    let mut now = client.subscribe("orders", Start::Now).unwrap();
    let mut last = client.subscribe("orders", Start::Last(2)).unwrap();
    let mut beginning = client
        .subscribe(
            "orders",
            Start::After {
                seq: 0,
                epoch: None,
            },
        )
        .unwrap();
    let epoch = now.position("orders").unwrap().epoch;
    let mut after = client
        .subscribe(
            "orders",
            Start::After {
                seq: 3,
                epoch: Some(epoch),
            },
        )
        .unwrap();
    client.publish("orders", &6).unwrap();
    for (subscription, first) in [
        (&mut now, 6),
        (&mut last, 4),
        (&mut beginning, 1),
        (&mut after, 4),
    ] {
        for seq in first..=6 {
            assert_eq!(next_event(subscription), (seq, seq.to_string()));
        }
        assert!(subscription.try_recv().unwrap().is_none());
        assert_eq!(subscription.position("orders").unwrap().seq, 6);
    }
    assert_eq!(now.position("payments"), None);
}

#[test]
fn position_follows_delivered_events() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    client.publish("orders", &1).unwrap();
    let mut subscription = client.subscribe("orders", Start::Last(1)).unwrap();
    assert_eq!(subscription.position("orders").unwrap().seq, 0);
    next_event(&mut subscription);
    let kept = subscription.position("orders").unwrap();
    drop(subscription);
    client.publish("orders", &2).unwrap();
    let mut again = client.subscribe("orders", kept).unwrap();
    assert_eq!(next_event(&mut again).0, 2);
}

#[test]
fn position_of_another_epoch_gives_an_unknown_gap_then_the_history() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    client.publish("orders", &1).unwrap();
    let start = Start::After {
        seq: 70,
        epoch: Some("another".into()),
    };
    let mut subscription = client.subscribe("orders", start).unwrap();
    let Delivery::Gap(gap) = next(&mut subscription) else {
        panic!("must be a gap")
    };
    assert_eq!(
        (gap.range(), gap.count(), gap.reason()),
        (None, None, GapReason::EpochChanged)
    );
    assert_eq!(next_event(&mut subscription).0, 1);
    let error = client
        .subscribe(
            "orders",
            Start::After {
                seq: 70,
                epoch: None,
            },
        )
        .unwrap_err();
    assert_eq!(error.code(), Some("BAD_REQUEST"));
}

#[test]
fn slow_reader_gets_a_gap_and_delays_nobody() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 16 << 10);
    server.create_topic_with("ticks", &json!({"max_queue_size": 4, "history_size": 0}));
    let client = client_of(&server);
    let narrow = builder(server.addr())
        .receive_buffer_bytes(8 << 10)
        .connect()
        .unwrap();
    let mut subscription = narrow.subscribe("ticks", Start::Now).unwrap();
    let pad = "x".repeat(8 << 10);
    in_time("publishing past a subscriber that does not read", || {
        for _ in 0..200 {
            client.publish("ticks", &pad).unwrap();
        }
    });
    let (mut received, mut missed, mut last) = (0, 0, 0);
    while last < 200 {
        match next(&mut subscription) {
            Delivery::Event(event) => {
                assert_eq!(event.seq(), last + 1);
                (received, last) = (received + 1, event.seq());
            }
            Delivery::Gap(gap) => {
                let (from, to) = gap.range().unwrap();
                assert_eq!((from, gap.reason()), (last + 1, GapReason::SlowConsumer));
                (missed, last) = (missed + gap.count().unwrap(), to);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0, "the socket buffers held everything");
    assert_eq!(received + missed, 200);
}

#[test]
fn one_thread_can_read_and_publish_in_turn_without_deadlock() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 16 << 10);
    server.create_topic_with("echo", &json!({"max_queue_size": 1000}));
    let client = builder(server.addr())
        .receive_buffer_bytes(8 << 10)
        .connect()
        .unwrap();
    let mut subscription = client.subscribe("echo", Start::Now).unwrap();
    let pad = "x".repeat(4 << 10);
    in_time("reading and publishing on one thread", || {
        for round in 0..20 {
            for _ in 0..20 {
                client.publish("echo", &pad).unwrap();
            }
            for seq in round * 20 + 1..=round * 20 + 20 {
                assert_eq!(next_event(&mut subscription).0, seq);
            }
        }
    });
}

#[test]
fn recv_timeout_returns_after_its_timeout() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    assert!(subscription.try_recv().unwrap().is_none());
    let wait = Duration::from_millis(20);
    let before = std::time::Instant::now();
    assert!(subscription.recv_timeout(wait).unwrap().is_none());
    assert!(before.elapsed() >= wait);
    client.publish("orders", &1).unwrap();
    assert!(subscription.recv_timeout(Duration::MAX).unwrap().is_some());
}

#[test]
fn deleting_a_topic_ends_its_subscription_after_the_published_events() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    client.delete_topic("orders").unwrap();
    let items: Vec<_> = subscription.iter().collect();
    assert!(matches!(&items[0], Ok(Delivery::Event(event)) if event.seq() == 1));
    assert!(matches!(
        &items[1],
        Err(Error::Ended { topic, reason: EndReason::TopicDeleted }) if topic == "orders"
    ));
    assert_eq!(items.len(), 2);
    assert!(subscription.is_over());
    assert!(matches!(subscription.recv(), Err(Error::Closed)));
}

#[test]
fn later_subscriber_with_the_same_client_id_takes_over() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let named = || {
        let subscriber = client.subscriber().client_id("worker");
        subscriber.topic("orders", Start::Now).open().unwrap()
    };
    let (mut old, mut new) = (named(), named());
    let error = old.recv().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Ended {
                reason: EndReason::Superseded,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("same client_id"), "{error}");
    assert!(old.is_over());
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut new).0, 1);
    assert_eq!(new.client_id(), "worker");
}

#[test]
fn closer_wakes_a_waiting_reader_and_unsubscribes() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    let closer = subscription.closer();
    thread::scope(|scope| {
        let reader = scope.spawn(move || in_time("a closed wait", || subscription.recv()));
        server.await_subscribers("orders", 1);
        closer.close();
        assert!(matches!(reader.join().unwrap(), Err(Error::Closed)));
    });
    server.await_subscribers("orders", 0);
}

#[test]
fn caller_that_does_not_read_is_disconnected_and_resumes_without_loss() {
    let server = TestServer::with(|config| config.heartbeat = Duration::from_millis(100));
    server.create_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    // Without a reader, pings are not answered until the server closes the connection.
    server.await_subscribers("orders", 0);
    for number in 1..=5 {
        client.publish("orders", &number).unwrap();
    }
    for seq in 1..=5 {
        assert_eq!(next_event(&mut subscription).0, seq);
    }
}

#[test]
fn pings_are_answered_by_waiting_subscriptions_and_idle_publishers() {
    let server = TestServer::with(|config| config.heartbeat = Duration::from_millis(500));
    server.create_topic("orders");
    let client = builder(server.addr())
        .reconnect(Reconnect::Never)
        .connect()
        .unwrap();
    client.publish("orders", &1).unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    // Silence for twice as long as the server waits for a pong.
    let silence = Duration::from_millis(2200);
    assert!(subscription.recv_timeout(silence).unwrap().is_none());
    // One for publishing, one for the subscription, one for this request.
    assert_eq!(client.health().unwrap().connections, 3);
}
