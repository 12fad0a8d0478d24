//! The fan-out of a topic: rounds that deliver published events to every subscriber. One thread at a time makes them.
//!
//! Two publishers that walked the same subscribers would contend for every outbox. So each request for a fan-out adds one
//! to a counter. The thread that raises the counter from 0 makes the rounds; the others go on with their own work. A round
//! reads the counter before it reads the log, and subtracts that number afterwards. If 0 is left, the fan-out is done.
//! Otherwise events were published meanwhile, and another round sends all of them at once.
//!
//! An event is *fanned out* once the socket of every subscriber has taken it, or has refused to take more for now. Only
//! fanned-out events are evicted or skipped, and publishers wait at the gate while too many events are not fanned out yet.
//! So a subscriber whose socket takes everything misses nothing, however many publishers there are.

use super::topic::Topic;
use super::{Delivery, IfBusy, ReadBatch, Subscription};
use crate::config::OverflowPolicy;
use crate::sync::{Arc, AtomicU64, Ordering};

/// The most rounds that one thread makes in a fan-out. Later events are left to the writers, so that a publisher does not
/// deliver other publishers' events for ever.
pub(crate) const MAX_ROUNDS: usize = 8;

/// The most chunks that a round delivers to one subscriber. Its writer delivers the rest.
const MAX_CHUNKS: usize = 4;

/// How far a topic is fanned out, and whether a thread is fanning it out.
pub(super) struct FanOutState {
    /// Requests for a round that no finished round has seen. Above 0: a thread owns the fan-out.
    requests: AtomicU64,
    /// Everything up to this seq is fanned out. Written by the thread that owns the fan-out.
    seq: AtomicU64,
    /// The bytes of all events up to `seq`.
    bytes: AtomicU64,
    /// Everything up to this seq is counted as published in the metrics.
    counted: AtomicU64,
    /// When the oldest event that no round has read yet was published, in microseconds since 1970; 0 if there is none.
    /// Used only for the metrics, so the model checker need not see it.
    waiting_since: std::sync::atomic::AtomicU64,
}

impl FanOutState {
    /// Everything up to this position is fanned out. Its events count as published only if `counts`: those of a mirror are
    /// counted by the node that published them.
    pub(super) fn new(position: u64, counts: bool) -> FanOutState {
        FanOutState {
            requests: AtomicU64::new(0),
            seq: AtomicU64::new(position),
            bytes: AtomicU64::new(0),
            counted: AtomicU64::new(if counts { position } else { u64::MAX }),
            waiting_since: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Notes an event published at this time, in microseconds since 1970.
    pub(super) fn published_at(&self, micros: u64) {
        if self.waiting_since.load(Ordering::Relaxed) == 0 {
            self.waiting_since.store(micros, Ordering::Relaxed);
        }
    }

    /// Everything up to this seq is fanned out.
    pub(super) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    /// The bytes of all fanned-out events.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }
}

/// A fan-out that this thread owns and has to finish. If dropped earlier, it leaves the rest to the writers.
#[must_use]
pub(crate) struct FanOut {
    topic: Arc<Topic>,
    is_done: bool,
}

impl FanOut {
    /// Requests a round over everything published so far. `None`: another thread owns the fan-out and will make the round.
    pub(crate) fn begin(topic: &Arc<Topic>) -> Option<FanOut> {
        let before = topic.fan_out.requests.fetch_add(1, Ordering::SeqCst);
        (before == 0).then(|| FanOut {
            topic: Arc::clone(topic),
            is_done: false,
        })
    }

    /// Makes a round. Returns `true` if no round was requested meanwhile: the fan-out is done. Called with no lock held.
    pub(crate) fn round(&mut self, batch: &mut ReadBatch) -> bool {
        // Read before the log: an event published in between requests another round.
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
            // Before the log is read: the next request after this owns a new fan-out.
            self.requests().swap(0, Ordering::SeqCst);
            self.topic.leave_to_writers();
        }
    }
}

impl Topic {
    /// Fans out everything published so far; returns `false` if another thread does it. Called with no lock held.
    pub(crate) fn fan_out(self: &Arc<Topic>, batch: &mut ReadBatch) -> bool {
        let Some(mut fan_out) = FanOut::begin(self) else {
            return false;
        };
        let _is_done = (0..MAX_ROUNDS).any(|_| fan_out.round(batch));
        true
    }

    /// Leaves the events that are not fanned out to the writers.
    pub(super) fn leave_to_writers(&self) {
        // The next round may come much later; it must not count these events as waiting.
        self.fan_out.waiting_since.store(0, Ordering::Relaxed);
        self.count_published(self.head());
        for subscription in self.subscribers().iter() {
            subscription.schedule_writer();
        }
        self.gate.notify();
    }

    /// Counts events up to `head` as published that were not counted before.
    pub(super) fn count_published(&self, head: u64) {
        let counted = self.fan_out.counted.fetch_max(head, Ordering::Relaxed);
        self.metrics().published(head.saturating_sub(counted));
    }

    /// Delivers one chunk after the other to all subscribers, so that they share what is read.
    fn deliver_to_all(&self, batch: &mut ReadBatch) {
        // Before the head is read: an event in between may count for two rounds, but never for none.
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

    /// Notes that everything up to `seq` is fanned out. `bytes` is the size of all events up to `head`.
    fn reached(&self, seq: u64, head: u64, bytes: u64) {
        if seq > self.fan_out.seq() {
            let bytes = bytes - self.bytes_between(seq, head);
            self.fan_out.seq.store(seq, Ordering::Release);
            self.fan_out.bytes.store(bytes, Ordering::Release);
        }
    }

    /// Ends the connection of a subscriber with more undelivered events than its queue holds (policy `disconnect`).
    fn check_lag(&self, subscription: &Arc<Subscription>) {
        let queue = self.max_queue_size() as u64;
        let end = subscription.tenure().end_of(self.fan_out.seq());
        let position = subscription.position().max(self.replay_upto());
        if position.saturating_add(queue) < end {
            subscription.too_slow();
        }
    }
}

/// Schedules the writers of subscribers that have more to read after a round; returns the position that all of them have
/// reached.
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

    /// A sink that panics when events are delivered, and counts how often its writer is scheduled.
    #[derive(Default)]
    struct PanickingSink {
        scheduled: std::sync::atomic::AtomicUsize,
    }

    impl SubscriberSink for PanickingSink {
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
    fn a_panic_in_a_fan_out_schedules_the_writers_and_allows_the_next_fan_out() {
        let broker = Broker::new(&Config::default());
        let name = TopicName::new("t").unwrap();
        let topic = broker.create_here(name, &TopicOptions::default()).unwrap();
        let panicking = Arc::new(PanickingSink::default());
        let weak: Weak<PanickingSink> = Arc::downgrade(&panicking);
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
            assert_eq!(panicking.scheduled.load(Ordering::Relaxed), 3 * round);
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
        let topic = broker.create_here(name.clone(), &options).unwrap();
        let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let publish = || topic.try_publish(&message, Timestamp::now(), None).unwrap();
        for _ in 0..3 {
            publish();
        }
        topic.leave_to_writers();
        assert_eq!(published(&broker), 3);
        let since = &topic.fan_out.waiting_since;
        assert_eq!(
            since.load(Ordering::Relaxed),
            0,
            "the next round would count them as waiting"
        );
        publish();
        assert_eq!(broker.delete_topic(&name), Ok(true));
        assert_eq!(published(&broker), 4);
        topic.fan_out(&mut ReadBatch::default());
        assert_eq!(published(&broker), 4);
    }
}
