//! The fan-out of a topic: rounds that deliver what was published to every subscriber, made by one thread at a time.
//!
//! Two publishers that walk the same subscribers would only meet at every outbox. So each publish that is to be fanned out
//! adds one to a counter. Whoever raises it from 0 makes the rounds; the others go on with their own work. A round
//! subtracts what it saw of the counter before it read the log: 0 is left, and the fan-out is done; or somebody came
//! meanwhile, and another round is due, which sends the events of all of them at once.
//!
//! An event is *fanned out* once the socket of every subscriber has taken it, or has refused to take more for now. Only
//! such events are evicted or skipped, and publishers wait at the gate while too many are not fanned out yet. So however
//! many publish at once, a subscriber whose socket takes everything misses nothing.

use super::topic::Topic;
use super::{Delivery, IfBusy, ReadBatch, Subscription};
use crate::config::OverflowPolicy;
use crate::sync::{Arc, AtomicU64, Ordering};

/// Rounds after which a thread has done enough for the others that publish to a topic.
pub(crate) const MAX_ROUNDS: usize = 8;

/// Chunks that a round delivers to a subscriber; what is behind them is left to its writer.
const MAX_CHUNKS: usize = 4;

/// How far a topic is fanned out, and whether a thread is at it.
#[derive(Default)]
pub(super) struct FanOutState {
    /// Requests for a round that no finished round has seen. Above 0: a thread has the fan-out.
    requests: AtomicU64,
    /// Everything up to this seq is fanned out. Written by the thread that has the fan-out.
    seq: AtomicU64,
    /// The bytes of all events up to there.
    bytes: AtomicU64,
    /// Everything up to this seq is counted as published.
    counted: AtomicU64,
    /// When the oldest event was published that no round has begun with, in microseconds since 1970; 0 when none.
    /// For the metrics alone, so no model checker looks at it.
    waiting_since: std::sync::atomic::AtomicU64,
}

impl FanOutState {
    /// Something was published at this time, in microseconds since 1970.
    pub(super) fn published_at(&self, micros: u64) {
        if self.waiting_since.load(Ordering::Relaxed) == 0 {
            self.waiting_since.store(micros, Ordering::Relaxed);
        }
    }

    /// Everything up to this seq is fanned out.
    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// The bytes of all events up to there.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }
}

/// The fan-out of a topic that this thread has to finish. Dropped before that, it leaves the rest to the writers.
#[must_use]
pub(crate) struct FanOut {
    topic: Arc<Topic>,
    is_done: bool,
}

impl FanOut {
    /// Asks for a round over everything published so far. `None`: the thread that has the fan-out will make it.
    pub(crate) fn begin(topic: &Arc<Topic>) -> Option<FanOut> {
        let before = topic.fan_out.requests.fetch_add(1, Ordering::SeqCst);
        (before == 0).then(|| FanOut {
            topic: Arc::clone(topic),
            is_done: false,
        })
    }

    /// Makes a round; `true` when nobody has asked for another one meanwhile, and the fan-out is done. Called with no lock
    /// held.
    pub(crate) fn round(&mut self, batch: &mut ReadBatch) -> bool {
        // Read before the log: an event in between asks for another round.
        let seen = self.requests().load(Ordering::SeqCst);
        self.topic.deliver_to_all(batch);
        let left = self.requests().fetch_sub(seen, Ordering::SeqCst) - seen;
        self.is_done = left == 0;
        self.topic.gate.notify();
        self.is_done
    }

    fn requests(&self) -> &AtomicU64 {
        &self.topic.fan_out.requests
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        if !self.is_done {
            // Before the log is read: whoever comes after this has the fan-out.
            self.requests().swap(0, Ordering::SeqCst);
            self.topic.leave_to_writers();
        }
    }
}

impl Topic {
    /// Fans out everything published so far, unless another thread does: `false`. Called with no lock held.
    pub(crate) fn fan_out(self: &Arc<Topic>, batch: &mut ReadBatch) -> bool {
        let Some(mut fan_out) = FanOut::begin(self) else {
            return false;
        };
        // What others go on to publish is left to the writers after so many rounds.
        let _is_done = (0..MAX_ROUNDS).any(|_| fan_out.round(batch));
        true
    }

    /// Leaves what is not fanned out to the writers.
    pub(super) fn leave_to_writers(&self) {
        // There may be no further round for long.
        self.fan_out.waiting_since.store(0, Ordering::Relaxed);
        self.count_published(self.head());
        for subscription in self.subscribers().iter() {
            subscription.schedule_writer();
        }
        self.gate.notify();
    }

    /// Counts what was published up to here and is not counted yet.
    pub(super) fn count_published(&self, head: u64) {
        let counted = self.fan_out.counted.fetch_max(head, Ordering::Relaxed);
        self.metrics().published(head.saturating_sub(counted));
    }

    /// Delivers chunk after chunk to all, so that subscribers share what is read.
    fn deliver_to_all(&self, batch: &mut ReadBatch) {
        // Before the head is read: an event in between counts for the next round, too, but never for none.
        let since = self.fan_out.waiting_since.swap(0, Ordering::Relaxed);
        let (head, bytes) = self.head_and_bytes();
        let subscribers = self.subscribers();
        batch.clear();
        let mut behind: Vec<_> = subscribers
            .iter()
            .filter(|subscription| subscription.deliver(batch, IfBusy::Return) != Delivery::Done)
            .collect();
        for _ in 1..MAX_CHUNKS {
            behind
                .retain(|subscription| subscription.deliver(batch, IfBusy::Wait) != Delivery::Done);
        }
        self.count_published(head);
        self.reached(schedule_writers(&behind).min(head), head, bytes);
        if self.overflow() == OverflowPolicy::Disconnect {
            for subscription in subscribers.iter() {
                self.check_lag(subscription);
            }
        }
        if since > 0 && !subscribers.is_empty() {
            self.metrics().fan_out_latency.observe_since(since);
        }
    }

    /// Everything up to `seq` is fanned out; `bytes` are those of all events up to `head`.
    fn reached(&self, seq: u64, head: u64, bytes: u64) {
        if seq > self.fan_out.seq() {
            let bytes = bytes - self.bytes_between(seq, head);
            self.fan_out.seq.store(seq, Ordering::Release);
            self.fan_out.bytes.store(bytes, Ordering::Release);
        }
    }

    /// Ends a subscriber that has more undelivered events than its queue holds (policy `disconnect`).
    fn check_lag(&self, subscription: &Arc<Subscription>) {
        let queue = self.max_queue_size() as u64;
        let end = subscription.tenure().end_of(self.fan_out.seq());
        if subscription.position().saturating_add(queue) < end {
            subscription.too_slow();
        }
    }
}

/// Leaves subscribers whose sockets take more than a round delivers to their writers; returns the position that all of
/// them have reached.
fn schedule_writers(behind: &[&Arc<Subscription>]) -> u64 {
    let mut reached = u64::MAX;
    for subscription in behind {
        reached = reached.min(subscription.position());
        subscription.schedule_writer();
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Broker, Cursors, SubscriberSink, TopicOptions};
    use crate::config::Config;
    use crate::metrics::{Families, Format};
    use crate::protocol::{ClientId, Message, StartAt, Timestamp, TopicName};
    use crate::sync::Weak;
    use serde_json::value::RawValue;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Instant;

    /// Panics when it is to deliver events, and counts how often its writer is scheduled.
    #[derive(Default)]
    struct Fragile {
        scheduled: std::sync::atomic::AtomicUsize,
    }

    impl SubscriberSink for Fragile {
        fn deliver(&self, _: &Arc<Subscription>, _: &mut ReadBatch, _: IfBusy) -> Delivery {
            panic!("as it should");
        }
        fn schedule_writer(&self, _: &Arc<Subscription>) {
            self.scheduled.fetch_add(1, Ordering::Relaxed);
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
    fn a_fan_out_that_panics_schedules_the_writers_and_the_next_one_is_made() {
        let broker = Broker::new(&Config::default());
        let name = TopicName::new("t").unwrap();
        let topic = broker.create_topic(name, &TopicOptions::default()).unwrap();
        let fragile = Arc::new(Fragile::default());
        let weak: Weak<Fragile> = Arc::downgrade(&fragile);
        let sink: Weak<dyn SubscriberSink> = weak;
        let mut cursors = Cursors::default();
        for client_id in ["a", "b", "c"] {
            let client_id = ClientId::new(client_id).unwrap();
            let opened = cursors.open(&topic, client_id, &StartAt::Last(0), &sink);
            assert!(opened.is_ok());
        }
        let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        for round in 1..=2 {
            topic.try_publish(&message, Timestamp::now(), None).unwrap();
            let fan_out = || topic.fan_out(&mut ReadBatch::default());
            assert!(catch_unwind(AssertUnwindSafe(fan_out)).is_err());
            assert_eq!(fragile.scheduled.load(Ordering::Relaxed), 3 * round);
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
    fn events_left_to_writers_or_deleted_with_their_topic_count_as_published() {
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
        let since = &topic.fan_out.waiting_since;
        assert_eq!(since.load(Ordering::Relaxed), 0, "the next round is late");
        publish();
        broker.delete_topic(&name);
        assert_eq!(published(&broker), 4);
        topic.fan_out(&mut ReadBatch::default());
        assert_eq!(published(&broker), 4);
    }
}
