//! What a node counts of its engine, for /metrics and `GET /nodes`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counted by the threads that call Redis, read by /metrics. Times are sums, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct EngineMetrics {
    pub(crate) calls: AtomicU64,
    pub(crate) call_micros: AtomicU64,
    /// The round trip of the last call.
    last_micros: AtomicU64,
    pub(crate) entries: AtomicU64,
    pub(crate) entry_events: AtomicU64,
    /// Entries that arrived out of order or not at all, and were read from the stream.
    pub(crate) reads: AtomicU64,
    /// Entries that were dropped because the node could not append them fast enough; they are read again.
    pub(crate) overruns: AtomicU64,
    /// Epochs that this node ended because Redis had lost events.
    pub(crate) divergences: AtomicU64,
    /// Times that a connection to Redis was made again.
    pub(crate) reconnects: AtomicU64,
}

impl EngineMetrics {
    pub(super) fn called(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.call_micros.fetch_add(micros, Ordering::Relaxed);
        self.last_micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn published(&self, events: u64) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.entry_events.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The round trip of the last call, in milliseconds.
    pub(super) fn latency_ms(&self) -> f64 {
        self.last_micros.load(Ordering::Relaxed) as f64 / 1000.0
    }
}
