//! WebSocket clients that read little or nothing: they are ended in time, use little memory, and delay nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{
    ChildServer, Dial, Frame, HttpClient, SequenceChecker, TestServer, WsClient, eventually,
    publish_text,
};

const PAD_BYTES: usize = 4 << 10;

fn impatient_server() -> TestServer {
    let server = TestServer::with(|config| {
        config.write_timeout = Duration::from_millis(500);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    server
}

#[test]
fn subscribers_that_read_nothing_or_single_bytes_are_ended() {
    let server = impatient_server();
    let mut byte_readers: Vec<_> = (0..3)
        .map(|n| server.small_buffer_subscriber("orders", &format!("dripping-{n}")))
        .collect();
    let _silent: Vec<_> = (0..3)
        .map(|n| server.small_buffer_subscriber("orders", &format!("silent-{n}")))
        .collect();
    let mut publisher = server.ws();
    publisher.subscribe("orders", "quick");
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut published = 0;
    eventually("only the fast subscriber is left", || {
        byte_readers.iter_mut().for_each(WsClient::read_one_byte);
        publisher.publish_padded("orders", published + 1, published + 5, PAD_BYTES);
        published += 5;
        checker.read_until(&mut publisher, published);
        server.topic("orders")["subscribers"] == 1
    });
    assert_eq!(checker.skipped, 0, "the fast subscriber missed events");
}

/// The server stops reading from a publisher that leaves its acks unread.
#[test]
fn publisher_that_never_reads_its_acks_stalls_only_itself() {
    let server = impatient_server();
    let mut quick = server.ws();
    quick.subscribe("orders", "quick");
    let burst = Frame::text(&publish_text("orders", "1", &"r".repeat(100)))
        .masked()
        .repeat(100);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut flood = server.small_buffer_ws();
        let (burst, over) = (&burst, &over);
        scope.spawn(move || {
            while flood.try_send_bytes(burst) {}
            over.store(true, Ordering::SeqCst);
        });
        let mut checker = SequenceChecker::starting_after("orders", 0);
        let mut other = server.ws();
        while !over.load(Ordering::SeqCst) {
            let seq = other.publish("orders", &json!("in time"));
            while checker.last() < seq {
                checker.take(&quick.next_json());
            }
        }
    });
    // Two connections remain: the fast subscriber and the one that asks.
    eventually("the publisher's connection ends", || {
        server.health()["connections"] == 2
    });
    quick.close();
}

/// All subscribers share one log; there is no queue per subscriber.
#[test]
fn hundred_subscribers_that_never_read_share_one_log() {
    let server = ChildServer::start(&[
        ("PUBSUB_HISTORY_BYTES", "4MiB"),
        ("PUBSUB_HISTORY_SIZE", "10000"),
        ("PUBSUB_MAX_QUEUE_SIZE", "10000"),
    ]);
    HttpClient::connect(server.addr())
        .post("/topics", &json!({"name": "orders"}))
        .expect(201);
    let _stalled: Vec<_> = (0..100)
        .map(|n| {
            let mut client = Dial::to(server.addr()).receive_buffer(4 << 10).connect();
            client.subscribe("orders", &format!("c{n}"));
            client
        })
        .collect();
    let before = server.resident_kib();
    let mut publisher = Dial::to(server.addr()).connect();
    publisher.publish_padded("orders", 1, 1000, 32 << 10);
    let grown = server.resident_kib().saturating_sub(before);
    // The log, a chunk of at most 64 KiB with a large event for each subscriber, and what the heap keeps.
    assert!(grown < 40 << 10, "{grown} KiB for 32 MiB published");
}

/// A hundred histories of 8 MiB are requested at once: the bound covers responses being built and copied, not only sent.
#[test]
fn concurrent_long_histories_use_bounded_memory() {
    let server = ChildServer::start(&[("PUBSUB_REQUEST_TIMEOUT_SECS", "2")]);
    let mut http = HttpClient::connect(server.addr());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    let body = json!({"payload": "x".repeat(80 << 10)});
    for _ in 0..100 {
        http.post("/topics/orders/messages", &body).expect(201);
    }
    let before = server.peak_resident_bytes();
    let mut slow: Vec<_> = (0..100)
        .map(|_| HttpClient::with_small_buffer(server.addr()))
        .collect();
    for http in &mut slow {
        http.send_raw(b"GET /topics/orders/messages HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for http in &mut slow {
        eventually("each request is answered", || http.has_input());
    }
    let grown = (server.peak_resident_bytes() - before) >> 20;
    println!("{grown} MiB at most for 800 MiB asked for at once");
    assert!(grown < 75, "{grown} MiB");
}

/// Many clients request large responses and read none: some responses wait for their client, the other requests wait for
/// memory and are refused at the timeout. Responses being built count too.
#[test]
fn large_responses_that_are_not_read_use_bounded_memory() {
    // With this threshold the allocator returns large blocks at once, so resident memory equals used memory.
    let server = ChildServer::start(&[
        ("PUBSUB_HISTORY_SIZE", "1000"),
        ("PUBSUB_WRITE_TIMEOUT_SECS", "60"),
        ("PUBSUB_REQUEST_TIMEOUT_SECS", "1"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ]);
    let mut http = HttpClient::connect(server.addr());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    let body = json!({"payload": "x".repeat(900 << 10)});
    for _ in 0..3 {
        http.post("/topics/orders/messages", &body).expect(201);
    }
    let before = server.resident_kib();
    let mut slow: Vec<_> = (0..60)
        .map(|_| HttpClient::with_small_buffer(server.addr()))
        .collect();
    let request = b"GET /topics/orders/messages HTTP/1.1\r\nHost: x\r\n\r\n";
    for http in &mut slow {
        http.send_raw(request);
    }
    for http in &mut slow {
        eventually("each request is answered", || http.has_input());
    }
    let grown = server.peak_resident_bytes() / 1024 - before;
    println!("{grown} KiB at most for 160 MiB asked for at once");
    assert!(grown < 80 << 10, "{grown} KiB");
    let refused = http.get("/topics/orders/messages");
    refused.expect_problem(503, "UNAVAILABLE");
    assert!(refused.header("Retry-After").is_some(), "{refused}");
    http.get("/topics/orders/messages?last_n=0").expect(200);
    drop(slow);
    eventually("memory is free again", || {
        http.get("/topics/orders/messages").status == 200
    });
}
