//! Changes the settings of a topic while it is in use.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Lifetimes, State, Topic, TopicSettings};
use crate::broker::ReadBatch;
use crate::config::OverflowPolicy;
use crate::sync::Arc;

/// What threads read of the settings without the topic's lock. Written under it, so whoever holds it sees one state. The
/// bounds of the log are with the log.
pub(super) struct LiveSettings {
    max_queue_size: AtomicUsize,
    /// The index in [`OverflowPolicy::ALL`].
    overflow: AtomicU8,
    pub(super) block_timeout: Duration,
    pub(super) idempotency_window: Duration,
}

/// New values for some settings of a topic; `None` leaves a setting as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TopicChange {
    pub(crate) history_size: Option<usize>,
    pub(crate) max_queue_size: Option<usize>,
    pub(crate) overflow: Option<OverflowPolicy>,
    pub(crate) history_ttl: Option<Option<Duration>>,
    pub(crate) idle: Option<Option<Duration>>,
}

impl LiveSettings {
    pub(super) fn new(settings: &TopicSettings) -> LiveSettings {
        LiveSettings {
            max_queue_size: AtomicUsize::new(settings.bounds.max_queue_size),
            overflow: AtomicU8::new(index_of(settings.overflow)),
            block_timeout: settings.block_timeout,
            idempotency_window: settings.idempotency_window,
        }
    }

    fn store(&self, settings: &TopicSettings) {
        let overflow = index_of(settings.overflow);
        self.overflow.store(overflow, Ordering::Relaxed);
        let queue = settings.bounds.max_queue_size;
        self.max_queue_size.store(queue, Ordering::Relaxed);
    }

    pub(super) fn max_queue_size(&self) -> usize {
        self.max_queue_size.load(Ordering::Relaxed)
    }

    pub(super) fn overflow(&self) -> OverflowPolicy {
        OverflowPolicy::ALL[usize::from(self.overflow.load(Ordering::Relaxed))]
    }
}

fn index_of(policy: OverflowPolicy) -> u8 {
    let at = OverflowPolicy::ALL.iter().position(|one| *one == policy);
    at.unwrap_or_default() as u8
}

impl TopicChange {
    /// These settings, changed.
    pub(in crate::broker) fn applied_to(&self, settings: &TopicSettings) -> TopicSettings {
        let mut bounds = settings.bounds;
        bounds.history_size = self.history_size.unwrap_or(bounds.history_size);
        bounds.max_queue_size = self.max_queue_size.unwrap_or(bounds.max_queue_size);
        TopicSettings {
            bounds,
            overflow: self.overflow.unwrap_or(settings.overflow),
            block_timeout: settings.block_timeout,
            idempotency_window: settings.idempotency_window,
            lifetimes: self.lifetimes(settings.lifetimes),
        }
    }

    fn lifetimes(&self, before: Lifetimes) -> Lifetimes {
        Lifetimes {
            history_ttl: self.history_ttl.unwrap_or(before.history_ttl),
            idle: self.idle.unwrap_or(before.idle),
        }
    }
}

impl Topic {
    /// Takes over the settings that the topic has in the cluster.
    pub(in crate::broker) fn adopt(self: &Arc<Topic>, settings: &TopicSettings) {
        if self.settings() == *settings {
            return;
        }
        let bounds = settings.bounds;
        self.change(&TopicChange {
            history_size: Some(bounds.history_size),
            max_queue_size: Some(bounds.max_queue_size),
            overflow: Some(settings.overflow),
            history_ttl: Some(settings.lifetimes.history_ttl),
            idle: Some(settings.lifetimes.idle),
        });
    }

    /// Changes settings at once: evicts what exceeds a smaller history, and reports to each subscriber what exceeds a smaller
    /// queue. Returns `false` if the topic was deleted. Called with no lock held.
    pub(in crate::broker) fn change(self: &Arc<Topic>, change: &TopicChange) -> bool {
        if !self.set(change) {
            return false;
        }
        if let Some(block_timeout) = self.block_timeout() {
            for subscription in self.subscribers().iter() {
                subscription.may_hold_publishers(block_timeout);
            }
        }
        self.queue_expiry_again();
        // Publishers that wait may have room now, or have to wait for other reasons.
        self.gate.notify();
        // A round skips what no longer fits the queues, or ends those that are too slow, as after a publish.
        self.fan_out(&mut ReadBatch::default());
        true
    }

    fn set(&self, change: &TopicChange) -> bool {
        let mut guard = self.state.write();
        let state = &mut *guard;
        if state.deleted {
            return false;
        }
        let settings = change.applied_to(&self.settings_in(state));
        self.settings.store(&settings);
        let evictable = self.evictable_in(state);
        state.log.set_bounds(settings.bounds, evictable);
        self.update_figures(state);
        state.set_lifetimes(settings.lifetimes);
        true
    }

    /// Everything up to this position may be evicted for smaller bounds: what was fanned out, and under the `block` policy
    /// only what every subscriber has read.
    fn evictable_in(&self, state: &State) -> u64 {
        let fanned_out = self.fan_out.seq();
        match self.overflow() {
            OverflowPolicy::Block => fanned_out.min(state.slowest_position()),
            _ => fanned_out,
        }
    }
}
