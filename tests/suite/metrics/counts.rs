//! Counters of messages, compared with what the clients received.

use std::thread;

use serde_json::json;

use super::{PAD_BYTES, tight_server, total};
use crate::harness::{OverflowPolicy, SequenceChecker, TestServer, epoch_of, eventually};

const PUBLISHED: u64 = 300;
const DELIVERED: &str = "pubsub_messages_delivered_total";

#[test]
fn messages_bytes_and_deliveries_are_counted_once() {
    let server = TestServer::with(|config| config.max_queue_size = 1000);
    server.create_topic("orders");
    let mut clients: Vec<_> = (0..4).map(|_| server.ws()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    let mut publishers = [server.ws(), server.ws()];
    thread::scope(|scope| {
        for publisher in &mut publishers {
            scope.spawn(|| publisher.publish_padded("orders", 1, PUBLISHED / 2, 100));
        }
    });
    for client in &mut clients {
        SequenceChecker::starting_after("orders", 0).read_until(client, PUBLISHED);
    }
    server.await_metric(DELIVERED, PUBLISHED * 4);
    server.await_metric("pubsub_messages_published_total", PUBLISHED);
    let all = || clients.iter().chain(&publishers);
    let (sent, received) = ("pubsub_sent_bytes_total", "pubsub_received_bytes_total");
    let to_clients: usize = all().map(|client| client.bytes_received).sum();
    server.await_metric(
        &format!("{sent}{{protocol=\"websocket\"}}"),
        to_clients as u64,
    );
    let of_clients: usize = all().map(|client| client.bytes_sent).sum();
    let received = format!("{received}{{protocol=\"websocket\"}}");
    server.await_metric(&received, of_clients as u64);
    let page = server.metrics();
    assert_eq!(total(&page, "pubsub_messages_dropped_total"), 0);
    assert_eq!(total(&page, "pubsub_gaps_total"), 0);
    assert!(page.count("pubsub_sends_total{path=\"fast\"}") > 0);
}

#[test]
fn http_bytes_are_counted_in_both_directions() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    let counted = |direction: &str| {
        let series = format!("pubsub_{direction}_bytes_total{{protocol=\"http\"}}");
        server.metrics().count(&series)
    };
    let before = (counted("received"), counted("sent"));
    let body = json!({"payload": "x".repeat(500_000)});
    http.post("/topics/orders/messages", &body).expect(201);
    http.get("/topics/orders/messages").expect(200);
    // A response is counted before the next request is read.
    http.get("/livez").expect(200);
    for (direction, before) in [("received", before.0), ("sent", before.1)] {
        let grown = counted(direction) - before;
        // The scrapes themselves take some KiB.
        assert!((500_000..560_000).contains(&grown), "{direction}: {grown}");
    }
}

#[test]
fn dropped_events_equal_those_reported_as_gaps() {
    let server = tight_server(OverflowPolicy::DropOldest);
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    server
        .ws()
        .publish_padded("orders", 1, PUBLISHED, PAD_BYTES);
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut gaps = 0;
    while checker.last() < PUBLISHED {
        let message = slow.next_json();
        gaps += u64::from(message.get("gap").is_some());
        checker.take(&message);
    }
    assert!(checker.skipped > 0, "{checker:?}");
    server.await_metric(DELIVERED, checker.received);
    let page = server.metrics();
    let dropped = page.count("pubsub_messages_dropped_total{policy=\"drop_oldest\"}");
    assert_eq!(dropped, checker.skipped);
    assert_eq!(
        page.count("pubsub_gaps_total{reason=\"slow_consumer\"}"),
        gaps
    );
    assert_eq!(checker.received + checker.skipped, PUBLISHED);
    assert!(page.count("pubsub_sends_total{path=\"slow\"}") > 0);
}

/// Received and dropped events of a disconnected subscriber add up to the events until its end.
fn assert_balance_of_disconnected(policy: OverflowPolicy, label: &str) {
    let server = tight_server(policy);
    let slow = server.small_buffer_subscriber("orders", "slow");
    let mut publisher = server.ws();
    let mut published = 0;
    eventually("the subscriber is disconnected", || {
        published += 1;
        publisher.publish_padded("orders", published, published, PAD_BYTES);
        server.topic("orders")["subscribers"] == 0
    });
    drop(slow);
    server.await_metric("pubsub_disconnects_total{reason=\"slow_consumer\"}", 1);
    let page = server.metrics();
    let dropped = page.count(&format!(
        "pubsub_messages_dropped_total{{policy=\"{label}\"}}"
    ));
    let delivered = page.count(DELIVERED);
    assert!(dropped > 0 && delivered > 0, "{dropped} and {delivered}");
    let got = delivered + dropped;
    // Under `block` the last event was published after the subscriber was closed.
    let at_its_end = [published - 1, published];
    assert!(
        at_its_end.contains(&got),
        "{delivered} + {dropped} of {published}"
    );
    assert_eq!(total(&page, "pubsub_messages_undelivered_total"), 0);
}

#[test]
fn events_missed_by_a_disconnected_subscriber_count_as_dropped() {
    assert_balance_of_disconnected(OverflowPolicy::Disconnect, "disconnect");
}

#[test]
fn events_missed_by_a_blocking_subscriber_count_as_dropped() {
    assert_balance_of_disconnected(OverflowPolicy::Block, "block");
}

#[test]
fn events_queued_at_a_disconnect_count_as_undelivered_not_dropped() {
    let server = tight_server(OverflowPolicy::DropOldest);
    let slow = server.small_buffer_subscriber("orders", "slow");
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, PUBLISHED, PAD_BYTES);
    slow.reset();
    server.await_metric("pubsub_disconnects_total{reason=\"peer_gone\"}", 1);
    let page = server.metrics();
    let lost = page.count("pubsub_messages_undelivered_total");
    let dropped = total(&page, "pubsub_messages_dropped_total");
    assert!(lost > 0);
    assert_eq!(page.count(DELIVERED) + dropped + lost, PUBLISHED);
}

#[test]
fn resumes_are_counted_by_result() {
    let server = TestServer::with(|config| {
        config.history_size = 5;
        config.max_queue_size = 5;
    });
    server.create_topic("orders");
    let mut client = server.ws();
    let epoch = epoch_of(&client.subscribe("orders", "first")).to_owned();
    client.publish_many("orders", 1, 20);
    for (after_seq, times) in [(18, 3), (2, 2)] {
        for n in 0..times {
            let fields = json!({"after_seq": after_seq, "epoch": epoch});
            client.subscribe_with("orders", &format!("{after_seq}-{n}"), &fields);
        }
    }
    let foreign = json!({"after_seq": 3, "epoch": "foreign"});
    client.subscribe_with("orders", "foreign", &foreign);
    client.subscribe_refused("orders", &json!({"after_seq": 99}), "BAD_REQUEST");
    client.subscribe_with("orders", "no resume", &json!({"last_n": 3}));
    let page = server.metrics();
    for (result, count) in [
        ("recovered", 3),
        ("history_evicted", 2),
        ("epoch_changed", 1),
        ("refused", 1),
    ] {
        let series = format!("pubsub_resumes_total{{result=\"{result}\"}}");
        assert_eq!(page.count(&series), count, "{result}");
    }
    for (reason, count) in [("history_evicted", 2), ("epoch_changed", 1)] {
        let series = format!("pubsub_gaps_total{{reason=\"{reason}\"}}");
        assert_eq!(page.count(&series), count, "{reason}");
    }
}

#[test]
fn rest_publishes_are_counted() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    let mut http = server.http();
    for n in 0..10 {
        let body = json!({"payload": n});
        http.post("/topics/orders/messages", &body).expect(201);
    }
    client.next_events(10);
    server.await_metric("pubsub_messages_published_total", 10);
    server.await_metric(DELIVERED, 10);
    server.await_metric("pubsub_publish_latency_seconds_count", 10);
}
