//! Limits under concurrency: no count exceeds its limit, however many clients try at the same moment.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::{ChildServer, Dial, HttpClient, TestServer, WsClient, eventually};

const ATTACKERS: usize = 8;

/// Runs `attack` on [`ATTACKERS`] threads that start together; returns their results.
fn together<T: Send>(attack: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let ready = Barrier::new(ATTACKERS);
    let one = |attacker| {
        ready.wait();
        attack(attacker)
    };
    thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..ATTACKERS)
            .map(|attacker| scope.spawn(move || one(attacker)))
            .collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.collect()
    })
}

#[test]
fn concurrent_creates_never_exceed_max_topics() {
    let server = TestServer::with(|config| config.max_topics = 50);
    let created = AtomicUsize::new(0);
    together(|attacker| {
        let mut http = server.http();
        for n in 0..40 {
            let reply = http.post("/topics", &json!({"name": format!("t-{attacker}-{n}")}));
            match reply.status {
                201 => drop(created.fetch_add(1, Ordering::SeqCst)),
                _ => drop(reply.expect_problem(429, "LIMIT_REACHED")),
            }
        }
    });
    assert_eq!(created.into_inner(), 50);
    assert_eq!(server.health()["topics"], 50);
}

#[test]
fn concurrent_connects_never_exceed_max_connections() {
    const CAP: u64 = 40;
    let server = TestServer::with(|config| config.max_connections = Some(CAP as usize));
    let mut observer = server.http();
    let most = AtomicUsize::new(0);
    together(|_| {
        let mut held = Vec::new();
        for _ in 0..30 {
            let mut http = HttpClient::connect(server.addr());
            http.try_send_raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
            let reply = http.read_reply();
            if reply.status == 200 {
                let connections = reply.json()["connections"].as_u64().unwrap();
                most.fetch_max(connections as usize, Ordering::SeqCst);
                held.push(http);
            } else {
                reply.expect_problem(503, "UNAVAILABLE");
            }
        }
    });
    assert!(most.into_inner() as u64 <= CAP);
    eventually("only the observer is connected", || {
        observer.get("/health").expect(200)["connections"] == 1
    });
}

#[test]
fn burst_of_subscribes_never_exceeds_max_subscriptions() {
    let server = TestServer::with(|config| config.max_subscriptions = 20);
    server.create_topic("orders");
    let clients = together(|attacker| {
        let mut client = server.ws();
        for n in 0..100 {
            let id = format!("c-{attacker}-{n}");
            let request = json!({"type": "subscribe", "topic": "orders", "client_id": id});
            client.send(&request);
        }
        let replies = client.fence();
        let acks = replies.iter().filter(|reply| reply["type"] == "ack");
        assert_eq!((replies.len(), acks.count()), (100, 20));
        client
    });
    assert_eq!(server.health()["subscribers"], 20 * clients.len());
}

/// Publishers fill many topics at once: retained bytes and process memory stay within the bound.
#[test]
fn retained_events_stay_within_max_memory_bytes() {
    const BOUND: u64 = 16 << 20;
    let server = ChildServer::start(&[
        ("PUBSUB_MAX_MEMORY_BYTES", "16MiB"),
        ("PUBSUB_HISTORY_SIZE", "1000000"),
        ("PUBSUB_HISTORY_BYTES", "1GiB"),
    ]);
    let mut http = HttpClient::connect(server.addr());
    let names: Vec<String> = (0..ATTACKERS).map(|n| format!("t{n}")).collect();
    for name in &names {
        http.post("/topics", &json!({"name": name})).expect(201);
    }
    let before = server.resident_kib();
    together(|attacker| {
        let mut publisher: WsClient = Dial::to(server.addr()).connect();
        publisher.publish_padded(&names[attacker], 1, 250, 64 << 10);
    });
    let bytes = |name: &String| {
        let topic = HttpClient::connect(server.addr()).get(&format!("/topics/{name}"));
        topic.expect(200)["history"]["bytes"].as_u64().unwrap()
    };
    let retained: u64 = names.iter().map(bytes).sum();
    assert!(retained <= BOUND, "{retained} bytes are retained");
    let grown = server.resident_kib().saturating_sub(before);
    assert!(
        grown < 3 * (BOUND >> 10),
        "{grown} KiB for 128 MiB published"
    );
}
