//! Metrics: counters of the server, and their text in OpenMetrics or the older Prometheus format.
//!
//! Counting is one addition per send, not per event, to a counter of few threads ([`counters`]). Values that can be read
//! directly, such as the number of topics, are read when the page is written, and not counted here. Atomics only, no locks:
//! nothing in the server depends on a count.

mod counters;
mod exposition;
mod family;
mod histogram;
mod process;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use counters::Tally;
pub(crate) use family::{Families, Unit, Value};
pub(crate) use histogram::{Distribution, Latency};
pub(crate) use process::push_process;
pub(crate) use text::Format;

use crate::access::Refused;
use crate::config::OverflowPolicy;
use counters::Sharded;

/// The metrics of a server, shared by all its parts.
pub(crate) type SharedMetrics = Arc<Metrics>;

/// Counts since the server started.
#[derive(Debug)]
pub(crate) struct Metrics {
    hot: Sharded<Hot>,
    /// From the arrival of a publish to its ack.
    pub(crate) publish_latency: Latency,
    /// From the time of an event to the end of the fan-out that sent it.
    pub(crate) fan_out_latency: Latency,
    /// From the time of an event to the end of the write by a writer thread that sent it.
    pub(crate) writer_latency: Latency,
    accepted: AtomicU64,
    duplicates: AtomicU64,
    presence_notices: AtomicU64,
    websockets_opened: AtomicU64,
    event_streams_opened: AtomicU64,
    undelivered: AtomicU64,
    topics_auto_created: AtomicU64,
    topics_expired: AtomicU64,
    expired: AtomicU64,
    rate_limited_requests: AtomicU64,
    pub(crate) rejected: Tally<5>,
    pub(crate) disconnects: Tally<16>,
    dropped: Tally<3>,
    pub(crate) gaps: Tally<3>,
    pub(crate) resumes: Tally<4>,
    pub(crate) auth_failures: Tally<3>,
    pub(crate) tls_handshakes: Tally<3>,
    pub(crate) tokens_refused: Tally<{ Refused::LABELS.len() }>,
    pub(crate) jwks_refreshes: Tally<2>,
}

/// Counted with every send. The counters of a thread are adjacent, so that a send touches one cache line.
#[derive(Debug, Default)]
struct Hot {
    published: AtomicU64,
    delivered: AtomicU64,
    fast_sends: AtomicU64,
    slow_writes: AtomicU64,
    received: [AtomicU64; Protocol::ALL.len()],
    sent: [AtomicU64; Protocol::ALL.len()],
}

/// The protocol of a connection, or of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    WebSocket,
    /// Server-Sent Events. Their requests count as HTTP.
    EventStream,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 3] =
        [Protocol::Http, Protocol::WebSocket, Protocol::EventStream];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::WebSocket => "websocket",
            Protocol::EventStream => "sse",
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
            duplicates: AtomicU64::new(0),
            presence_notices: AtomicU64::new(0),
            websockets_opened: AtomicU64::new(0),
            event_streams_opened: AtomicU64::new(0),
            undelivered: AtomicU64::new(0),
            topics_auto_created: AtomicU64::new(0),
            topics_expired: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            rate_limited_requests: AtomicU64::new(0),
            rejected: Tally::new(["full", "address", "no_descriptor", "no_thread", "user"]),
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
                "token_expired",
                "administrator",
                "topic_deleted",
                "subscription_replaced",
                "internal",
            ]),
            dropped: Tally::new(OverflowPolicy::ALL.map(OverflowPolicy::as_str)),
            gaps: Tally::new(["slow_consumer", "history_evicted", "epoch_changed"]),
            resumes: Tally::new(["recovered", "history_evicted", "epoch_changed", "refused"]),
            auth_failures: Tally::new(["rest", "handshake", "connection"]),
            tls_handshakes: Tally::new(["ok", "failed", "plain_http"]),
            tokens_refused: Tally::new(Refused::LABELS),
            jwks_refreshes: Tally::new(["ok", "failed"]),
        }
    }
}

impl Metrics {
    /// Counts published events.
    pub(crate) fn published(&self, events: u64) {
        add(&self.hot.mine().published, events);
    }

    /// Counts idempotent messages that were not published again.
    pub(crate) fn duplicates(&self, messages: u64) {
        add(&self.duplicates, messages);
    }

    /// Counts a send on the fast path, with its bytes and the events that it completed.
    pub(crate) fn sent_at_once(&self, protocol: Protocol, bytes: usize, events: u64) {
        let mine = self.hot.mine();
        add(&mine.fast_sends, 1);
        add(&mine.sent[protocol as usize], bytes as u64);
        if events > 0 {
            add(&mine.delivered, events);
        }
    }

    /// Counts a write by a writer thread.
    pub(crate) fn written(&self, protocol: Protocol, bytes: usize) {
        let mine = self.hot.mine();
        add(&mine.slow_writes, 1);
        add(&mine.sent[protocol as usize], bytes as u64);
    }

    /// Counts events completed by a writer thread.
    pub(crate) fn delivered(&self, events: u64) {
        add(&self.hot.mine().delivered, events);
    }

    /// All delivered events.
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

    /// Counts a request that was refused because its address sends too many.
    pub(crate) fn request_rate_limited(&self) {
        add(&self.rate_limited_requests, 1);
    }

    /// Counts a connection that left HTTP for this protocol.
    pub(crate) fn opened(&self, protocol: Protocol) {
        match protocol {
            Protocol::Http => {}
            Protocol::WebSocket => add(&self.websockets_opened, 1),
            Protocol::EventStream => add(&self.event_streams_opened, 1),
        }
    }

    /// Counts events that a subscription misses because of the overflow policy.
    pub(crate) fn dropped(&self, policy: OverflowPolicy, events: u64) {
        self.dropped.add(policy.as_str(), events);
    }

    /// Counts events that were queued for a connection when it ended for another reason than slowness.
    pub(crate) fn undelivered(&self, events: u64) {
        add(&self.undelivered, events);
    }

    /// Counts notices of who is subscribed.
    pub(crate) fn presence_notices(&self, notices: u64) {
        add(&self.presence_notices, notices);
    }

    /// Counts a topic that was created by its first subscribe or publish.
    pub(crate) fn topic_auto_created(&self) {
        add(&self.topics_auto_created, 1);
    }

    /// Counts a topic that was deleted because nobody used it.
    pub(crate) fn idle_topic_deleted(&self) {
        add(&self.topics_expired, 1);
    }

    /// Counts events whose memory was freed because of their age.
    pub(crate) fn expired_events(&self, events: u64) {
        add(&self.expired, events);
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
    fn counts_of_many_threads_add_up() {
        let metrics = Metrics::default();
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| metrics.sent_at_once(Protocol::WebSocket, 10, 2));
                });
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
                metrics.sent_at_once(Protocol::WebSocket, std::hint::black_box(100), u64::from(n));
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
