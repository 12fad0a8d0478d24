//! What the tests share: a server on a free port, hand-written clients, and waits with a deadline.
//!
//! The clients send frames and raw bytes, so that a test can send invalid ones.
//! All their traffic is checked against the OpenAPI and AsyncAPI documents ([`contract`]).
//! Tests wait for time to pass only here.

mod alone;
mod audience;
mod child;
mod cluster;
pub(crate) mod contract;
mod dial;
mod event_stream;
mod frame;
mod http;
mod json;
mod keys;
mod log_hook;
mod pace;
mod page;
mod reply;
mod sequence_checker;
mod server;
mod talk;
mod text_file;
mod tls;
mod ws;

pub(crate) use alone::{alone, cpu_time_of_others, own_cpu_time, own_descriptors, own_threads};
pub(crate) use audience::{Audience, MAX_NAMES, names};
pub(crate) use child::ChildServer;
pub(crate) use contract::{Document, asyncapi, openapi, pointer};
pub(crate) use dial::Dial;
pub(crate) use event_stream::{StreamClient, StreamEvent};
pub(crate) use frame::{Frame, Opcode};
pub(crate) use http::HttpClient;
pub(crate) use json::{assert_timestamp, code_of, epoch_of, event_seqs, seq_of, text_of};
pub(crate) use keys::entry;
pub(crate) use log_hook::LogHook;
pub(crate) use pace::Pace;
pub(crate) use page::Page;
pub(crate) use reply::Reply;
pub(crate) use sequence_checker::SequenceChecker;
pub(crate) use server::TestServer;
pub(crate) use talk::{publish_text, uuid_of};
pub(crate) use text_file::TextFile;
pub(crate) use threadcast::config::{Config, OverflowPolicy};
pub(crate) use tls::{Authority, CertificateFiles, Issued, NewKeys, Relay, TlsClient, connect_tls};
pub(crate) use ws::{Incoming, WsClient};

use std::thread;
use std::time::{Duration, Instant};

/// The longest a test waits for anything; long, because a machine that runs tests is often busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; fails with `what` after [`DEADLINE`].
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        thread::park_timeout(POLL_INTERVAL);
    }
}

/// Waits until `value` has not changed for `quiet`, and returns it.
pub(crate) fn await_stable<T: PartialEq>(quiet: Duration, mut value: impl FnMut() -> T) -> T {
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

/// Runs `work` and fails if it takes longer than [`DEADLINE`].
pub(crate) fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    let took = start.elapsed();
    assert!(took < DEADLINE, "{what} took {took:?}");
    result
}
