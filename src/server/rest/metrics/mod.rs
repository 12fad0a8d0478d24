//! `/metrics`: counters, and the current state, on one page.
//!
//! The current state is read topic by topic and subscription by subscription. No lock is held across them.

mod engine;
mod topics;

use std::sync::Arc;

use super::Api;
use crate::broker::{Engine, Topic};
use crate::metrics::{Distribution, Families, Format, Value, push_process};
use crate::server::http::{Problem, Request, Response};
use crate::server::panics::Panics;

/// Bounds of the buckets of lags, in events.
const LAG_BOUNDS: [u64; 14] = [
    0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 10_000, 100_000, 1_000_000,
];

/// The memory to read a topic, to read a subscription, and to write the series of a topic.
const TOPIC_BYTES: usize = 64;
const SUBSCRIPTION_BYTES: usize = 32;
const TOPIC_SERIES_BYTES: usize = 2500;

/// What only the metrics show of the server.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    pub(crate) panics: Panics,
    pub(crate) max_connections: usize,
    pub(crate) max_memory_bytes: usize,
    /// How many topics have series of their own.
    pub(crate) metrics_topics: usize,
}

impl Api {
    pub(super) fn metrics(&self, format: Format, request: &Request) -> Result<Response, Problem> {
        let expected = self.expected_page_bytes();
        if expected > request.max_response_bytes {
            return Ok(Response::needs_memory(expected));
        }
        let mut page = Families::default();
        let topics = self.broker.local_topics();
        self.push_server(&mut page, topics.len());
        self.broker.metrics().push(&mut page);
        if let Engine::Redis(redis) = self.broker.engine() {
            engine::push_engine(&mut page, redis);
        }
        push_subscriptions(&mut page, &topics);
        if self.vitals.metrics_topics > 0 {
            topics::push_topics(&mut page, &topics, self.vitals.metrics_topics);
        }
        push_process(&mut page);
        let page = format.write(page).map_err(|_| Problem::internal())?;
        let content_type = format.content_type();
        Ok(Response::new(200, content_type, page.into_bytes()).with_header("Vary", "Accept"))
    }

    /// The memory to write the page. It counts every topic and subscription, because reading them takes time.
    fn expected_page_bytes(&self) -> usize {
        let topics = self.broker.local_topics().len();
        let with_series = topics.min(self.vitals.metrics_topics);
        topics * TOPIC_BYTES
            + with_series * TOPIC_SERIES_BYTES
            + self.broker.local_subscriptions() * SUBSCRIPTION_BYTES
    }

    fn push_server(&self, page: &mut Families, topics: usize) {
        let vitals = &self.vitals;
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        page.info("pubsub_build", "The version of the server", version);
        let draining = usize::from(self.broker.is_draining());
        page.gauge(
            "pubsub_draining",
            "1 from the moment the server shuts down, else 0",
            draining,
        );
        page.counter(
            "pubsub_panics",
            "Panics, each of which ended one connection or one request at most",
            vitals.panics.count(),
        );
        page.gauge(
            "pubsub_connections",
            "Connections that are open, REST and WebSocket",
            self.connections.count(),
        );
        page.gauge(
            "pubsub_max_connections",
            "How many connections may be open",
            vitals.max_connections,
        );
        page.gauge("pubsub_topics", "Topics", topics);
        page.gauge(
            "pubsub_subscriptions",
            "Subscriptions",
            self.broker.local_subscriptions(),
        );
        page.gauge(
            "pubsub_patterns",
            "Patterns that clients are subscribed to",
            self.broker.patterns().count(),
        );
        page.bytes(
            "pubsub_history",
            "Retained events of all topics",
            self.broker.retained_bytes() as u64,
        );
        page.bytes(
            "pubsub_memory",
            "Memory that the retained events and the remembered ids of all topics take",
            self.broker.held_bytes() as u64,
        );
        page.bytes(
            "pubsub_max_memory",
            "How much memory the retained events of all topics may take",
            vitals.max_memory_bytes as u64,
        );
    }
}

fn push_subscriptions(page: &mut Families, topics: &[Arc<Topic>]) {
    let (mut lags, mut max) = (Distribution::new(&LAG_BOUNDS), 0);
    let mut watchers: usize = 0;
    for topic in topics {
        topic.each_subscription(|subscription| {
            watchers += usize::from(subscription.watches());
            if let Some(lag) = subscription.lag() {
                lags.add(lag);
                max = max.max(lag);
            }
        });
    }
    page.gauge(
        "pubsub_presence_watchers",
        "Subscriptions that hear who else is subscribed",
        watchers,
    );
    page.one(
        "pubsub_subscriber_lag",
        "How many live events subscriptions are behind the newest of their topic, now",
        Value::Snapshot(lags),
    );
    page.one(
        "pubsub_subscriber_lag_max",
        "How many live events the subscription furthest behind is behind the newest",
        Value::Gauge(max),
    );
}
