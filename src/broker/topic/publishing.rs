//! Publishing to a topic: appends an event if there is room, and waits at the backpressure gate otherwise.

use std::time::{Duration, Instant};

use super::{State, Topic};
use crate::broker::ReadBatch;
use crate::broker::gate::{Waited, Waiter};
use crate::config::OverflowPolicy;
use crate::protocol::{EpochName, Message, NewEvent, Timestamp};
use crate::sync::{Arc, Ordering};

/// The most bytes and events that may be published and not fanned out yet; above that, publishers wait for the fan-out. A
/// round delivers as much to one subscriber. A single event is accepted whatever its size.
const MAX_WAITING_BYTES: u64 = 128 << 10;
const MAX_WAITING_EVENTS: u64 = if cfg!(shuttle) { 4 } else { 1024 };
/// Under the `block` policy a subscriber may lag by these events beyond its queue, so the limit is the queue size, but at
/// least this.
const MIN_WAITING_BLOCK_EVENTS: u64 = if cfg!(shuttle) { 2 } else { 64 };

/// How often a waiting publisher checks whether its wait was cancelled.
const CHECK_INTERVAL: Duration = Duration::from_millis(if cfg!(shuttle) { 3_600_000 } else { 50 });

/// The event that a message became.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) epoch: EpochName,
    pub(crate) seq: u64,
    pub(crate) ts: Timestamp,
    pub(crate) event_bytes: usize,
    /// Whether this is an earlier event, of a message that is not published again.
    pub(crate) is_duplicate: bool,
}

/// The seq and the time of an event that is about to be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) seq: u64,
    pub(super) ts: Timestamp,
}

impl Number {
    /// The next number of the topic. The time is the arrival of the message, but never before the newest event.
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
    NotFound,
    /// The topic does not exist, and there are as many topics as there may be.
    LimitReached,
    Deleted,
    /// The engine cannot be reached. The message may have been taken or not.
    Unavailable,
    /// There is no room yet, or other publishers wait for room: see [`Topic::join_line`].
    Full {
        event_bytes: usize,
    },
    ShuttingDown,
}

/// Why a publisher stopped waiting without room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// It has waited for slow subscribers for as long as a publish may.
    TimedOut,
    /// The caller cancelled the wait.
    Cancelled,
}

/// A publisher's place in the line at a topic's gate. Dropping it leaves the line.
pub(crate) struct Place {
    topic: Arc<Topic>,
    waiter: Arc<Waiter>,
    /// When the wait for subscribers times out; only under the `block` policy.
    deadline: Option<Instant>,
}

impl Topic {
    /// Appends a message, with the ticket of a [`Place`] if the publisher has one. Never waits. Does not deliver the event:
    /// see [`Topic::fan_out`].
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
        if let Some(first) = self.duplicate_of(&state, message) {
            return Ok(first);
        }
        let number = Number::next(&state, arrived);
        let event = NewEvent::new(&self.name, message, number.seq, number.ts);
        let event_bytes = event.frame_len();
        // Read once, so that the append evicts no more than the check for room considered, even if a round ends in between.
        let fanned_out = self.fan_out.seq();
        if !is_let_through || !self.has_room(&mut state, event_bytes, fanned_out) {
            return Err(PublishError::Full { event_bytes });
        }
        self.append(&mut state, &event, number, fanned_out);
        self.remember(&mut state, message, number);
        let epoch = state.epochs.current().name();
        let due = match state.expires() {
            true => {
                state.expiry.used();
                self.begin_queueing(&mut state)
            }
            false => None,
        };
        drop(state);
        self.finish_queueing(due);
        if self.memory_budget.is_exceeded() {
            self.memory_budget.evict_to_budget();
        }
        Ok(Published {
            epoch,
            seq: number.seq,
            ts: number.ts,
            event_bytes,
            is_duplicate: false,
        })
    }

    /// Appends a numbered event, and may evict events that were fanned out. Called under the topic's lock.
    fn append(&self, state: &mut State, event: &NewEvent<'_>, number: Number, fanned_out: u64) {
        state.log.append(event, fanned_out);
        state.newest = number.ts;
        self.fan_out.published_at(number.ts.micros());
        self.head.store(number.seq, Ordering::Release);
        self.update_figures(state);
    }

    /// Whether so little waits for the fan-out that a publisher of the cluster need not wait, too.
    pub(crate) fn has_window(&self, bytes: usize) -> bool {
        !self.is_window_full(&self.state.read(), bytes)
    }

    /// Joins the line of publishers that wait for room. The caller must have fanned out everything it published.
    pub(crate) fn join_line(self: &Arc<Topic>) -> Place {
        Place {
            topic: Arc::clone(self),
            waiter: self.gate.join(),
            deadline: self.block_timeout().map(|timeout| Instant::now() + timeout),
        }
    }

    /// Whether so many events wait for the fan-out that a publisher should fan out before it publishes more.
    pub(crate) fn is_behind(&self) -> bool {
        let waiting = self.head().saturating_sub(self.fan_out.seq());
        waiting >= self.max_waiting_events() / 2
    }

    /// Notifies the gate after a cursor moved or a subscription ended: there may be room. Called with no lock held.
    pub(crate) fn cursor_moved(&self) {
        if self.overflow() == OverflowPolicy::Block {
            self.gate.notify();
        }
    }

    /// Waits for an append under way, and wakes waiting publishers to see that the server is draining.
    pub(in crate::broker) fn drain(&self) {
        drop(self.state.write());
        self.gate.notify();
    }

    /// Whether an event of this size may be appended: the fan-out keeps up, and under the `block` policy the append evicts no
    /// event that a subscriber has not read yet.
    fn has_room(&self, state: &mut State, event_bytes: usize, fanned_out: u64) -> bool {
        !self.is_window_full(state, event_bytes)
            && (self.overflow() != OverflowPolicy::Block
                || self.subscribers_leave_room(state, event_bytes, fanned_out))
    }

    /// Whether too many events or bytes are published and not fanned out yet.
    pub(super) fn is_window_full(&self, state: &State, event_bytes: usize) -> bool {
        let events = state.log.head().saturating_sub(self.fan_out.seq());
        let fanned_out_bytes = self.fan_out.bytes();
        let bytes = state.log.total_bytes().saturating_sub(fanned_out_bytes) + event_bytes as u64;
        events > 0 && (events >= self.max_waiting_events() || bytes > MAX_WAITING_BYTES)
    }

    fn max_waiting_events(&self) -> u64 {
        let queue = self.max_queue_size() as u64;
        match self.overflow() {
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

    /// The position that every subscriber must have reached before an event of this size may be appended, under the `block`
    /// policy. Events that are not fanned out yet do not count towards a queue.
    fn required_position(&self, state: &State, event_bytes: usize, fanned_out: u64) -> u64 {
        let queue = self.max_queue_size() as u64;
        (state.log.head() + 1)
            .saturating_sub(queue)
            .max(state.log.eviction_horizon(event_bytes))
            .min(fanned_out)
    }

    /// Whether a publisher need not wait any longer: there is room, or there never will be.
    fn is_wait_over(&self, event_bytes: usize) -> bool {
        let mut state = self.state.write();
        self.draining.load(Ordering::SeqCst)
            || state.deleted
            || self.has_room(&mut state, event_bytes, self.fan_out.seq())
    }

    /// Called when a publish has waited for `block_timeout`. Ends the connections of the subscribers for which it waits and
    /// whose sockets took nothing in the second half of that time; returns `false` if there are none. The first half is not
    /// considered, because the kernel's buffers may take bytes for a while after the peer has stopped reading.
    fn end_stalled_subscribers(&self, event_bytes: usize, deadline: Instant) -> bool {
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
    /// The ticket for [`Topic::try_publish`].
    pub(crate) fn ticket(&self) -> u64 {
        self.waiter.ticket()
    }

    /// Whether this is a place in the line of this topic.
    pub(crate) fn is_of(&self, topic: &Arc<Topic>) -> bool {
        Arc::ptr_eq(&self.topic, topic)
    }

    /// Whether the place may be kept for further messages. Under the `block` policy each message joins the line again.
    pub(crate) fn is_for_many(&self) -> bool {
        !self.waits_for_subscribers()
    }

    /// Whether the wait may be for a slow subscriber, and not only for a fan-out, which never waits for a peer.
    pub(crate) fn waits_for_subscribers(&self) -> bool {
        self.deadline.is_some()
    }

    /// Waits until this publisher is first in the line and there is room for an event of this size, or until a retry would
    /// fail for another reason. Fans out the topic if the first in the line waits for that and no other thread does it.
    /// Called with no lock held.
    pub(crate) fn wait(
        &self,
        event_bytes: usize,
        batch: &mut ReadBatch,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<(), WaitError> {
        let topic = &self.topic;
        let mut next_check = Instant::now();
        let mut deadline = self.deadline;
        loop {
            let now = Instant::now();
            // The policy may change meanwhile.
            let block_timeout = topic.block_timeout();
            deadline = block_timeout.map(|timeout| deadline.unwrap_or(now + timeout));
            if now >= next_check {
                if is_cancelled() {
                    return Err(WaitError::Cancelled);
                }
                next_check = now + CHECK_INTERVAL;
            }
            if self.fans_out(event_bytes, batch) {
                continue;
            }
            let until = deadline.map_or(next_check, |deadline| deadline.min(next_check));
            let has_room = || topic.is_wait_over(event_bytes);
            match topic.gate.wait(&self.waiter, until, has_room) {
                Waited::HasRoom => return Ok(()),
                Waited::TimedOut if Some(until) == deadline => {
                    if !topic.end_stalled_subscribers(event_bytes, until) {
                        return Err(WaitError::TimedOut);
                    }
                    return Ok(());
                }
                Waited::TimedOut | Waited::Woken => {}
            }
        }
    }

    /// Fans out if this publisher is first and waits for the fan-out; returns `false` if it did not.
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
