//! Gauges and latencies, and scrapes under load.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{PAD_BYTES, tight_server};
use crate::harness::{OverflowPolicy, Page, SequenceChecker, TestServer, eventually};

#[test]
fn lag_of_a_stalled_subscriber_is_shown_until_it_reads() {
    let server = tight_server(OverflowPolicy::DropOldest);
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    let mut quick = server.ws();
    quick.subscribe("orders", "quick");
    server.await_metric("pubsub_subscriber_lag_max", 0);
    server.ws().publish_padded("orders", 1, 200, PAD_BYTES);
    SequenceChecker::starting_after("orders", 0).read_until(&mut quick, 200);
    let page = server.metrics();
    assert!(
        page.count("pubsub_subscriber_lag_max") >= 10,
        "a queue at least"
    );
    assert_eq!(page.count("pubsub_subscriber_lag_gcount"), 2);
    assert_eq!(page.count("pubsub_subscriber_lag_bucket{le=\"0.0\"}"), 1);
    assert_eq!(page.count("pubsub_subscriptions"), 2);
    SequenceChecker::starting_after("orders", 0).read_until(&mut slow, 200);
    server.await_metric("pubsub_subscriber_lag_max", 0);
    server.await_metric("pubsub_subscriber_lag_bucket{le=\"0.0\"}", 2);
    drop((slow, quick));
    server.await_metric("pubsub_subscriber_lag_gcount", 0);
}

#[test]
fn latencies_are_observed_on_every_path() {
    let server = tight_server(OverflowPolicy::DropOldest);
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, 200, PAD_BYTES);
    SequenceChecker::starting_after("orders", 0).read_until(&mut slow, 200);
    let page = server.metrics();
    for series in [
        "pubsub_publish_latency_seconds_count",
        "pubsub_delivery_latency_seconds_count{path=\"fast\"}",
        "pubsub_delivery_latency_seconds_count{path=\"slow\"}",
    ] {
        let count = page.count(series);
        assert!((1..=200).contains(&count), "{series} is {count}");
        let sum = page.value(&series.replace("_count", "_sum"));
        assert!((0.0..60.0 * count as f64).contains(&sum), "{series}: {sum}");
    }
}

#[test]
fn replay_does_not_count_as_late_delivery() {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, 50);
    server.await_metric("pubsub_messages_published_total", 50);
    let mut late = server.ws();
    late.subscribe_with("orders", "late", &json!({"last_n": 50}));
    late.next_events(50);
    let page = server.metrics();
    for path in ["fast", "slow"] {
        let series = format!("pubsub_delivery_latency_seconds_count{{path=\"{path}\"}}");
        assert_eq!(page.count(&series), 0, "{path}");
    }
}

#[test]
fn gauges_go_down_and_counters_do_not() {
    let server = TestServer::start();
    let mut last = server.metrics();
    let check = |last: &mut Page| {
        let page = server.metrics();
        let now = page.growing();
        for (series, before) in last.growing() {
            let value = now
                .get(&series)
                .unwrap_or_else(|| panic!("{series} is missing"));
            assert!(*value >= before, "{series} went from {before} to {value}");
        }
        *last = page;
    };
    for round in 1..=3 {
        for topic in ["a", "b"] {
            server.create_topic(topic);
            let mut clients = [server.ws(), server.ws()];
            for (n, client) in clients.iter_mut().enumerate() {
                client.subscribe(topic, &format!("c{n}"));
            }
            clients[0].publish_padded(topic, 1, 20, 100);
            check(&mut last);
            assert!(last.count("pubsub_history_bytes") > 20 * 100);
        }
        for topic in ["a", "b"] {
            server.delete_topic(topic);
            check(&mut last);
        }
        server.await_metric("pubsub_topics", 0);
        server.await_metric("pubsub_subscriptions", 0);
        server.await_metric("pubsub_history_bytes", 0);
        server.await_metric("pubsub_messages_published_total", round * 40);
        check(&mut last);
    }
}

#[test]
fn scrapes_under_load_cause_no_gaps_and_counters_never_decrease() {
    const EVENTS: u64 = 5_000;
    let server = TestServer::with(|config| config.max_queue_size = 10_000);
    server.create_topic("orders");
    let mut clients: Vec<_> = (0..8).map(|_| server.ws()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    thread::scope(|scope| {
        let publishing = scope.spawn(|| server.ws().publish_many("orders", 1, EVENTS));
        let reading = clients.iter_mut().map(|client| {
            scope.spawn(move || {
                let mut checker = SequenceChecker::starting_after("orders", 0);
                checker.read_until(client, EVENTS);
                checker.skipped
            })
        });
        let reading: Vec<_> = reading.collect();
        let (mut last, mut scrapes) = (server.metrics().growing(), 0);
        while !publishing.is_finished() {
            let now = server.metrics().growing();
            let behind = last.iter().find(|(series, before)| now[*series] < **before);
            assert_eq!(behind, None);
            (last, scrapes) = (now, scrapes + 1);
        }
        assert!(scrapes > 3, "{scrapes} scrapes");
        for reader in reading {
            assert_eq!(reader.join().unwrap(), 0, "no gaps");
        }
    });
    server.await_metric("pubsub_messages_published_total", EVENTS);
    server.await_metric("pubsub_messages_delivered_total", EVENTS * 8);
}

#[test]
fn draining_server_reports_it() {
    let server = TestServer::with(|config| {
        config.drain_timeout = Duration::from_secs(4);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let _stuck = server.small_buffer_subscriber("orders", "slow");
    server.ws().publish_padded("orders", 1, 100, PAD_BYTES);
    let mut open: Vec<_> = (0..4).map(|_| server.http()).collect();
    for http in &mut open {
        http.get("/livez").expect(200);
    }
    let mut draining = || {
        let reply = open
            .pop()
            .expect("the drain is visible at once")
            .get("/metrics");
        Page::parse(std::str::from_utf8(&reply.body).unwrap()).count("pubsub_draining")
    };
    assert_eq!(draining(), 0);
    let addr = server.addr();
    thread::scope(|scope| {
        scope.spawn(|| server.shutdown());
        // The listener closes after the drain has started.
        eventually("the listener is closed", || {
            std::net::TcpStream::connect(addr).is_err()
        });
        assert_eq!(draining(), 1);
    });
}

#[test]
fn process_metrics_are_plausible() {
    let server = TestServer::start();
    let page = server.metrics();
    assert!(page.value("process_cpu_seconds_total") > 0.0);
    assert!(page.count("process_resident_memory_bytes") > 1 << 20);
    let memory = page.count("process_resident_memory_bytes");
    assert!(page.count("process_virtual_memory_bytes") >= memory);
    let (open, max) = (
        page.count("process_open_fds"),
        page.count("process_max_fds"),
    );
    assert!((3..=max).contains(&open), "{open} of {max}");
    assert!(page.count("process_threads") >= 6);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - page.value("process_start_time_seconds");
    assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
}
