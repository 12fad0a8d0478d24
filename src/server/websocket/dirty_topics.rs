//! The dirty topics of a session: those it published to and has not fanned out yet.

use crate::broker::{FanOut, MAX_ROUNDS, ReadBatch, Topic};
use crate::sync::Arc;

/// A send takes about as long as eight publishes; below 256 events it is not worth sending earlier.
const MAX_EVENTS_PER_SUBSCRIBER: usize = 8;
const MIN_MAX_EVENTS: usize = 256;
/// Well below a chunk, so that everything a session published is read at once.
const MAX_BYTES: usize = 44 << 10;
/// Dirty topics at once.
const MAX_TOPICS: usize = 64;

/// Topics to fan out, and fan-outs to finish, before the session waits for anything.
#[derive(Default)]
pub(super) struct DirtyTopics {
    topics: Vec<DirtyTopic>,
    /// Begun, and not finished because others published meanwhile.
    fan_outs: Vec<FanOut>,
}

/// A topic and how much was published to it since its last fan-out.
pub(super) struct DirtyTopic {
    pub(super) topic: Arc<Topic>,
    events: usize,
    bytes: usize,
    max_events: usize,
}

impl DirtyTopics {
    pub(super) fn get(&mut self, name: &str) -> Option<&mut DirtyTopic> {
        let is_it = |dirty: &&mut DirtyTopic| dirty.topic.name().as_str() == name;
        self.topics.iter_mut().find(is_it)
    }

    pub(super) fn is_full(&self) -> bool {
        self.topics.len() >= MAX_TOPICS
    }

    /// Adds a topic that is about to be published to.
    pub(super) fn add(&mut self, topic: Arc<Topic>) {
        self.topics.push(DirtyTopic::new(topic));
    }

    /// The topic was deleted, and whoever did that has fanned it out.
    pub(super) fn remove(&mut self, name: &str) {
        self.topics
            .retain(|dirty| dirty.topic.name().as_str() != name);
    }

    /// Whether anything was published since the last fan-out.
    pub(super) fn has_events(&self) -> bool {
        self.topics.iter().any(|dirty| dirty.events > 0)
    }

    /// After a panic: any topic may have got an event that was not counted.
    pub(super) fn suspect_all(&mut self) {
        for dirty in &mut self.topics {
            dirty.events += 1;
        }
    }

    /// Begins the fan-out of every dirty topic, and makes one round of each that is not finished.
    pub(super) fn fan_out(&mut self, batch: &mut ReadBatch) {
        // One by one: after a panic the others are still there.
        while let Some(dirty) = self.topics.pop() {
            if dirty.events > 0 {
                self.fan_outs.extend(FanOut::begin(&dirty.topic));
            }
        }
        self.fan_outs.retain_mut(|fan_out| !fan_out.round(batch));
    }

    /// Makes further rounds until every fan-out is finished, or there `is_work`. What others go on to publish is left to
    /// the writers after [`MAX_ROUNDS`].
    pub(super) fn finish(&mut self, batch: &mut ReadBatch, is_work: impl Fn() -> bool) {
        for _ in 1..MAX_ROUNDS {
            if self.fan_outs.is_empty() || is_work() {
                return;
            }
            self.fan_out(batch);
        }
        self.fan_outs.clear();
    }
}

impl DirtyTopic {
    /// As many events are held back as take about as long to publish as to send, and no more than can be read at once. So
    /// the subscribers of a busy publisher work while it does, and a large audience is not sent many small chunks.
    fn new(topic: Arc<Topic>) -> DirtyTopic {
        let worthwhile = MAX_EVENTS_PER_SUBSCRIBER * topic.subscriber_count();
        DirtyTopic {
            events: 0,
            bytes: 0,
            max_events: worthwhile.max(MIN_MAX_EVENTS),
            topic,
        }
    }

    /// An event was published; `true` when the topic should be fanned out now.
    pub(super) fn published(&mut self, event_bytes: usize) -> bool {
        self.events += 1;
        self.bytes += event_bytes;
        self.events >= self.max_events || self.bytes >= MAX_BYTES || self.topic.is_behind()
    }
}
