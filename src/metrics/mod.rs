//! What the server counts, and how that is written for those who ask: OpenMetrics, or the older text format.
//!
//! Counting is one addition per send, not per event, to a counter that other processors leave alone ([`sharded`]).
//! What can be seen by looking, such as the number of topics, is not counted here but looked up by who writes the
//! page. Plain atomics, no locks: nothing else in the server waits for or depends on a count.

mod counted;
mod family;
mod histogram;
mod process;
mod sharded;
mod tally;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use family::{Families, Unit, Value};
pub(crate) use histogram::{Distribution, Latency};
pub(crate) use process::push_process;
pub(crate) use tally::Tally;
pub(crate) use text::Format;

use crate::config::OverflowPolicy;
use sharded::Sharded;

/// The one set of counts of a server, in the hands of all who count.
pub(crate) type SharedMetrics = Arc<Metrics>;

/// Everything counted since the server started.
#[derive(Debug)]
pub(crate) struct Metrics {
    hot: Sharded<Hot>,
    /// From the arrival of a publish to its ack.
    pub(crate) publish_latency: Latency,
    /// From the time of an event to the end of the fan-out that sent it.
    pub(crate) fan_out_latency: Latency,
    /// From the time of an event to the end of the writer's write that sent it.
    pub(crate) writer_latency: Latency,
    accepted: AtomicU64,
    websockets_opened: AtomicU64,
    undelivered: AtomicU64,
    pub(crate) rejected: Tally<3>,
    pub(crate) disconnects: Tally<13>,
    dropped: Tally<3>,
    pub(crate) gaps: Tally<3>,
    pub(crate) resumes: Tally<4>,
    pub(crate) auth_failures: Tally<3>,
}

/// What is counted with every send. One thread's counts stand together, so that a send touches one line of the cache.
#[derive(Debug, Default)]
struct Hot {
    published: AtomicU64,
    delivered: AtomicU64,
    fast_sends: AtomicU64,
    slow_writes: AtomicU64,
    received: [AtomicU64; 2],
    sent: [AtomicU64; 2],
}

/// What a byte belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http,
    WebSocket,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 2] = [Protocol::Http, Protocol::WebSocket];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::WebSocket => "websocket",
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            hot: Sharded::default(),
            publish_latency: Latency::default(),
            fan_out_latency: Latency::default(),
            writer_latency: Latency::default(),
            accepted: AtomicU64::new(0),
            websockets_opened: AtomicU64::new(0),
            undelivered: AtomicU64::new(0),
            rejected: Tally::new(["full", "no_descriptor", "no_thread"]),
            disconnects: Tally::new([
                "peer_closed",
                "peer_gone",
                "protocol",
                "invalid_utf8",
                "too_big",
                "policy",
                "slow_consumer",
                "write_timeout",
                "heartbeat",
                "shutdown",
                "unauthorized",
                "administrator",
                "internal",
            ]),
            dropped: Tally::new(OverflowPolicy::ALL.map(OverflowPolicy::as_str)),
            gaps: Tally::new(["slow_consumer", "history_evicted", "epoch_changed"]),
            resumes: Tally::new(["recovered", "history_evicted", "epoch_changed", "refused"]),
            auth_failures: Tally::new(["rest", "handshake", "connection"]),
        }
    }
}

impl Metrics {
    /// Events were published, once each.
    pub(crate) fn published(&self, events: u64) {
        add(&self.hot.mine().published, events);
    }

    /// A send that did not wait: so many bytes, and with them so many events whole.
    pub(crate) fn sent_at_once(&self, bytes: usize, events: u64) {
        let mine = self.hot.mine();
        add(&mine.fast_sends, 1);
        add(&mine.sent[Protocol::WebSocket as usize], bytes as u64);
        if events > 0 {
            add(&mine.delivered, events);
        }
    }

    /// A write by a writer thread, which may have waited.
    pub(crate) fn written(&self, bytes: usize) {
        let mine = self.hot.mine();
        add(&mine.slow_writes, 1);
        add(&mine.sent[Protocol::WebSocket as usize], bytes as u64);
    }

    /// Events that went out whole with what a writer thread wrote.
    pub(crate) fn delivered(&self, events: u64) {
        add(&self.hot.mine().delivered, events);
    }

    /// All events that were delivered so far.
    pub(crate) fn delivered_total(&self) -> u64 {
        self.hot.sum(|hot| &hot.delivered)
    }

    pub(crate) fn received(&self, protocol: Protocol, bytes: usize) {
        add(&self.hot.mine().received[protocol as usize], bytes as u64);
    }

    pub(crate) fn http_sent(&self, bytes: usize) {
        add(&self.hot.mine().sent[Protocol::Http as usize], bytes as u64);
    }

    pub(crate) fn accepted(&self) {
        add(&self.accepted, 1);
    }

    pub(crate) fn websocket_opened(&self) {
        add(&self.websockets_opened, 1);
    }

    /// Events that a subscription does not get because of its topic's overflow policy.
    pub(crate) fn dropped(&self, policy: OverflowPolicy, events: u64) {
        self.dropped.add(policy.as_str(), events);
    }

    /// Events that were queued for a connection when it ended, other than for slowness.
    pub(crate) fn undelivered(&self, events: u64) {
        add(&self.undelivered, events);
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_many_threads_count_adds_up() {
        let metrics = Metrics::default();
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..1000).for_each(|_| metrics.sent_at_once(10, 2)));
            }
        });
        let sum = |pick: fn(&Hot) -> &AtomicU64| metrics.hot.sum(pick);
        let counted = (
            sum(|hot| &hot.delivered),
            sum(|hot| &hot.fast_sends),
            sum(|hot| &hot.sent[1]),
        );
        assert_eq!(counted, (80_000, 40_000, 400_000));
    }

    /// `cargo test --release --lib -- --ignored --nocapture what_counting_costs`
    #[test]
    #[ignore = "a measurement"]
    fn what_counting_costs() {
        const ROUNDS: u32 = 20_000_000;
        let metrics = Metrics::default();
        let count = || {
            for n in 0..ROUNDS {
                metrics.sent_at_once(std::hint::black_box(100), u64::from(n));
            }
        };
        for threads in [1, 2] {
            let start = std::time::Instant::now();
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(count);
                }
            });
            println!("{threads} threads: {:?} per send", start.elapsed() / ROUNDS);
        }
    }
}
