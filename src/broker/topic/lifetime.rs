//! How long a topic and its events live: which events have left the history by age, and when the topic was last used.
//!
//! The history is cut when it is read, to the microsecond. The memory of expired events is freed a little later, in steps, by
//! the thread behind the [`TopicQueue`](crate::broker::topic_queue::TopicQueue).

use std::time::{Duration, Instant};

use super::{State, Topic};
use crate::protocol::{Timestamp, as_micros};

/// The memory of expired events is freed this much of their time to live later, within these bounds.
const STEPS_PER_TTL: u32 = 8;
const MIN_STEP: Duration = Duration::from_millis(100);
const MAX_STEP: Duration = Duration::from_secs(10);
/// Events that are evicted under one hold of the topic's lock.
const MAX_EVICTED: usize = 1024;

/// How long a topic and its events live; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// An event older than this leaves the history.
    pub(crate) history_ttl: Option<Duration>,
    /// A topic without a subscription that was not used for longer is deleted.
    pub(crate) idle: Option<Duration>,
}

impl Lifetimes {
    /// An event from before this time, in microseconds since 1970, has left the history; `None` if none leaves it by age.
    pub(crate) fn oldest_time(&self) -> Option<u64> {
        let ttl = self.history_ttl?;
        Some(Timestamp::now_micros().saturating_sub(as_micros(ttl)))
    }
}

/// A setting of 0 is for ever.
pub(crate) fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// The lifetimes of a topic, and what they need. Guarded by the topic's lock.
pub(super) struct Expiry {
    lifetimes: Lifetimes,
    /// Whether there is any lifetime: the only thing that a publish to a topic without one looks at.
    is_on: bool,
    /// The creation, the last publish, or the end of the last subscription. Only kept up while `idle` is set.
    last_used: Instant,
    /// Whether the topic is in the expiry queue.
    is_queued: bool,
    /// Everything up to this position has left the history by age, also if the time to live was raised later.
    expired: u64,
}

impl Expiry {
    pub(super) fn new(lifetimes: Lifetimes) -> Expiry {
        Expiry {
            lifetimes,
            is_on: lifetimes != Lifetimes::default(),
            last_used: Instant::now(),
            is_queued: false,
            expired: 0,
        }
    }

    pub(super) fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// Something expires earlier than what the topic may be in the queue for: [`Topic::begin_queueing`] must follow.
    pub(super) fn queue_again(&mut self) {
        self.is_queued = false;
    }

    /// Notes a publish, or the end of the last subscription.
    pub(super) fn used(&mut self) {
        if self.lifetimes.idle.is_some() {
            self.last_used = Instant::now();
        }
    }
}

impl State {
    /// Everything up to this position has left the history by age.
    pub(super) fn expired(&self) -> u64 {
        let Expiry {
            lifetimes, expired, ..
        } = self.expiry;
        match lifetimes.oldest_time() {
            Some(oldest) => self.log.last_before(oldest).max(expired),
            None => expired,
        }
    }

    /// Changes the lifetimes; [`Topic::queue_expiry_again`] must follow. What has expired stays so.
    pub(super) fn set_lifetimes(&mut self, lifetimes: Lifetimes) {
        let expired = self.expired();
        let expiry = &mut self.expiry;
        let idle_was_off = expiry.lifetimes.idle.is_none();
        expiry.expired = expired;
        expiry.lifetimes = lifetimes;
        expiry.is_on = lifetimes != Lifetimes::default();
        if idle_was_off {
            // When it was last used is not known.
            expiry.used();
        }
    }

    /// The position that every live subscription has reached. A replay counts as read.
    pub(super) fn slowest_position(&self) -> u64 {
        let positions = self.subscribers.iter().map(|one| one.position());
        positions.min().unwrap_or(u64::MAX)
    }

    /// Whether the topic would be deleted at this time because nobody uses it.
    fn is_idle(&self, now: Instant) -> bool {
        let idle_at = self.idle_at();
        !self.deleted && idle_at.is_some_and(|at| at <= now)
    }

    fn idle_at(&self) -> Option<Instant> {
        // Of a topic of the cluster Redis knows when it was used.
        let is_unused = self.subscribers.len() == 0 && self.mirror.is_none();
        let idle = self.expiry.lifetimes.idle.filter(|_| is_unused)?;
        self.expiry.last_used.checked_add(idle)
    }

    /// When the oldest retained event expires.
    fn oldest_expires_at(&self, now: Instant) -> Option<Instant> {
        let ttl = self.expiry.lifetimes.history_ttl?;
        let oldest = self.log.after(0).next()?;
        let expires = oldest.ts_micros().saturating_add(as_micros(ttl));
        let left = expires.saturating_sub(Timestamp::now_micros());
        now.checked_add(Duration::from_micros(left))
    }

    /// Whether a publish must see to it that something expires.
    pub(super) fn expires(&self) -> bool {
        self.expiry.is_on || self.remembered.is_some()
    }

    /// When there may be something to expire; for events and ids not before the step that belongs to the time they live.
    fn due(&self, now: Instant, step_of: fn(Duration) -> Duration) -> Option<Instant> {
        let ttl = self.expiry.lifetimes.history_ttl.unwrap_or_default();
        let events = self.oldest_expires_at(now);
        let events = events.map(|at| at.max(now + step_of(ttl)));
        let ids = self.remembered.as_ref().and_then(|ids| {
            let step = step_of(ids.window());
            ids.oldest_expires_at().map(|at| at.max(now + step))
        });
        [events, ids, self.idle_at()].into_iter().flatten().min()
    }
}

impl Topic {
    /// Puts the topic into the expiry queue if there will be something to expire and it is not in it. Called with no lock
    /// held.
    pub(in crate::broker) fn queue_expiry(&self) {
        let mut state = self.state.write();
        let due = self.begin_queueing(&mut state);
        drop(state);
        self.finish_queueing(due);
    }

    /// The part of [`Topic::queue_expiry`] under the lock: when the topic is due, if it was not in the queue.
    pub(super) fn begin_queueing(&self, state: &mut State) -> Option<Instant> {
        if !state.expires() || state.expiry.is_queued || state.deleted {
            return None;
        }
        let due = state.due(Instant::now(), |_| Duration::ZERO);
        state.expiry.is_queued = due.is_some();
        due
    }

    /// The part of [`Topic::queue_expiry`] without the lock.
    pub(super) fn finish_queueing(&self, due: Option<Instant>) {
        if let Some(at) = due {
            self.queues.expiry.add(self.key, at);
        }
    }

    /// Refuses further publishes and subscribes if nobody has used the topic for as long as its idle time: it is to be
    /// deleted. Decided and done in one step, so that no publish or subscribe that was acknowledged is lost.
    pub(in crate::broker) fn close_if_idle(&self, now: Instant) -> bool {
        let mut state = self.state.write();
        let is_idle = state.is_idle(now);
        state.deleted |= is_idle;
        is_idle
    }

    /// Frees the memory of expired events and ids, and puts the topic into the expiry queue again if there will be more to expire.
    /// Called when the topic was taken out of the queue.
    pub(in crate::broker) fn expire_history(&self) {
        while self.evict_expired() {}
        let mut state = self.state.write();
        let now = Instant::now();
        state.expire_ids(now);
        self.update_figures(&state);
        let step_of = |time: Duration| (time / STEPS_PER_TTL).clamp(MIN_STEP, MAX_STEP);
        let due = (!state.deleted).then(|| state.due(now, step_of));
        state.expiry.is_queued = due.flatten().is_some();
        drop(state);
        self.finish_queueing(due.flatten());
    }

    /// Evicts some expired events; returns `false` if there are no more. Never evicts what a live subscription has not read,
    /// or what was not fanned out.
    fn evict_expired(&self) -> bool {
        let mut state = self.state.write();
        if state.deleted {
            // Its subscribers still read.
            return false;
        }
        let expired = state.expired();
        state.expiry.expired = expired;
        let read = state.slowest_position();
        let evictable = expired.min(read).min(self.fan_out.seq());
        let first = state.log.first_seq();
        let upto = evictable.min((first - 1).saturating_add(MAX_EVICTED as u64));
        if upto < first {
            return false;
        }
        state.log.evict_upto(upto);
        self.metrics().expired_events(upto + 1 - first);
        self.update_figures(&state);
        upto < evictable
    }

    /// Corrects the time in the expiry queue after a change of the lifetimes.
    pub(super) fn queue_expiry_again(&self) {
        self.state.write().expiry.is_queued = false;
        self.queue_expiry();
    }
}
