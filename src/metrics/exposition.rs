//! The metric families of the counters: names, help texts, labels.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Families, Hot, Metrics, Protocol};

impl Metrics {
    /// Appends all counters.
    pub(crate) fn push(&self, page: &mut Families) {
        self.push_connections(page);
        self.push_messages(page);
        self.push_latencies(page);
    }

    fn push_connections(&self, page: &mut Families) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.counter(
            "pubsub_connections_accepted",
            "Accepted connections of every kind",
            count(&self.accepted),
        );
        page.counters(
            "pubsub_connections_rejected",
            "Connections rejected for lack of capacity or over a limit, and requests behind a proxy whose address has too many",
            "reason",
            self.rejected.counts(),
        );
        page.counter(
            "pubsub_requests_rate_limited",
            "REST requests refused because their address sent too many",
            count(&self.rate_limited_requests),
        );
        page.counter(
            "pubsub_websockets_opened",
            "Connections upgraded to a WebSocket",
            count(&self.websockets_opened),
        );
        page.counter(
            "pubsub_event_streams_opened",
            "Connections that became a stream of Server-Sent Events",
            count(&self.event_streams_opened),
        );
        page.counters(
            "pubsub_disconnects",
            "WebSockets and event streams that ended",
            "reason",
            self.disconnects.counts(),
        );
        page.counters(
            "pubsub_auth_failures",
            "Requests and handshakes refused, and connections closed, without a valid credential",
            "door",
            self.auth_failures.counts(),
        );
        page.counters(
            "pubsub_tls_handshakes",
            "TLS handshakes",
            "result",
            self.tls_handshakes.counts(),
        );
        page.counters(
            "pubsub_tokens_refused",
            "Credentials that are the secret of no key and no valid token, where tokens are configured",
            "reason",
            self.tokens_refused.counts(),
        );
        page.counters(
            "pubsub_jwks_refreshes",
            "Fetches of the public keys of tokens from a URL",
            "result",
            self.jwks_refreshes.counts(),
        );
        let bytes = |pick: fn(&Hot) -> &[AtomicU64; Protocol::ALL.len()]| {
            Protocol::ALL.map(|protocol| {
                let bytes = self.hot.sum(|hot| &pick(hot)[protocol as usize]);
                (protocol.as_str(), bytes)
            })
        };
        page.byte_counters(
            "pubsub_received",
            "Bytes read from clients",
            "protocol",
            bytes(|hot| &hot.received),
        );
        page.byte_counters(
            "pubsub_sent",
            "Bytes written to the sockets of clients",
            "protocol",
            bytes(|hot| &hot.sent),
        );
    }

    fn push_messages(&self, page: &mut Families) {
        page.counter(
            "pubsub_messages_published",
            "Messages published",
            self.hot.sum(|hot| &hot.published),
        );
        page.counter(
            "pubsub_messages_duplicate",
            "Idempotent messages that were not published again",
            self.duplicates.load(Ordering::Relaxed),
        );
        page.counter(
            "pubsub_presence_notices",
            "Notices of who is subscribed, written or queued, counted once per watcher",
            self.presence_notices.load(Ordering::Relaxed),
        );
        page.counter(
            "pubsub_messages_delivered",
            "Events written to the sockets of subscribers, counted once per subscriber",
            self.hot.sum(|hot| &hot.delivered),
        );
        page.counters(
            "pubsub_messages_dropped",
            "Events skipped because a subscriber was slow, counted once per subscriber",
            "policy",
            self.dropped.counts(),
        );
        page.counter(
            "pubsub_messages_undelivered",
            "Events still queued for a subscriber when its connection ended for another reason than slowness",
            self.undelivered.load(Ordering::Relaxed),
        );
        page.counter(
            "pubsub_events_expired",
            "Events whose memory was freed because they were older than the time to live of their topic",
            self.expired.load(Ordering::Relaxed),
        );
        page.counter(
            "pubsub_topics_auto_created",
            "Topics created by their first subscribe or publish",
            self.topics_auto_created.load(Ordering::Relaxed),
        );
        page.counter(
            "pubsub_topics_expired",
            "Topics deleted because nobody used them",
            self.topics_expired.load(Ordering::Relaxed),
        );
        page.counters(
            "pubsub_gaps",
            "Gaps reported to subscribers",
            "reason",
            self.gaps.counts(),
        );
        page.counters(
            "pubsub_resumes",
            "Subscriptions that resumed after a position",
            "result",
            self.resumes.counts(),
        );
        page.counters(
            "pubsub_sends",
            "Sends to WebSockets and event streams: fast on the publishing thread, slow by a writer thread",
            "path",
            [
                ("fast", self.hot.sum(|hot| &hot.fast_sends)),
                ("slow", self.hot.sum(|hot| &hot.slow_writes)),
            ],
        );
    }

    fn push_latencies(&self, page: &mut Families) {
        page.latencies(
            "pubsub_publish_latency",
            "From the arrival of publishes to their acks, counted once per batch",
            &[("", &self.publish_latency)],
        );
        page.latencies(
            "pubsub_delivery_latency",
            "Age of the oldest event at the end of a fan-out (fast) or of a write by a writer thread (slow)",
            &[
                ("fast", &self.fan_out_latency),
                ("slow", &self.writer_latency),
            ],
        );
    }
}
