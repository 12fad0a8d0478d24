//! The metrics of a node of a cluster: its calls to Redis, and what did not come by itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::redis::Redis;
use crate::metrics::Families;

pub(super) fn push_engine(page: &mut Families, redis: &Redis) {
    let metrics = redis.metrics();
    page.gauge(
        "pubsub_engine_up",
        "1 while every Redis of the cluster can be used, else 0",
        usize::from(redis.is_up()),
    );
    let counters: [(&str, &str, &AtomicU64); 8] = [
        (
            "pubsub_engine_calls",
            "Exchanges with Redis, each of one or more commands",
            &metrics.calls,
        ),
        (
            "pubsub_engine_call_micros",
            "Microseconds that these exchanges took, all together",
            &metrics.call_micros,
        ),
        (
            "pubsub_engine_entries",
            "Batches of events that this node published",
            &metrics.entries,
        ),
        (
            "pubsub_engine_entry_events",
            "Events in these batches",
            &metrics.entry_events,
        ),
        (
            "pubsub_engine_reads",
            "Times that a topic was read again because an entry was missing or did not fit",
            &metrics.reads,
        ),
        (
            "pubsub_engine_overruns",
            "Entries that came faster than this node could append them, and were read again",
            &metrics.overruns,
        ),
        (
            "pubsub_engine_divergences",
            "Epochs that this node ended because Redis had lost events",
            &metrics.divergences,
        ),
        (
            "pubsub_engine_reconnects",
            "Times that this node connected to a Redis again",
            &metrics.reconnects,
        ),
    ];
    for (name, help, counter) in counters {
        page.counter(name, help, counter.load(Ordering::Relaxed));
    }
}
