//! A panic in any thread of the server: it ends one connection or one request, is counted and logged, and leaves nothing
//! behind. Each test is alone in its process, because it takes the log over to make a thread panic.

mod house_keeping;
mod rest;
mod websocket;

use crate::harness::{Sabotage, TestServer, eventually};

/// Asserts that there was one panic, that the log tells it, and that the trap was what it came from.
fn assert_one_panic(server: &TestServer, sabotage: &Sabotage) {
    assert!(sabotage.has_snapped());
    eventually("the panic is counted", || server.panics() == 1);
    let told = |line: &String| line.contains("a panic was caught");
    eventually("the panic is logged", || {
        sabotage.errors().iter().filter(|line| told(line)).count() == 1
    });
}

/// Asserts that a server that had `connections` has them again, the one that asks included.
fn await_connections(server: &TestServer, connections: u64) {
    eventually("the connections are those of before", || {
        server.health()["connections"] == connections + 1
    });
}
