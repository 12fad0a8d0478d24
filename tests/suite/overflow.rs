//! Slow consumers under each overflow policy: every event is received or reported as a gap, and nobody else is delayed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    OverflowPolicy, SequenceChecker, TestServer, WsClient, await_stable, code_of, seq_of,
};

const QUEUE: usize = 10;
const PUBLISHED: u64 = 300;
const PAD_BYTES: usize = 4 << 10;
/// A block timeout that no wait reaches.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(8);

fn small_queue_server(overflow: OverflowPolicy, block_timeout: Duration) -> TestServer {
    TestServer::with_small_queue(QUEUE, overflow, block_timeout, |_| {})
}

fn publish_all(server: &TestServer) {
    server
        .ws()
        .publish_padded("orders", 1, PUBLISHED, PAD_BYTES);
}

#[test]
fn drop_oldest_reports_exactly_what_a_stalled_subscriber_missed() {
    let server = small_queue_server(OverflowPolicy::DropOldest, BLOCK_TIMEOUT);
    let mut client = server.small_buffer_subscriber("orders", "slow");
    publish_all(&server);
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut client, PUBLISHED);
    assert!(checker.skipped > 0 && checker.received > 0, "{checker:?}");
    assert_eq!(server.topic("orders")["dropped"], checker.skipped);
    assert_eq!(
        server.topic("orders")["subscribers"],
        1,
        "the subscriber stays connected"
    );
}

#[test]
fn drop_oldest_reports_every_gap_to_a_subscriber_that_reads_in_bursts() {
    let server = small_queue_server(OverflowPolicy::DropOldest, BLOCK_TIMEOUT);
    let (mut publisher, mut client) = (
        server.ws(),
        server.small_buffer_subscriber("orders", "slow"),
    );
    let mut checker = SequenceChecker::starting_after("orders", 0);
    for burst in 0..5 {
        let first = burst * 60 + 1;
        publisher.publish_padded("orders", first, first + 59, PAD_BYTES);
        checker.read_until(&mut client, first + 59);
    }
    assert!(checker.skipped > 0, "{checker:?}");
}

#[test]
fn drop_oldest_reports_every_gap_to_a_subscriber_that_reads_slowly() {
    let server = small_queue_server(OverflowPolicy::DropOldest, BLOCK_TIMEOUT);
    let (mut publisher, mut client) = (
        server.ws(),
        server.small_buffer_subscriber("orders", "slow"),
    );
    let mut checker = SequenceChecker::starting_after("orders", 0);
    for n in 1..=PUBLISHED {
        publisher.publish_padded("orders", n, n, PAD_BYTES);
        if n % 4 == 0 && checker.last() < n {
            checker.take(&client.next_json());
        }
    }
    checker.read_until(&mut client, PUBLISHED);
    assert!(checker.skipped > 0, "{checker:?}");
}

#[test]
fn stalled_subscriber_does_not_delay_others() {
    let server = small_queue_server(OverflowPolicy::DropOldest, BLOCK_TIMEOUT);
    let _stalled: Vec<_> = (0..3)
        .map(|n| {
            let mut client = server.small_buffer_ws();
            client.subscribe("orders", &format!("stalled-{n}"));
            client
        })
        .collect();
    let (mut publisher, mut client) = (server.ws(), server.ws());
    client.subscribe("orders", "quick");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    for n in 1..=PUBLISHED {
        publisher.publish_padded("orders", n, n, PAD_BYTES);
        checker.read_until(&mut client, n);
    }
    assert_eq!(checker.skipped, 0);
}

#[test]
fn disconnect_ends_a_stalled_subscriber_with_an_error_and_4100() {
    let server = small_queue_server(OverflowPolicy::Disconnect, BLOCK_TIMEOUT);
    let mut client = server.small_buffer_subscriber("orders", "slow");
    publish_all(&server);
    expect_slow_consumer_end(&mut client);
    server.await_subscribers("orders", 0);
}

/// Reads consecutive events, then the error, then close 4100; returns the number of events.
fn expect_slow_consumer_end(client: &mut WsClient) -> u64 {
    let mut checker = SequenceChecker::starting_after("orders", 0);
    loop {
        let message = client.next_json();
        if message["type"] == "error" && message.get("gap").is_none() {
            assert_eq!(code_of(&message), "SLOW_CONSUMER", "{message}");
            break;
        }
        checker.take(&message);
    }
    assert_eq!(client.close_code(), Some(4100));
    checker.received
}

#[test]
fn disconnect_ends_a_subscriber_that_reads_nothing() {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::Disconnect;
        config.max_queue_size = QUEUE;
        config.send_buffer_bytes = 4 << 10;
        config.write_timeout = Duration::from_millis(200);
    });
    server.create_topic("orders");
    let mut client = server.small_buffer_subscriber("orders", "slow");
    let mut quick = server.ws();
    publish_all(&server);
    server.await_subscribers("orders", 0);
    client.expect_end();
    quick.subscribe("orders", "quick");
    quick.publish("orders", &json!(1));
    quick.next_event();
}

#[test]
fn block_makes_publishers_wait_and_drops_nothing() {
    let server = small_queue_server(OverflowPolicy::Block, BLOCK_TIMEOUT);
    let mut client = server.small_buffer_subscriber("orders", "slow");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    thread::scope(|scope| {
        scope.spawn(|| publish_all(&server));
        let waiting_at = await_stable(Duration::from_millis(200), || {
            seq_of(&server.topic("orders"))
        });
        assert!(waiting_at < PUBLISHED, "the publisher waits");
        checker.read_until(&mut client, PUBLISHED);
    });
    assert_eq!(checker.skipped, 0);
    assert_eq!(server.topic("orders")["dropped"], 0);
}

#[test]
fn block_waits_for_a_subscriber_that_reads_in_bursts() {
    let server = small_queue_server(OverflowPolicy::Block, BLOCK_TIMEOUT);
    let mut client = server.small_buffer_subscriber("orders", "slow");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    thread::scope(|scope| {
        scope.spawn(|| publish_all(&server));
        for burst in 1..=3 {
            await_stable(Duration::from_millis(100), || {
                seq_of(&server.topic("orders"))
            });
            checker.read_until(&mut client, burst * PUBLISHED / 3);
        }
    });
    assert_eq!(checker.skipped, 0);
}

#[test]
fn block_ends_a_stalled_subscriber_after_block_timeout() {
    let server = small_queue_server(OverflowPolicy::Block, Duration::from_secs(1));
    let (mut stalled, mut client) = (
        server.small_buffer_subscriber("orders", "slow"),
        server.ws(),
    );
    client.subscribe("orders", "quick");
    thread::scope(|scope| {
        scope.spawn(|| publish_all(&server));
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(&mut client, PUBLISHED);
        assert_eq!(
            checker.skipped, 0,
            "block drops nothing for other subscribers"
        );
    });
    server.await_subscribers("orders", 1);
    assert!(expect_slow_consumer_end(&mut stalled) < PUBLISHED);
}

#[test]
fn block_makes_rest_publishers_wait_too() {
    let server = small_queue_server(OverflowPolicy::Block, BLOCK_TIMEOUT);
    let mut client = server.small_buffer_subscriber("orders", "slow");
    let body = json!({"payload": "x".repeat(PAD_BYTES)});
    let published = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut http = server.http();
            for _ in 0..100 {
                http.post("/topics/orders/messages", &body).expect(201);
                published.fetch_add(1, Ordering::SeqCst);
            }
        });
        let waiting_at = await_stable(Duration::from_millis(200), || {
            published.load(Ordering::SeqCst)
        });
        assert!(waiting_at < 100, "the publisher waits");
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(&mut client, 100);
        assert_eq!(checker.skipped, 0);
    });
}

#[test]
fn topic_may_have_its_own_policy_and_queue_size() {
    let server = small_queue_server(OverflowPolicy::DropOldest, BLOCK_TIMEOUT);
    server.create_topic_with(
        "own",
        &json!({"overflow": "disconnect", "max_queue_size": 3}),
    );
    let mut client = server.small_buffer_ws();
    client.subscribe("own", "slow");
    server.ws().publish_padded("own", 1, PUBLISHED, PAD_BYTES);
    assert_eq!(client.close_code(), Some(4100));
    server.await_subscribers("own", 0);
}

#[test]
fn client_that_reads_no_replies_stalls_only_itself() {
    let server = small_queue_server(OverflowPolicy::DropOldest, BLOCK_TIMEOUT);
    let (mut silent, mut other) = (server.small_buffer_ws(), server.ws());
    let ping = json!({"type": "ping", "request_id": "y".repeat(128)});
    for _ in 0..600 {
        silent.send(&ping);
    }
    other.subscribe("orders", "quick");
    for n in 1..=20 {
        other.publish("orders", &json!(n));
        other.next_event();
    }
    for _ in 0..600 {
        assert_eq!(silent.next_json()["type"], "pong", "no reply is dropped");
    }
}

#[test]
fn burst_too_large_for_one_send_reaches_every_subscriber_without_further_publishes() {
    let server = TestServer::with_topic("orders");
    let mut subscribers: Vec<_> = (0..20)
        .map(|n| {
            let mut client = server.ws();
            client.subscribe("orders", &format!("c{n}"));
            client
        })
        .collect();
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, 6, 40 << 10);
    for client in &mut subscribers {
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(client, 6);
        assert_eq!(checker.skipped, 0, "{checker:?}");
    }
}
