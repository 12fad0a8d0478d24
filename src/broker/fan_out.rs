//! The fan-out of a topic: what was published is offered to every subscriber, by one thread at a time.
//!
//! Two publishers that walk the same subscribers would only meet at every outbox. So the second one notes that there is
//! more and goes on with its own work; the first makes another round, which sends the events of both at once, and before
//! that it may read what its own peer has sent meanwhile, so that this goes with it.
//!
//! An event counts as *offered* once the socket of every subscriber has taken it, or has refused to take more for now.
//! Only offered events are evicted or skipped, and publishers wait at the gate while too much is not offered yet. So
//! however many publish at once, a subscriber whose socket takes everything misses nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::topic::Topic;
use super::{Batch, Offer, Subscription};
use crate::config::OverflowPolicy;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutation, Mutex, Ordering, fence, mutated};

/// Rounds after which a thread has done enough for the others that publish to a topic.
pub(crate) const MAX_ROUNDS: usize = 8;

/// Pieces that a round offers to a subscriber; what is behind them is its writer's.
const MAX_PIECES: usize = 4;

#[derive(Default)]
pub(super) struct FanOut {
    /// Held by the one that makes a round. Any other lock may be taken under it.
    turn: Mutex<()>,
    /// Something was published that no round may have seen.
    more: AtomicBool,
    /// Everything up to here was offered to every subscriber. Written by the one that makes a round.
    offered: AtomicU64,
    /// The bytes of all events up to there.
    offered_bytes: AtomicU64,
    /// Everything up to here is counted as published.
    counted: AtomicU64,
    /// When the oldest event was published that no round has begun with, in microseconds since 1970; 0 when none.
    /// For the metrics alone, so no model checker looks at it.
    unoffered_since: std::sync::atomic::AtomicU64,
}

/// What became of the attempt to make a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// Another thread makes one, and will see what was published before the attempt.
    Busy,
    Made {
        /// Something came meanwhile that may be left to nobody else.
        more: bool,
    },
}

impl FanOut {
    /// Something was published at this time, in microseconds since 1970.
    pub(super) fn published_at(&self, micros: u64) {
        if self.unoffered_since.load(Ordering::Relaxed) == 0 {
            self.unoffered_since.store(micros, Ordering::Relaxed);
        }
    }

    /// Everything up to here was offered to every subscriber.
    pub(super) fn offered(&self) -> u64 {
        self.offered.load(Ordering::Acquire)
    }

    /// The bytes of all events up to there.
    pub(super) fn offered_bytes(&self) -> u64 {
        self.offered_bytes.load(Ordering::Acquire)
    }

    fn announce(&self) {
        self.more.store(true, Ordering::SeqCst);
    }

    /// Makes a round over what was announced, unless another thread makes one.
    fn attempt(&self, offer: impl FnOnce()) -> Round {
        // With the fence after the round: either the turn is found free here, or `more` is found set there.
        fence(Ordering::SeqCst);
        let Some(turn) = self.turn.try_lock() else {
            return Round::Busy;
        };
        // Not set: another round has offered everything.
        if self.more.swap(false, Ordering::SeqCst) {
            offer();
        }
        drop(turn);
        fence(Ordering::SeqCst);
        let more = self.more.load(Ordering::SeqCst) && !mutated(Mutation::LeaveWhatCameLate);
        Round::Made { more }
    }

    fn reached(&self, seq: u64, bytes: u64) {
        self.offered.store(seq, Ordering::Release);
        self.offered_bytes.store(bytes, Ordering::Release);
    }
}

impl Topic {
    /// Offers everything published to every subscriber, unless another thread is about to. Called with no lock held.
    pub(crate) fn fan_out(&self, batch: &mut Batch) {
        let mut unfinished = self.begin_fan_out(batch);
        for _ in 1..MAX_ROUNDS {
            unfinished = unfinished && self.continue_fan_out(batch);
        }
        if unfinished {
            self.leave_to_writers();
        }
    }

    /// The first round of a fan-out. `true` when something was published meanwhile, by others, that nobody else will
    /// offer: the caller must go on with [`Topic::continue_fan_out`] or [`Topic::leave_to_writers`] before it waits for
    /// anything.
    #[must_use]
    pub(crate) fn begin_fan_out(&self, batch: &mut Batch) -> bool {
        self.attempt_round(batch) == Round::Made { more: true }
    }

    /// Another round of a fan-out; returns what [`Topic::begin_fan_out`] does.
    #[must_use]
    pub(crate) fn continue_fan_out(&self, batch: &mut Batch) -> bool {
        self.round(batch) == Round::Made { more: true }
    }

    /// Ends a fan-out: whatever is not offered is left to the writers.
    pub(crate) fn leave_to_writers(&self) {
        // There may be no further round for long.
        self.fan_out.unoffered_since.store(0, Ordering::Relaxed);
        self.count_published(self.head());
        for subscription in self.subscribers().iter() {
            subscription.leave_to_writer();
        }
    }

    /// Counts what was published up to here and is not counted yet.
    pub(super) fn count_published(&self, head: u64) {
        let counted = self.fan_out.counted.fetch_max(head, Ordering::Relaxed);
        self.metrics().published(head.saturating_sub(counted));
    }

    /// A round over everything published so far.
    pub(super) fn attempt_round(&self, batch: &mut Batch) -> Round {
        self.fan_out.announce();
        self.round(batch)
    }

    fn round(&self, batch: &mut Batch) -> Round {
        let offer_all = || self.fan_out.attempt(|| self.offer_all(batch));
        let round = catch_unwind(AssertUnwindSafe(offer_all)).unwrap_or_else(|panic| {
            // The events of other publishers are among them.
            self.leave_to_writers();
            resume_unwind(panic)
        });
        if round != Round::Busy {
            self.gate.notify();
        }
        round
    }

    /// Offers piece after piece to all, so that they share what is gathered.
    fn offer_all(&self, batch: &mut Batch) {
        // Before the head is read: an event in between counts for the next round, too, but never for none.
        let since = self.fan_out.unoffered_since.swap(0, Ordering::Relaxed);
        let (head, bytes) = self.head_and_bytes();
        let subscribers = self.subscribers();
        let _held = mutated(Mutation::SendUnderTopicLock).then(|| self.state.read());
        batch.reset();
        let mut behind: Vec<_> = subscribers
            .iter()
            .filter(|subscription| subscription.offer(batch) != Offer::Done)
            .collect();
        if mutated(Mutation::PassByBusy) {
            behind
                .drain(..)
                .for_each(|subscription| subscription.leave_to_writer());
        }
        for _ in 1..MAX_PIECES {
            behind.retain(|subscription| subscription.offer_waiting(batch) != Offer::Done);
        }
        let reached = self.leave_behind(&behind).min(head);
        self.count_published(head);
        if reached > self.fan_out.offered() {
            let bytes = bytes - self.bytes_between(reached, head);
            self.fan_out.reached(reached, bytes);
        }
        if self.overflow() == OverflowPolicy::Disconnect {
            for subscription in subscribers.iter() {
                self.check_lag(subscription);
            }
        }
        if since > 0 && !subscribers.is_empty() {
            self.metrics().fan_out_latency.observe_since(since);
        }
    }

    /// Leaves subscribers whose sockets take more than a round offers to their writers; returns the position that all of
    /// them have reached.
    fn leave_behind(&self, behind: &[&Arc<Subscription>]) -> u64 {
        let mut reached = u64::MAX;
        for subscription in behind {
            reached = reached.min(subscription.position());
            subscription.leave_to_writer();
        }
        reached
    }

    /// Ends a subscriber that holds more than its queue (policy `disconnect`).
    fn check_lag(&self, subscription: &Arc<Subscription>) {
        let queue = self.max_queue_size() as u64;
        let end = subscription.end_of(self.fan_out.offered());
        if subscription.position().saturating_add(queue) < end {
            subscription.too_slow();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Broker, Meeting, Outlet, TopicOptions};
    use crate::config::Config;
    use crate::metrics::{Families, Format};
    use crate::protocol::{ClientId, Message, StartAt, Timestamp, TopicName};
    use crate::sync::Weak;
    use serde_json::value::RawValue;
    use std::time::Instant;

    /// Panics when offered events, and counts what is left to its writer.
    #[derive(Default)]
    struct Fragile {
        left_to_writer: std::sync::atomic::AtomicUsize,
    }

    impl Outlet for Fragile {
        fn offer(&self, _: &Arc<Subscription>, _: &mut Batch, _: Meeting) -> Offer {
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
        fn has_taken_since(&self, _: Instant) -> bool {
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
            assert!(opened.is_ok());
        }
        let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        for round in 1..=2 {
            topic.try_publish(&message, Timestamp::now(), None).unwrap();
            let fan_out = || topic.fan_out(&mut Batch::default());
            assert!(catch_unwind(AssertUnwindSafe(fan_out)).is_err());
            assert_eq!(outlet.left_to_writer.load(Ordering::Relaxed), 3 * round);
        }
    }

    fn published(broker: &Broker) -> u64 {
        let mut page = Families::default();
        broker.metrics().push(&mut page);
        let text = Format::OpenMetrics.write(page).unwrap();
        let name = "pubsub_messages_published_total ";
        let total = text.lines().find_map(|line| line.strip_prefix(name));
        total.unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_left_to_the_writers_or_goes_with_its_topic_counts_as_published() {
        let broker = Broker::new(&Config::default());
        let name = TopicName::new("t").unwrap();
        let options = TopicOptions::default();
        let topic = broker.create_topic(name.clone(), &options).unwrap();
        let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let publish = || topic.try_publish(&message, Timestamp::now(), None).unwrap();
        for _ in 0..3 {
            publish();
        }
        topic.leave_to_writers();
        assert_eq!(published(&broker), 3);
        let since = &topic.fan_out.unoffered_since;
        assert_eq!(since.load(Ordering::Relaxed), 0, "the next round is late");
        publish();
        broker.delete_topic(&name);
        assert_eq!(published(&broker), 4);
        topic.fan_out(&mut Batch::default());
        assert_eq!(published(&broker), 4);
    }
}
