//! Floods: the most that each costs the server; other clients are served meanwhile, and nothing stays behind.
//!
//! The server is a process of its own, so that its memory can be measured from outside.

mod attacks;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    ChildServer, Dial, HttpClient, SequenceChecker, WsClient, await_stable, eventually,
};

/// Number of hostile connections.
const ATTACKERS: usize = 8;
/// Allowed growth of the server for each of them: its buffers, not what was sent.
const BYTES_PER_ATTACKER: u64 = 512 << 10;
/// Allowed growth for everything else.
const SLACK_BYTES: u64 = 4 << 20;
/// Median time for publish, fan-out and delivery to another client, on a busy machine.
const MEDIAN_LATENCY: Duration = Duration::from_millis(250);
const QUIET: Duration = Duration::from_millis(100);

/// The actions of one hostile connection until the server ends it.
type Attack = fn(WsClient);

/// Runs the attack on many connections at once, and checks that other clients are not affected.
fn run_attack(attack: Attack, message_bytes: u64) {
    let child = ChildServer::start(&[
        ("PUBSUB_WRITE_TIMEOUT_SECS", "2"),
        ("PUBSUB_REQUEST_TIMEOUT_SECS", "2"),
    ]);
    let connect = || Dial::to(child.addr()).receive_buffer(4 << 10).connect();
    for topic in ["orders", "flood"] {
        let mut http = HttpClient::connect(child.addr());
        http.post("/topics", &json!({"name": topic})).expect(201);
    }
    let (mut subscriber, mut publisher) = (connect(), connect());
    subscriber.subscribe("orders", "c");
    drop((0..ATTACKERS).map(|_| connect()).collect::<Vec<_>>());
    await_connections(&child, 2);
    let threads = await_stable(QUIET, || child.threads());
    let descriptors = await_stable(QUIET, || child.descriptors());
    let before = child.peak_resident_bytes();

    let mut checker = SequenceChecker::starting_after("orders", 0);
    let mut latencies = Vec::new();
    thread::scope(|scope| {
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|_| connect())
            .map(|client| scope.spawn(move || attack(client)))
            .collect();
        while attackers.iter().any(|attacker| !attacker.is_finished()) || latencies.len() < 20 {
            let start = Instant::now();
            let seq = publisher.publish("orders", &json!(1));
            checker.read_until(&mut subscriber, seq);
            latencies.push(start.elapsed());
            thread::park_timeout(Duration::from_millis(1));
        }
    });
    assert_eq!(checker.skipped, 0, "an event of another topic was dropped");
    latencies.sort();
    let median = latencies[latencies.len() / 2];
    assert!(median < MEDIAN_LATENCY, "median {median:?}");

    let grown = child.peak_resident_bytes() - before;
    let allowed = SLACK_BYTES + ATTACKERS as u64 * (BYTES_PER_ATTACKER + message_bytes);
    println!(
        "median {median:?}, worst {:?} of {}; {grown} bytes more at the peak",
        latencies[latencies.len() - 1],
        latencies.len(),
    );
    assert!(grown < allowed, "{grown} bytes more at the peak");
    await_connections(&child, 2);
    eventually("threads are back", || child.threads() <= threads);
    eventually("descriptors are back", || {
        child.descriptors() <= descriptors
    });
}

/// Waits until the server has this many connections besides the asking one.
fn await_connections(child: &ChildServer, connections: u64) {
    eventually("{connections} other connections", || {
        let mut http = HttpClient::connect(child.addr());
        http.get("/health").expect(200)["connections"] == connections + 1
    });
}
