//! What every test stands on: a server on a free port, clients written by hand, and waiting that ends.
//!
//! The clients speak frames and raw bytes, so that a test can also send what no good client sends.
//! Whatever passes through them is held against the contract for machines ([`contract`]).
//! This is the only place where a test waits for time to pass.

mod account;
mod alone;
mod child;
mod contract;
mod dial;
mod frame;
mod http;
mod json;
mod keys;
mod pace;
mod page;
mod reply;
mod sabotage;
mod server;
mod talk;
mod ws;

pub(crate) use account::Account;
pub(crate) use alone::{alone, own_cpu_time, own_descriptors, own_threads};
pub(crate) use child::ChildServer;
pub(crate) use contract::{Document, asyncapi, openapi, pointer};
pub(crate) use dial::Dial;
pub(crate) use frame::{Frame, Opcode};
pub(crate) use http::HttpClient;
pub(crate) use json::{assert_timestamp, code_of, epoch_of, event_seqs, seq_of, text_of};
pub(crate) use keys::{KeysFile, entry};
pub(crate) use pace::Pace;
pub(crate) use page::Page;
pub(crate) use reply::Reply;
pub(crate) use sabotage::Sabotage;
pub(crate) use server::TestServer;
pub(crate) use talk::{publish_text, uuid_of};
pub(crate) use threadcast::config::{Config, OverflowPolicy};
pub(crate) use ws::{Incoming, WsClient};

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything. Generous, because a machine that runs tests is often busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; fails with `what` when it does not within [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::park_timeout(POLL_INTERVAL);
    }
}

/// Waits until `value` has stayed the same for `quiet`, and returns it.
pub(crate) fn settled<T: PartialEq>(quiet: Duration, mut value: impl FnMut() -> T) -> T {
    let mut last = value();
    let mut since = Instant::now();
    eventually("a value that stays the same", || {
        let now = value();
        if now != last {
            last = now;
            since = Instant::now();
        }
        since.elapsed() >= quiet
    });
    last
}

/// Runs `work` and fails when it took longer than [`DEADLINE`].
pub(crate) fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    assert!(took < DEADLINE, "{what} took {took:?}");
    result
}
