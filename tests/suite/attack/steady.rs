//! Slow readers that read steadily are kept, whatever the write timeout; those that do not read are ended by it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    Dial, HttpClient, Incoming, Pace, SequenceChecker, TestServer, WsClient, eventually,
};

const TIMEOUT: Duration = Duration::from_secs(2);
/// Longer than a write without progress may take.
const WATCHED: Duration = Duration::from_secs(6);
/// Bytes per second, and the kernel receive buffer. A reader's kernel announces free space when up to the whole of an
/// ordinary buffer (128 KiB) is free: a reader that takes less than that within a timeout needs a smaller buffer.
const READERS: [(usize, Option<usize>); 4] = [
    (16 << 10, Some(8 << 10)),
    (32 << 10, Some(16 << 10)),
    (128 << 10, None),
    (240 << 10, None),
];
const LARGE_BYTES: usize = 1_000_000;

fn server() -> TestServer {
    let server = TestServer::with(|config| {
        config.write_timeout = TIMEOUT;
        config.max_queue_size = 1000;
        config.history_bytes = 2 << 20;
    });
    server.create_topic("orders");
    server
}

fn subscriber(server: &TestServer, number: usize) -> WsClient {
    let (bytes_per_sec, buffer_bytes) = READERS[number];
    let dial = Dial::to(server.addr());
    let mut client = match buffer_bytes {
        Some(bytes) => dial.receive_buffer(bytes).connect(),
        None => dial.connect(),
    };
    client.subscribe("orders", &format!("steady-{number}"));
    client.read_at(Some(Pace::of(bytes_per_sec)));
    client
}

/// Reads until then; may stop in the middle of an event.
fn watch(client: &mut WsClient, checker: &mut SequenceChecker, until: Instant) {
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match client.receive_within(left) {
            Some(Incoming::Text(text)) => checker.take(&serde_json::from_str(&text).unwrap()),
            Some(other) => panic!(
                "{} bytes after the start came {other:?}",
                client.bytes_received
            ),
            None => {}
        }
    }
}

/// Publishes events of this size continuously and asserts that every steady reader stays connected. Returns the readers
/// with what they received, and the number of published events.
fn watch_steady_readers(
    server: &TestServer,
    pad_bytes: usize,
    events_at_once: u64,
) -> (Vec<(WsClient, SequenceChecker)>, u64) {
    let until = Instant::now() + WATCHED;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS.len())
            .map(|number| {
                let mut client = subscriber(server, number);
                let mut checker = SequenceChecker::starting_after("orders", 0);
                scope.spawn(move || {
                    watch(&mut client, &mut checker, until);
                    (client, checker)
                })
            })
            .collect();
        let (mut publisher, mut published) = (server.ws(), 0);
        while Instant::now() < until {
            let last = published + events_at_once;
            publisher.publish_padded("orders", published + 1, last, pad_bytes);
            published = last;
        }
        let readers: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        assert_eq!(server.topic("orders")["subscribers"], READERS.len());
        let readers = readers.into_iter().map(Result::unwrap).collect();
        (readers, published)
    })
}

#[test]
fn steady_readers_of_large_events_stay_connected() {
    watch_steady_readers(&server(), LARGE_BYTES, 1);
}

#[test]
fn steady_readers_of_small_events_stay_connected_and_get_every_event_or_gap() {
    let server = server();
    // Large enough that even a busy machine publishes them over Redis faster than the fastest reader reads.
    let (readers, published) = watch_steady_readers(&server, 400, 50);
    thread::scope(|scope| {
        // Readers with a small buffer would take too long to catch up.
        let ordinary = READERS.iter().map(|(_, buffer)| buffer.is_none());
        let fast_enough = readers
            .into_iter()
            .zip(ordinary)
            .filter(|(_, has_ordinary_buffer)| *has_ordinary_buffer);
        for ((mut client, mut checker), _) in fast_enough {
            scope.spawn(move || {
                client.read_at(None);
                checker.read_until(&mut client, published);
                assert!(
                    checker.skipped > 0,
                    "the queue never overflowed: {checker:?} of {published}"
                );
            });
        }
    });
}

#[test]
fn steady_reader_of_a_large_response_gets_all_of_it() {
    let server = server();
    let body = json!({"payload": "x".repeat(LARGE_BYTES)});
    for _ in 0..2 {
        let mut http = server.http();
        http.post("/topics/orders/messages", &body).expect(201);
    }
    let start = Instant::now();
    let mut http = server.http();
    http.read_at(Pace::of(240 << 10));
    let answer = http.get("/topics/orders/messages").expect(200);
    assert_eq!(answer["events"].as_array().unwrap().len(), 2);
    assert!(start.elapsed() > TIMEOUT * 3, "too fast to show anything");
    http.get("/livez").expect(200);
}

/// Runs `meanwhile` until one connection is left, and asserts that this takes one to two write timeouts.
fn assert_ended_in_time(server: &TestServer, mut meanwhile: impl FnMut()) {
    let start = Instant::now();
    eventually("connections that do not read are ended", || {
        meanwhile();
        server.health()["connections"] == 1
    });
    let took = start.elapsed();
    println!("ended after {took:?}");
    assert!(took >= TIMEOUT, "ended after {took:?}");
    assert!(
        took < TIMEOUT * 2 + Duration::from_secs(1),
        "ended after {took:?}"
    );
}

#[test]
fn readers_of_nothing_or_a_byte_a_second_are_ended_within_two_write_timeouts() {
    let server = server();
    let mut byte_readers: Vec<_> = (0..2).map(|n| subscriber(&server, n)).collect();
    let mut http = HttpClient::with_small_buffer(server.addr());
    let mut silent: Vec<_> = (2..4).map(|n| subscriber(&server, n)).collect();
    silent.push(server.small_buffer_subscriber("orders", "silent"));
    // More than any of their buffers holds.
    server.ws().publish_padded("orders", 1, 8, LARGE_BYTES);
    http.send_raw(b"GET /topics/orders/messages HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut next_read = Instant::now();
    assert_ended_in_time(&server, || {
        if Instant::now() >= next_read {
            byte_readers.iter_mut().for_each(WsClient::read_one_byte);
            http.read_one_byte();
            next_read += Duration::from_secs(1);
        }
    });
}
