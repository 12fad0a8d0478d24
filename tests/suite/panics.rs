//! A panic in any thread of the server ends one connection or one request, is counted and logged, and leaves nothing
//! behind. Each test runs in its own process, because it replaces the process's log to make a thread panic.

mod rest;
mod shared_threads;
mod websocket;

use crate::harness::{LogHook, TestServer, eventually};

/// Asserts that exactly one panic was counted and logged, and that the injected one has happened.
fn assert_one_panic(server: &TestServer, hook: &LogHook) {
    assert!(hook.has_panicked());
    eventually("the panic is counted", || server.panics() == 1);
    let is_caught = |line: &String| line.contains("a panic was caught");
    eventually("the panic is logged", || {
        hook.errors().iter().filter(|line| is_caught(line)).count() == 1
    });
}

/// Waits until the server has this many connections besides the asking one.
fn await_connections(server: &TestServer, connections: u64) {
    eventually("{connections} other connections", || {
        server.health()["connections"] == connections + 1
    });
}
