//! Several servers as one over Redis (`docs/protocol.md`), from outside: nodes as processes, a Redis for each test, and clients that
//! account for every event.
//!
//! Not a part of `cargo test`, because it needs `redis-server`: `tests/cluster/run` runs it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, unused_imports, reason = "made for the suite")]
#[path = "../suite/harness/mod.rs"]
mod harness;

#[path = "harness/mod.rs"]
mod cluster;

mod clients;
mod delivery;
mod embedding;
mod failures;
mod figures;
mod harness_checks;
mod history;
mod idempotency;
mod lifetimes;
mod metrics;
mod nodes;
mod patterns;
mod presence;
mod sentinels;
mod soak;
mod subscribers;
mod takeover;
mod tls;
mod topics;
