//! Resident memory: it follows the retained bytes, whoever published them and in whatever sizes, and is given back after
//! large messages.

use serde_json::json;

use crate::harness::{ChildServer, Dial, HttpClient, WsClient, eventually};

const PUBLISHERS: u64 = 16;
const BUDGET_KIB: u64 = 8 << 10;
/// The memory that one connection may use.
const CONNECTION_KIB: u64 = 40;
/// Memory that the allocator keeps after use, independent of the budget.
const REST_KIB: u64 = 8 << 10;

/// Events and their sizes for each publisher, 5 MiB in all: small events, events that fill most of a segment, and large
/// events.
const SIZES: [(u64, usize); 4] = [(200, 300), (150, 3000), (100, 20_000), (30, 100_000)];

/// Publishers fill the budget in turn and stay connected: memory that one of them used is reused for the next.
#[test]
fn resident_memory_follows_the_budget_and_is_freed_after_deletion() {
    let server = ChildServer::start(&[
        ("PUBSUB_MAX_MEMORY_BYTES", "8MiB"),
        ("PUBSUB_HISTORY_SIZE", "1000000"),
        ("PUBSUB_HISTORY_BYTES", "1GiB"),
    ]);
    let mut http = HttpClient::connect(server.addr());
    let before = server.resident_kib();
    let grown = || server.resident_kib().saturating_sub(before);
    let rest = (PUBLISHERS + 1) * CONNECTION_KIB + REST_KIB;
    let publishers: Vec<WsClient> = (0..PUBLISHERS)
        .map(|publisher| {
            let topic = format!("t{publisher}");
            http.post("/topics", &json!({"name": topic})).expect(201);
            let mut client = Dial::to(server.addr()).connect();
            let mut next = 1;
            for (events, pad_bytes) in SIZES {
                client.publish_padded(&topic, next, next + events - 1, pad_bytes);
                next += events;
            }
            let most = BUDGET_KIB + BUDGET_KIB / 2 + rest;
            assert!(grown() <= most, "{} > {most} KiB, {topic}", grown());
            client
        })
        .collect();
    let full = http.get("/health").expect(200)["retained_bytes"].clone();
    assert!(full.as_u64() > Some(BUDGET_KIB << 9), "{full} retained");
    println!("{} KiB resident for {full} bytes", grown());
    for publisher in 0..PUBLISHERS {
        http.delete(&format!("/topics/t{publisher}")).expect(200);
    }
    eventually("the memory is freed", || grown() <= rest);
    println!("{} KiB after all topics are deleted", grown());
    drop(publishers);
}

const LARGE_BYTES: usize = 1 << 20;
const SENDERS: u64 = 48;
/// Memory that the allocator's arenas keep after large messages were received at the same time, independent of connections.
const ARENAS_KIB: u64 = 16 << 10;

/// Each connection has its own receive buffer and frees it; if kept, the 48 buffers would hold 48 MiB.
#[test]
fn connections_free_the_memory_of_a_large_message() {
    let server = ChildServer::start(&[
        ("PUBSUB_HISTORY_SIZE", "0"),
        ("PUBSUB_MAX_QUEUE_SIZE", "1"),
        ("PUBSUB_MAX_MESSAGE_BYTES", "2MiB"),
    ]);
    HttpClient::connect(server.addr())
        .post("/topics", &json!({"name": "t"}))
        .expect(201);
    let before = server.resident_kib();
    let senders: Vec<WsClient> = (0..SENDERS)
        .map(|_| {
            let mut client = Dial::to(server.addr()).connect();
            client.publish_padded("t", 1, 1, LARGE_BYTES);
            client
        })
        .collect();
    let most = SENDERS * CONNECTION_KIB + REST_KIB + ARENAS_KIB;
    let grown = || server.resident_kib().saturating_sub(before);
    eventually("the memory is freed", || grown() <= most);
    println!("{} KiB for {SENDERS} idle connections", grown());
    drop(senders);
}
