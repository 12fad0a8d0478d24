//! An in-memory Pub/Sub server on plain threads: WebSocket and REST on one port, no async runtime.
//!
//! [`Server`] is all it takes to embed one; [`Config`] holds every limit. [`client`] is how a Rust program talks to one. The wire protocol is described for client
//! authors in `docs/protocol.md`.
//!
//! The modules, from the outside in: `server` owns sockets and threads; `broker` owns topics, their logs and their
//! subscribers, and knows no socket; `access` knows keys and what each may do; `metrics` counts; `protocol` is what goes
//! over the wire, as types. Imports run one way: server → broker, access → protocol; [`config`] is below the server and
//! the broker. [`client`] imports `config` and `protocol` only.

pub mod client;
pub mod config;

mod access;
mod broker;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod limited_log;
mod metrics;
mod protocol;
mod server;
mod sync;

pub use access::{ApiKey, InvalidApiKey, InvalidKeysFile, NewKey, NewKeyError};
pub use config::{Config, OverflowPolicy};
pub use server::{ConnectionCap, Server, ShutdownReport, StartError};
