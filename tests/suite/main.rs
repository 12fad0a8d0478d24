//! Black-box tests: a real server on a free port, plain clients on plain threads, and the wire contract as the reference.
//!
//! Nothing here sleeps to wait for something: a read has a deadline, a condition is polled by
//! [`harness::eventually`]. No test looks inside the server.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;

mod access;
mod attack;
mod bad_requests;
mod binary;
mod blocking;
mod cli;
mod client;
mod close_codes;
mod conformance;
mod connections;
mod dashboard;
mod deletion;
mod documents;
mod edge;
mod embedding;
mod event_stream;
mod exhaustion;
mod expiry;
mod first_use;
mod floods;
mod handshake;
mod head;
mod heartbeat;
mod http_strictness;
mod idempotency;
mod limits;
mod metrics;
mod ordering;
mod overflow;
mod panics;
mod patterns;
mod payloads;
mod postman;
mod presence;
mod replay;
mod request_ids;
mod requests;
mod rest;
mod rest_connections;
mod rest_errors;
mod rest_messages;
mod resume;
mod shutdown;
mod soak;
mod stress;
mod stuck_handlers;
mod subscribers;
mod takeover;
mod tls;
mod tokens;
mod topic_changes;
