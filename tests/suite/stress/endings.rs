//! Connections that end during a publish, a subscribe or a handshake.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    DEADLINE, Dial, Frame, SequenceChecker, TestServer, await_stable, eventually, in_time,
    publish_text, seq_of,
};

/// Events that a publisher has not fanned out when another thread ends its connection still reach the subscribers.
#[test]
fn events_published_before_a_connection_was_ended_are_delivered() {
    let server = TestServer::with(|config| config.max_queue_size = 1000);
    let small = json!({"overflow": "disconnect", "max_queue_size": 1});
    server.create_topic_with("small", &small);
    server.create_topic("orders");
    let (mut subscriber, mut ender) = (server.ws(), server.ws());
    subscriber.subscribe("orders", "c");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let frame = |n: u32| Frame::text(&publish_text("orders", "1", &n.to_string())).masked();
    let burst: Vec<u8> = (0..200).flat_map(frame).collect();
    for _ in 0..10 {
        let mut publisher = server.small_buffer_ws();
        publisher.subscribe("small", "p");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let publish =
                || while publisher.try_send_bytes(&burst) && !ended.load(Ordering::Relaxed) {};
            scope.spawn(publish);
            while server.topic("small")["subscribers"] == 1 {
                ender.publish_padded("small", 1, 10, 16 << 10);
            }
            ended.store(true, Ordering::Relaxed);
        });
        publisher.reset();
        let end = await_stable(Duration::from_millis(30), || {
            seq_of(&server.topic("orders"))
        });
        checker.read_until(&mut subscriber, end);
    }
}

/// A subscribe that races with the end of its own connection leaves no subscription, not even while the close frame is
/// unsent.
#[test]
fn connection_ended_while_subscribing_leaves_no_subscription() {
    let server = TestServer::with(|config| config.write_timeout = Duration::from_secs(60));
    let small = json!({"overflow": "disconnect", "max_queue_size": 1});
    server.create_topic_with("small", &small);
    server.create_topic("orders");
    let mut ender = server.ws();
    let frame = |kind: &str| {
        let request = json!({"type": kind, "topic": "orders", "client_id": "c"});
        Frame::text(&request.to_string()).masked()
    };
    let burst = [frame("subscribe"), frame("unsubscribe")]
        .concat()
        .repeat(100);
    for _ in 0..20 {
        let mut client = server.small_buffer_ws();
        client.subscribe("small", "c");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let subscribe =
                || while client.try_send_bytes(&burst) && !ended.load(Ordering::Relaxed) {};
            scope.spawn(subscribe);
            while server.topic("small")["subscribers"] == 1 {
                ender.publish_padded("small", 1, 10, 16 << 10);
            }
            ended.store(true, Ordering::Relaxed);
        });
        server.await_subscribers("orders", 0);
        client.reset();
    }
}

/// A handshake that races with the shutdown is refused, or completes and gets the shutdown notice like any other client.
#[test]
fn handshake_during_shutdown_is_refused_or_notified() {
    for round in (0..40).step_by(2) {
        let server = TestServer::start();
        let sent = AtomicUsize::new(0);
        let request = Dial::request_fields(server.addr()) + "\r\n";
        let mut clients: Vec<_> = (0..50)
            .map(|_| TcpStream::connect(server.addr()).unwrap())
            .collect();
        eventually("every client has a thread", || {
            server.health()["connections"] == 51
        });
        thread::scope(|scope| {
            let handshakes = || {
                for client in &mut clients {
                    // The server may have ended already.
                    let _ = client.write_all(request.as_bytes());
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                clients
                    .drain(..)
                    .for_each(expect_refusal_or_shutdown_notice);
            };
            let clients = scope.spawn(handshakes);
            while sent.load(Ordering::Relaxed) < round {
                thread::yield_now();
            }
            in_time("shutdown", || server.shutdown());
            clients.join().unwrap();
        });
    }
}

/// Reads to the close frame or the end of the stream.
fn expect_refusal_or_shutdown_notice(mut client: TcpStream) {
    const CLOSE_1001: [u8; 2] = 1001u16.to_be_bytes();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    let has_close_frame = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == CLOSE_1001);
    while !has_close_frame(&received) {
        match client.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => received.extend(&piece[..count]),
        }
    }
    let text = String::from_utf8_lossy(&received);
    let switched = text.starts_with("HTTP/1.1 101") && text.contains("server_shutdown");
    let is_right = text.is_empty()
        || text.starts_with("HTTP/1.1 503")
        || switched && has_close_frame(&received);
    assert!(is_right, "{text:?}");
}
