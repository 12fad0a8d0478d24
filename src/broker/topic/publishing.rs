//! Publishing to a topic: append where there is room, and wait for room at the gate where there is none.

use std::time::{Duration, Instant};

use super::{State, Topic};
use crate::broker::ReadBatch;
use crate::broker::gate::{Waited, Waiter};
use crate::config::OverflowPolicy;
use crate::protocol::{Message, NewEvent, Timestamp};
use crate::sync::{Arc, Ordering};

/// Events and bytes that may be published and not fanned out yet: above that, publishers wait for the fan-out. A round reads
/// as much for a subscriber, so that one that keeps up gets everything in it. One event is let in, however large.
const MAX_WAITING_BYTES: u64 = 128 << 10;
const MAX_WAITING_EVENTS: u64 = if cfg!(shuttle) { 4 } else { 1024 };
/// Under the `block` policy a subscriber may hold what is in flight beyond its queue, so the bound is smaller.
const MIN_WAITING_BLOCK_EVENTS: u64 = if cfg!(shuttle) { 2 } else { 64 };

/// How often a publisher that waits looks whether its connection is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(if cfg!(shuttle) { 3_600_000 } else { 50 });

/// What a message became.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) seq: u64,
    pub(crate) ts: Timestamp,
    pub(crate) event_bytes: usize,
}

/// What an event is numbered with before it is appended.
#[derive(Debug, Clone, Copy)]
struct Number {
    seq: u64,
    ts: Timestamp,
}

impl Number {
    /// The next of the topic. Its time is when the message arrived, unless that would make the topic's time go back.
    fn next(state: &State, arrived: Timestamp) -> Number {
        Number {
            seq: state.log.head() + 1,
            ts: arrived.max(state.newest),
        }
    }
}

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishError {
    Deleted,
    /// There is no room for it yet, or others wait for theirs: see [`Topic::join_line`].
    Full {
        event_bytes: usize,
    },
    ShuttingDown,
}

/// Why a publisher waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// It has waited for a slow subscriber as long as a publish may.
    TimedOut,
    /// The caller called it off.
    Cancelled,
}

/// A publisher's place in the line of a topic. It is left when this is dropped.
pub(crate) struct Place {
    topic: Arc<Topic>,
    waiter: Arc<Waiter>,
    /// When a publish that began to wait with this place must come to an end; only under the `block` policy.
    deadline: Option<Instant>,
}

impl Topic {
    /// Appends a message, with the ticket of a [`Place`] if the publisher has one. Never waits; delivers nothing: see
    /// [`Topic::fan_out`].
    pub(crate) fn try_publish(
        &self,
        message: &Message<'_>,
        arrived: Timestamp,
        ticket: Option<u64>,
    ) -> Result<Published, PublishError> {
        let is_let_through = self.gate.lets_through(ticket);
        let mut state = self.state.write();
        if self.draining.load(Ordering::SeqCst) {
            return Err(PublishError::ShuttingDown);
        }
        if state.deleted {
            return Err(PublishError::Deleted);
        }
        let number = Number::next(&state, arrived);
        let event = NewEvent::new(&self.name, message, number.seq, number.ts);
        let event_bytes = event.frame_len();
        // Read once: a round that ends now must not let the append evict more than the check for room considered.
        let fanned_out = self.fan_out.seq();
        if !is_let_through || !self.has_room(&mut state, event_bytes, fanned_out) {
            return Err(PublishError::Full { event_bytes });
        }
        self.append(&mut state, &event, number, fanned_out);
        drop(state);
        if self.memory_budget.is_exceeded() {
            self.memory_budget.evict_to_budget();
        }
        Ok(Published {
            seq: number.seq,
            ts: number.ts,
            event_bytes,
        })
    }

    /// Appends an event that has its number, evicting what was fanned out. Called under the topic's lock.
    fn append(&self, state: &mut State, event: &NewEvent<'_>, number: Number, fanned_out: u64) {
        state.log.append(event, fanned_out);
        state.newest = number.ts;
        self.fan_out.published_at(number.ts.micros());
        self.head.store(number.seq, Ordering::Release);
        self.update_figures(&state.log);
    }

    /// Joins the line of those who wait for room. Called with nothing left to fan out.
    pub(crate) fn join_line(self: &Arc<Topic>) -> Place {
        Place {
            topic: Arc::clone(self),
            waiter: self.gate.join(),
            deadline: self.block_timeout().map(|timeout| Instant::now() + timeout),
        }
    }

    /// Whether so much waits for the fan-out that a publisher should fan out before it goes on.
    pub(crate) fn is_behind(&self) -> bool {
        let waiting = self.head().saturating_sub(self.fan_out.seq());
        waiting >= self.max_waiting_events() / 2
    }

    /// A cursor moved, or a subscription ended: publishers may have room. Called with no lock held.
    pub(crate) fn cursor_moved(&self) {
        if self.settings.overflow == OverflowPolicy::Block {
            self.gate.notify();
        }
    }

    /// Lets every publisher see that the server is draining: the one that appends just now, and those that wait.
    pub(in crate::broker) fn drain(&self) {
        drop(self.state.write());
        self.gate.notify();
    }

    /// Whether an event of this size may be appended: the fan-out keeps up, and under the `block` policy no event that a
    /// subscriber has still to get would be pushed out.
    fn has_room(&self, state: &mut State, event_bytes: usize, fanned_out: u64) -> bool {
        !self.is_window_full(state, event_bytes)
            && (self.settings.overflow != OverflowPolicy::Block
                || self.subscribers_leave_room(state, event_bytes, fanned_out))
    }

    /// Whether too much is published and not fanned out yet.
    fn is_window_full(&self, state: &State, event_bytes: usize) -> bool {
        let events = state.log.head().saturating_sub(self.fan_out.seq());
        let fanned_out_bytes = self.fan_out.bytes();
        let bytes = state.log.total_bytes().saturating_sub(fanned_out_bytes) + event_bytes as u64;
        events > 0 && (events >= self.max_waiting_events() || bytes > MAX_WAITING_BYTES)
    }

    fn max_waiting_events(&self) -> u64 {
        let queue = self.max_queue_size() as u64;
        match self.settings.overflow {
            OverflowPolicy::Block => queue.clamp(MIN_WAITING_BLOCK_EVENTS, MAX_WAITING_EVENTS),
            _ => MAX_WAITING_EVENTS,
        }
    }

    fn subscribers_leave_room(
        &self,
        state: &mut State,
        event_bytes: usize,
        fanned_out: u64,
    ) -> bool {
        let required = self.required_position(state, event_bytes, fanned_out);
        if state.slowest < required {
            let head = state.log.head();
            let positions = state.subscribers.iter().map(|s| s.position());
            state.slowest = positions.min().unwrap_or(head).min(head);
        }
        state.slowest >= required
    }

    /// The position every subscriber must have reached before an event of this size may be appended, under the `block`
    /// policy. What is not fanned out yet is in nobody's queue.
    fn required_position(&self, state: &State, event_bytes: usize, fanned_out: u64) -> u64 {
        let queue = self.max_queue_size() as u64;
        (state.log.head() + 1)
            .saturating_sub(queue)
            .max(state.log.eviction_horizon(event_bytes))
            .min(fanned_out)
    }

    /// Whether a publisher has nothing to wait for: there is room, or there never will be.
    fn is_wait_over(&self, event_bytes: usize) -> bool {
        let mut state = self.state.write();
        self.draining.load(Ordering::SeqCst)
            || state.deleted
            || self.has_room(&mut state, event_bytes, self.fan_out.seq())
    }

    /// Ends the subscribers in the way of an event of this size that have taken nothing in the second half of the time
    /// that a publish may wait, which is over; `false` if there are none. In the first half a socket may still take
    /// something though its peer reads nothing any more: what the kernels had room for.
    fn end_those_without_progress(&self, event_bytes: usize, deadline: Instant) -> bool {
        let half = self.settings.block_timeout / 2;
        let since = deadline.checked_sub(half).unwrap_or(deadline);
        let fanned_out = self.fan_out.seq();
        let required = self.required_position(&self.state.read(), event_bytes, fanned_out);
        let subscribers = self.subscribers();
        let stalled = subscribers.iter().filter(|subscription| {
            subscription.position() < required && !subscription.has_progressed_since(since)
        });
        let ended = stalled.inspect(|subscription| subscription.too_slow());
        ended.count() > 0
    }
}

impl Place {
    /// What [`Topic::try_publish`] asks for.
    pub(crate) fn ticket(&self) -> u64 {
        self.waiter.ticket()
    }

    /// Whether this is a place in the line of that topic.
    pub(crate) fn is_of(&self, topic: &Arc<Topic>) -> bool {
        Arc::ptr_eq(&self.topic, topic)
    }

    /// Whether the place may be kept for further messages. Where a slow subscriber makes publishers wait, each message
    /// waits its turn.
    pub(crate) fn is_for_many(&self) -> bool {
        !self.waits_for_subscribers()
    }

    /// Whether this may be a wait for a slow subscriber, and not only for a fan-out, which waits for no peer.
    pub(crate) fn waits_for_subscribers(&self) -> bool {
        self.deadline.is_some()
    }

    /// Waits until this publisher is the first in the line and there is room for an event of this size, or nothing to
    /// wait for any more. What it waits for it does itself, if nobody else does: it fans out what others left. Called with
    /// no lock held; waits for no peer of its own.
    pub(crate) fn wait(
        &self,
        event_bytes: usize,
        batch: &mut ReadBatch,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<(), WaitError> {
        let topic = &self.topic;
        let mut look = Instant::now();
        loop {
            let now = Instant::now();
            if now >= look {
                if is_cancelled() {
                    return Err(WaitError::Cancelled);
                }
                look = now + LOOK_INTERVAL;
            }
            if self.fans_out(event_bytes, batch) {
                continue;
            }
            let until = self.deadline.map_or(look, |deadline| deadline.min(look));
            let has_room = || topic.is_wait_over(event_bytes);
            match topic.gate.wait(&self.waiter, until, has_room) {
                Waited::HasRoom => return Ok(()),
                Waited::TimedOut if Some(until) == self.deadline => {
                    if !topic.end_those_without_progress(event_bytes, until) {
                        return Err(WaitError::TimedOut);
                    }
                    return Ok(());
                }
                Waited::TimedOut | Waited::Called => {}
            }
        }
    }

    /// Fans out if the first in the line waits for that and no other thread does it.
    fn fans_out(&self, event_bytes: usize, batch: &mut ReadBatch) -> bool {
        let topic = &self.topic;
        topic.gate.is_first(self.ticket())
            && topic.is_window_full(&topic.state.read(), event_bytes)
            && topic.fan_out(batch)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.topic.gate.leave(&self.waiter);
    }
}
