//! The topics with events that a session has not offered to their subscribers yet.

use crate::broker::{Batch, MAX_ROUNDS, Topic};
use crate::sync::{Arc, Mutation, mutated};

/// A send takes about as long as eight publishes; below 256 events it is not worth sending earlier.
const HELD_EVENTS_PER_SUBSCRIBER: usize = 8;
const MIN_HELD_EVENTS: usize = 256;
/// Well below a piece, so that what was held back is gathered at once.
const MAX_HELD_BYTES: usize = 44 << 10;
/// Topics with something to offer that are held back at once.
const MAX_TOPICS: usize = 64;

/// Topics with events of the session's own, and with such as others have left to it. It offers them before it waits for
/// anything.
#[derive(Default)]
pub(super) struct Unflushed {
    topics: Vec<Held>,
}

/// What a topic has to offer, and how much of it may be held back.
struct Held {
    topic: Arc<Topic>,
    /// A fan-out has begun, and is not finished.
    unfinished: bool,
    events: usize,
    bytes: usize,
    max_events: usize,
}

impl Unflushed {
    /// Where this topic stands.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let is_it = |held: &Held| held.topic.name().as_str() == name;
        self.topics.iter().position(is_it)
    }

    pub(super) fn is_full(&self) -> bool {
        self.topics.len() >= MAX_TOPICS
    }

    /// Takes a topic up that has nothing to offer yet; where it stands.
    pub(super) fn enter(&mut self, topic: Arc<Topic>) -> usize {
        self.topics.push(Held::new(topic));
        self.topics.len() - 1
    }

    pub(super) fn topic(&self, at: usize) -> &Arc<Topic> {
        &self.topics[at].topic
    }

    /// An event was published to it; `true` when it should be offered now.
    pub(super) fn add(&mut self, at: usize, event_bytes: usize) -> bool {
        self.topics[at].add(event_bytes)
    }

    /// It was deleted: whoever did that has offered everything.
    pub(super) fn remove(&mut self, at: usize) {
        self.topics.swap_remove(at);
    }

    /// Whether there are events of the session's own.
    pub(super) fn has_own(&self) -> bool {
        self.topics.iter().any(|held| held.events > 0)
    }

    /// After a panic: any topic may have got an event that was not counted.
    pub(super) fn suspect_all(&mut self) {
        for held in &mut self.topics {
            held.events += 1;
        }
    }

    /// Offers each topic once, and keeps those to which others have published more meanwhile.
    pub(super) fn offer(&mut self, batch: &mut Batch) {
        for at in (0..self.topics.len()).rev() {
            // One by one: after a panic the others are still there.
            let held = self.topics.swap_remove(at);
            if held.offer(batch) && !mutated(Mutation::ForgetUnfinished) {
                self.topics.push(Held {
                    unfinished: true,
                    ..Held::new(held.topic)
                });
            }
        }
    }

    /// Offers on until there is nothing more, or there `is_work`.
    pub(super) fn offer_on(&mut self, batch: &mut Batch, is_work: impl Fn() -> bool) {
        for _ in 1..MAX_ROUNDS {
            if self.topics.is_empty() || is_work() {
                return;
            }
            self.offer(batch);
        }
        for held in self.topics.drain(..) {
            held.topic.leave_to_writers();
        }
    }
}

impl Held {
    /// As many events are held back as take about as long to publish as to send on, and no more than can be gathered at
    /// once: so the subscribers of a busy publisher work while it does, and a large audience is not sent to in small pieces.
    fn new(topic: Arc<Topic>) -> Held {
        let worthwhile = MIN_HELD_EVENTS.max(HELD_EVENTS_PER_SUBSCRIBER * topic.subscriber_count());
        Held {
            unfinished: false,
            events: 0,
            bytes: 0,
            max_events: worthwhile,
            topic,
        }
    }

    fn add(&mut self, event_bytes: usize) -> bool {
        self.events += 1;
        self.bytes += event_bytes;
        self.events >= self.max_events || self.bytes >= MAX_HELD_BYTES || self.topic.is_behind()
    }

    /// `true` when there is more to offer.
    fn offer(&self, batch: &mut Batch) -> bool {
        if self.events > 0 {
            self.topic.begin_fan_out(batch)
        } else {
            self.unfinished && self.topic.continue_fan_out(batch)
        }
    }
}
