//! Publishing to a topic: append, fan out, and under the `block` policy wait for room.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use super::{State, Topic};
use crate::broker::{Batch, Subscription};
use crate::config::OverflowPolicy;
use crate::protocol::{Message, NewEvent, Timestamp};
use crate::sync::{Arc, Mutation, Ordering, mutated};

/// Passes after which a thread has done enough for the others that publish to a topic.
pub(crate) const MAX_PASSES: usize = 8;

/// Pieces that a fan-out offers to a subscriber; what is behind them is its writer's.
const MAX_PIECES: usize = 4;

/// What a message became.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) seq: u64,
    pub(crate) ts: Timestamp,
    pub(crate) event_bytes: usize,
}

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishError {
    Deleted,
    /// Under the `block` policy: a subscriber must move on first. See [`Topic::wait_for_room`].
    Full {
        event_bytes: usize,
    },
    ShuttingDown,
}

impl Topic {
    /// Appends a message. Never waits; delivers nothing: see [`Topic::fan_out`].
    ///
    /// `arrived` becomes the event's time, unless that would make the topic's time go back.
    pub(crate) fn try_publish(
        &self,
        message: &Message<'_>,
        arrived: Timestamp,
    ) -> Result<Published, PublishError> {
        let mut state = self.state.write();
        if self.draining.load(Ordering::SeqCst) {
            return Err(PublishError::ShuttingDown);
        }
        if state.deleted && !mutated(Mutation::PublishToDeleted) {
            return Err(PublishError::Deleted);
        }
        let seq = state.log.head() + 1;
        let ts = arrived.max(state.newest);
        let event = NewEvent::new(&self.name, message, seq, ts);
        let event_bytes = event.frame_len();
        if self.settings.overflow == OverflowPolicy::Block
            && !self.make_room(&mut state, event_bytes)
        {
            return Err(PublishError::Full { event_bytes });
        }
        state.log.append(&event, u64::MAX);
        state.newest = ts;
        if self.unoffered_since.load(Ordering::Relaxed) == 0 {
            self.unoffered_since.store(ts.micros(), Ordering::Relaxed);
        }
        self.head.store(seq, Ordering::Release);
        self.book(&state.log);
        drop(state);
        if self.ledger.is_exceeded() {
            self.ledger.relieve();
        }
        Ok(Published {
            seq,
            ts,
            event_bytes,
        })
    }

    /// Offers everything published to every subscriber, unless another thread is about to. Called with no lock held.
    pub(crate) fn fan_out(&self, batch: &mut Batch) {
        let mut unfinished = self.begin_fan_out(batch);
        for _ in 1..MAX_PASSES {
            unfinished = unfinished && self.continue_fan_out(batch);
        }
        if unfinished {
            self.leave_to_writers();
        }
    }

    /// The first pass of a fan-out. `true` when something was published meanwhile, by others, that nobody else will offer:
    /// the caller must go on with [`Topic::continue_fan_out`] or [`Topic::leave_to_writers`] before it waits for anything.
    #[must_use]
    pub(crate) fn begin_fan_out(&self, batch: &mut Batch) -> bool {
        self.fan_out.announce();
        self.continue_fan_out(batch)
    }

    /// Another pass of a fan-out; returns what [`Topic::begin_fan_out`] does.
    #[must_use]
    pub(crate) fn continue_fan_out(&self, batch: &mut Batch) -> bool {
        let offer_all = || {
            self.fan_out
                .pass(|| self.is_behind(), || self.offer_all(batch))
        };
        catch_unwind(AssertUnwindSafe(offer_all)).unwrap_or_else(|panic| {
            // The events, also those of other publishers, are in good hands.
            self.leave_to_writers();
            resume_unwind(panic)
        })
    }

    /// Ends a fan-out: whatever is not offered is left to the writers.
    pub(crate) fn leave_to_writers(&self) {
        for subscription in self.subscribers().iter() {
            subscription.leave_to_writer();
        }
    }

    /// Whether so much was published, by whomever, since a fan-out began that it must be offered before there is more.
    pub(crate) fn is_behind(&self) -> bool {
        let offered = self.offered.load(Ordering::Acquire);
        let unoffered = self.head().saturating_sub(offered);
        unoffered >= self.max_queue_size().div_ceil(2) as u64
    }

    /// Offers piece after piece to all, so that they share what is gathered.
    fn offer_all(&self, batch: &mut Batch) {
        // Before the head is read: an event in between counts for the next fan-out, too, but never for none.
        let since = self.unoffered_since.swap(0, Ordering::Relaxed);
        let head = self.head();
        let subscribers = self.subscribers();
        let _held = mutated(Mutation::SendUnderTopicLock).then(|| self.state.read());
        batch.reset();
        for round in 1..=MAX_PIECES {
            let behind = subscribers
                .iter()
                .filter(|subscription| subscription.offer(batch));
            if round == MAX_PIECES {
                behind.for_each(|subscription| subscription.leave_to_writer());
            } else if behind.count() == 0 {
                break;
            }
        }
        if self.overflow() == OverflowPolicy::Disconnect {
            subscribers
                .iter()
                .for_each(|subscription| self.check_lag(subscription));
        }
        let metrics = &self.ledger.metrics;
        metrics.published(head - self.offered.load(Ordering::Relaxed));
        self.offered.store(head, Ordering::Release);
        if since > 0 && !subscribers.is_empty() {
            metrics.fan_out_latency.observe_since(since);
        }
    }

    /// Waits until an event of this size would push no unread event out, at most `timeout`; then ends whoever stands
    /// in the way. Under the `block` policy only; called with no lock held and nothing left to fan out.
    pub(crate) fn wait_for_room(&self, event_bytes: usize) {
        let deadline = Instant::now() + self.settings.block_timeout;
        let has_room = || {
            let state = self.state.read();
            let required = self.required_position(&state, event_bytes);
            self.draining.load(Ordering::SeqCst)
                || state.deleted
                || state
                    .roster
                    .iter()
                    .all(|subscription| subscription.position() >= required)
        };
        if self.room.wait(deadline, has_room) {
            return;
        }
        let required = self.required_position(&self.state.read(), event_bytes);
        for subscription in self
            .subscribers()
            .iter()
            .filter(|s| s.position() < required)
        {
            subscription.too_slow();
        }
    }

    /// A cursor moved, or a subscription ended.
    pub(in crate::broker) fn moved(&self) {
        if self.settings.overflow == OverflowPolicy::Block {
            self.room.notify();
        }
    }

    /// Lets every publisher see that the server is draining: the one that appends just now, and those that wait.
    pub(in crate::broker) fn drain(&self) {
        if !mutated(Mutation::DrainWithoutBarrier) {
            drop(self.state.write());
        }
        self.room.notify();
    }

    /// Ends a subscriber that holds more than its queue (policy `disconnect`).
    fn check_lag(&self, subscription: &Arc<Subscription>) {
        if subscription
            .position()
            .saturating_add(self.max_queue_size() as u64)
            < subscription.end_of(self.head())
        {
            subscription.too_slow();
        }
    }

    /// The position every subscriber must have reached before an event of this size may be appended.
    fn required_position(&self, state: &State, event_bytes: usize) -> u64 {
        let queue = self.max_queue_size() as u64;
        (state.log.head() + 1)
            .saturating_sub(queue)
            .max(state.log.eviction_horizon(event_bytes))
    }

    fn make_room(&self, state: &mut State, event_bytes: usize) -> bool {
        let required = self.required_position(state, event_bytes);
        if state.slowest < required {
            let head = state.log.head();
            state.slowest = state
                .roster
                .iter()
                .map(|s| s.position())
                .min()
                .unwrap_or(head)
                .min(head);
        }
        state.slowest >= required
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Broker, Outlet, TopicOptions};
    use crate::config::Config;
    use crate::protocol::{ClientId, StartAt, TopicName};
    use crate::sync::Weak;
    use serde_json::value::RawValue;

    /// Panics when offered events, and counts what is left to its writer.
    #[derive(Default)]
    struct Fragile {
        left_to_writer: std::sync::atomic::AtomicUsize,
    }

    impl Outlet for Fragile {
        fn offer(&self, _: &Arc<Subscription>, _: &mut Batch) -> bool {
            panic!("as it should");
        }
        fn leave_to_writer(&self, _: &Arc<Subscription>) {
            self.left_to_writer.fetch_add(1, Ordering::Relaxed);
        }
        fn replaced(&self, _: &Arc<Subscription>) {}
        fn too_slow(&self, _: &Arc<Subscription>) {}
        fn is_over(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_fan_out_that_panics_leaves_the_events_to_the_writers_and_the_next_one_is_free() {
        let broker = Broker::new(&Config::default());
        let name = TopicName::new("t").unwrap();
        let topic = broker.create_topic(name, &TopicOptions::default()).unwrap();
        let outlet = Arc::new(Fragile::default());
        for client_id in ["a", "b", "c"] {
            let outlet: Weak<Fragile> = Arc::downgrade(&outlet);
            let client_id = ClientId::new(client_id).unwrap();
            let opened = topic.subscribe(client_id, &StartAt::Last(0), outlet);
            opened.unwrap().subscription.go_live();
        }
        let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        for round in 1..=2 {
            topic.try_publish(&message, Timestamp::now()).unwrap();
            let fan_out = || topic.fan_out(&mut Batch::default());
            assert!(catch_unwind(AssertUnwindSafe(fan_out)).is_err());
            assert_eq!(outlet.left_to_writer.load(Ordering::Relaxed), 3 * round);
        }
    }
}
