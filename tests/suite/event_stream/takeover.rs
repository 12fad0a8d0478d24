//! One `client_id`, several connections: between streams, and between streams and WebSockets.

use serde_json::json;

use crate::harness::{SequenceChecker, StreamClient, TestServer, seq_of};

fn expect_replaced(mut stream: StreamClient, seq: u64) {
    let notice = stream.expect("info");
    assert_eq!(notice.data["msg"], "subscription_replaced");
    assert_eq!(seq_of(&notice.data), seq);
    assert_eq!(notice.retry, Some(30_000), "it does not come back at once");
    stream.expect_end();
}

#[test]
fn a_newer_stream_ends_the_older_one() {
    let server = TestServer::with_topic("orders");
    let mut older = server.stream("orders", "?client_id=c");
    older.expect("ack");
    server.ws().publish("orders", &json!(1));
    older.expect("event");
    let mut newer = server.stream("orders", "?client_id=c");
    newer.expect("ack");
    expect_replaced(older, 1);
    server.ws().publish("orders", &json!(2));
    assert_eq!(seq_of(&newer.expect("event").data), 2);
    assert_eq!(server.topic("orders")["subscribers"], 1);
    server.await_metric(
        "pubsub_disconnects_total{reason=\"subscription_replaced\"}",
        1,
    );
}

#[test]
fn streams_and_websockets_take_over_from_each_other() {
    let server = TestServer::with_topic("orders");
    let mut websocket = server.ws();
    websocket.subscribe("orders", "c");
    let mut stream = server.stream("orders", "?client_id=c");
    stream.expect("ack");
    let notice = websocket.next_info("subscription_replaced");
    assert_eq!(notice.get("retry"), None);
    server.ws().publish("orders", &json!(1));
    stream.expect("event");
    websocket.subscribe("orders", "c");
    expect_replaced(stream, 1);
    server.ws().publish("orders", &json!(2));
    assert_eq!(seq_of(&websocket.next_event()), 2);
    assert_eq!(server.topic("orders")["subscribers"], 1);
}

#[test]
fn streams_without_a_client_id_do_not_meet() {
    let server = TestServer::with_topic("orders");
    let mut streams: Vec<_> = (0..5).map(|_| server.stream("orders", "")).collect();
    server.await_subscribers("orders", 5);
    for stream in &mut streams {
        stream.expect("ack");
    }
    server.ws().publish("orders", &json!(1));
    for stream in &mut streams {
        stream.expect("event");
    }
}

/// Each event is for exactly one of them: the older reads up to the seq of its notice, the newer continues behind it.
#[test]
fn nothing_is_lost_or_doubled_in_a_takeover_while_others_publish() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 10_000;
        config.history_size = 10_000;
    });
    server.create_topic("orders");
    let mut older = server.stream("orders", "?client_id=c");
    older.expect("ack");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    std::thread::scope(|scope| {
        scope.spawn(|| server.ws().publish_many("orders", 1, 2000));
        for _ in 0..10 {
            checker.take(&older.expect("event").data);
            let mut newer = server.stream("orders", "?client_id=c");
            newer.expect("ack");
            let end = loop {
                let event = older.next();
                match event.name.as_str() {
                    "event" => checker.take(&event.data),
                    _ => break seq_of(&event.data),
                }
            };
            assert_eq!(end, checker.last());
            older.expect_end();
            // What is between is in the history: the newer one comes back behind it.
            let query = format!("?client_id=c&after_seq={end}");
            older = server.stream("orders", &query);
            older.expect("ack");
            drop(newer);
        }
        while checker.last() < 2000 {
            checker.take(&older.next().data);
        }
    });
    checker.assert_complete(2000);
}
