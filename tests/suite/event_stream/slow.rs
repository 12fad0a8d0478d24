//! Streams that are read slowly or not at all, under each overflow policy.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    OverflowPolicy, SequenceChecker, StreamClient, TestServer, await_stable, code_of, in_time,
};

const QUEUE: usize = 10;
const PUBLISHED: u64 = 300;
const PAD_BYTES: usize = 4 << 10;
const PATH: &str = "/topics/orders/events?client_id=slow";

fn small_queue_server(overflow: OverflowPolicy, block_timeout: Duration) -> TestServer {
    TestServer::with_small_queue(QUEUE, overflow, block_timeout, |config| {
        // Longer than a busy machine takes to publish.
        config.write_timeout = Duration::from_secs(60);
    })
}

fn slow_stream(server: &TestServer) -> StreamClient {
    let mut stream = StreamClient::with_small_buffer(server.addr(), PATH);
    stream.expect("ack");
    stream
}

#[test]
fn drop_oldest_reports_exactly_what_a_stalled_stream_missed() {
    let server = small_queue_server(OverflowPolicy::DropOldest, Duration::from_secs(8));
    for (published, pad_bytes) in [(PUBLISHED, PAD_BYTES), (60, 100_000)] {
        let mut stream = slow_stream(&server);
        let before = server.topic("orders")["seq"].as_u64().unwrap();
        let dropped = server.topic("orders")["dropped"].as_u64().unwrap();
        server
            .ws()
            .publish_padded("orders", 1, published, pad_bytes);
        let mut checker = SequenceChecker::starting_after("orders", before);
        while checker.last() < before + published {
            let event = stream.next();
            checker.take(&event.data);
            let seq = event.id.unwrap().rsplit(':').next().unwrap().parse();
            assert_eq!(seq, Ok(checker.last()), "a resume needs this id");
        }
        checker.assert_complete(before + published);
        assert!(checker.skipped > 0 && checker.received > 0, "{checker:?}");
        assert_eq!(server.topic("orders")["dropped"], dropped + checker.skipped);
    }
}

#[test]
fn a_stalled_stream_delays_neither_websockets_nor_streams() {
    let server = small_queue_server(OverflowPolicy::DropOldest, Duration::from_secs(8));
    let _stalled: Vec<_> = (0..3)
        .map(|n| {
            StreamClient::with_small_buffer(
                server.addr(),
                &format!("/topics/orders/events?client_id={n}"),
            )
        })
        .collect();
    let (mut publisher, mut websocket) = (server.ws(), server.ws());
    websocket.subscribe("orders", "quick");
    let mut stream = server.stream("orders", "");
    stream.expect("ack");
    let mut checkers = [0, 0].map(|start| SequenceChecker::starting_after("orders", start));
    for n in 1..=PUBLISHED {
        publisher.publish_padded("orders", n, n, PAD_BYTES);
        checkers[0].read_until(&mut websocket, n);
        checkers[1].take(&stream.expect("event").data);
    }
    assert_eq!(checkers.map(|checker| checker.skipped), [0, 0]);
}

/// Reads consecutive events, then the failure and the end.
fn expect_slow_consumer_end(mut stream: StreamClient) {
    let mut checker = SequenceChecker::starting_after("orders", 0);
    loop {
        let event = stream.next();
        match event.name.as_str() {
            "event" => checker.take(&event.data),
            _ => {
                assert_eq!((event.name.as_str(), event.id), ("failure", None));
                assert_eq!(code_of(&event.data), "SLOW_CONSUMER");
                break;
            }
        }
    }
    assert!(checker.received > 0);
    stream.expect_end();
}

#[test]
fn disconnect_ends_a_stalled_stream_with_a_failure() {
    let server = small_queue_server(OverflowPolicy::Disconnect, Duration::from_secs(8));
    let stream = slow_stream(&server);
    server
        .ws()
        .publish_padded("orders", 1, PUBLISHED, PAD_BYTES);
    expect_slow_consumer_end(stream);
    server.await_subscribers("orders", 0);
    server.await_metric("pubsub_disconnects_total{reason=\"slow_consumer\"}", 1);
}

#[test]
fn block_lets_publishers_wait_for_a_slow_stream_and_ends_a_stalled_one() {
    let server = small_queue_server(OverflowPolicy::Block, Duration::from_secs(5));
    let mut stream = slow_stream(&server);
    thread::scope(|scope| {
        scope.spawn(|| {
            server
                .ws()
                .publish_padded("orders", 1, PUBLISHED, PAD_BYTES)
        });
        let mut checker = SequenceChecker::starting_after("orders", 0);
        while checker.last() < PUBLISHED {
            checker.take(&stream.expect("event").data);
        }
        assert_eq!(checker.skipped, 0);
    });
    drop(stream);

    let server = small_queue_server(OverflowPolicy::Block, Duration::from_millis(300));
    let stream = slow_stream(&server);
    in_time("publishing", || {
        server.ws().publish_padded("orders", 1, 50, PAD_BYTES)
    });
    server.await_subscribers("orders", 0);
    drop(stream);
}

#[test]
fn a_stream_that_takes_nothing_is_cut_after_the_write_timeout() {
    let server = TestServer::with(|config| {
        config.write_timeout = Duration::from_millis(300);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let stream = slow_stream(&server);
    server.ws().publish_padded("orders", 1, 100, PAD_BYTES);
    server.await_subscribers("orders", 0);
    server.await_metric("pubsub_disconnects_total{reason=\"write_timeout\"}", 1);
    assert!(!stream.ends_orderly(), "a cut is not an end");
}

#[test]
fn heartbeats_do_not_pile_up_behind_what_is_unsent() {
    let server = TestServer::with(|config| {
        config.heartbeat = Duration::from_millis(20);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let _stream = slow_stream(&server);
    // No client could answer so many heartbeats in time.
    let payload = "x".repeat(PAD_BYTES);
    for _ in 0..100 {
        let published = server.embedded().publish("orders", &payload);
        published.expect("the server is there");
    }
    let pending = || {
        let list = server.http().get("/connections").expect(200);
        let lines = list["connections"].as_array().unwrap().iter();
        let stream = lines.filter(|line| line["protocol"] == "sse");
        stream
            .map(|line| line["pending_bytes"].as_u64().unwrap())
            .sum::<u64>()
    };
    // Many heartbeats long.
    let stable = await_stable(Duration::from_millis(500), pending);
    assert!(stable > 0, "{}", json!(stable));
}
