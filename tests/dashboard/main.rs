//! The dashboard in a headless Chromium.
//!
//! Not a part of `cargo test`, because it needs a browser and `redis-server`: `tests/dashboard/run` runs it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, unused_imports, reason = "made for the suite")]
#[path = "../suite/harness/mod.rs"]
mod harness;

#[allow(dead_code, unused_imports, reason = "made for the tests of a cluster")]
#[path = "../cluster/harness/mod.rs"]
mod cluster;

mod chromium;
mod page;

mod access;
mod actions;
mod chat;
mod events;
mod looks;
mod nodes;
mod screenshot;
mod tail;
mod watching;
