//! The dirty topics of a session: topics it published to and has not fanned out yet.

use crate::broker::{FanOut, MAX_ROUNDS, ReadBatch, Topic};
use crate::sync::Arc;

/// A send takes about as long as eight publishes. Below 256 events an earlier fan-out costs more than it gains.
const MAX_EVENTS_PER_SUBSCRIBER: usize = 8;
const MIN_MAX_EVENTS: usize = 256;
/// Well below the size of a chunk, so that one read gets everything a session published.
const MAX_BYTES: usize = 44 << 10;
/// The most dirty topics at the same time.
const MAX_TOPICS: usize = 64;

/// Topics to fan out and fan-outs to finish. Must be empty before the session waits for anything.
#[derive(Default)]
pub(super) struct DirtyTopics {
    topics: Vec<DirtyTopic>,
    /// Fan-outs that are not finished, because other publishers requested further rounds.
    fan_outs: Vec<FanOut>,
}

/// A topic, and how much the session published to it since its last fan-out.
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

    /// Adds a topic in which events wait for a fan-out.
    pub(super) fn add_published(&mut self, topic: Arc<Topic>) {
        let mut dirty = DirtyTopic::new(topic);
        dirty.events = 1;
        self.topics.push(dirty);
    }

    /// Removes a deleted topic. The deletion has delivered its events.
    pub(super) fn remove(&mut self, name: &str) {
        self.topics
            .retain(|dirty| dirty.topic.name().as_str() != name);
    }

    /// Whether the session published anything since the last fan-out.
    pub(super) fn has_events(&self) -> bool {
        self.topics.iter().any(|dirty| dirty.events > 0)
    }

    /// Assumes that each topic has an event to fan out. After a panic, because an event may have been appended and not
    /// counted.
    pub(super) fn mark_all_published_to(&mut self) {
        for dirty in &mut self.topics {
            dirty.events += 1;
        }
    }

    /// Begins the fan-out of every dirty topic, and makes one round of each fan-out that is not finished.
    pub(super) fn fan_out(&mut self, batch: &mut ReadBatch) {
        // One by one, so that a panic does not lose the others.
        while let Some(dirty) = self.topics.pop() {
            if dirty.events > 0 {
                self.fan_outs.extend(FanOut::begin(&dirty.topic));
            }
        }
        self.fan_outs.retain_mut(|fan_out| !fan_out.round(batch));
    }

    /// Makes further rounds until every fan-out is finished or `is_work` returns true. After [`MAX_ROUNDS`] it leaves the rest
    /// to the writers.
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
    /// Collects as many events as take about as long to publish as to send once to all subscribers. So subscribers of a busy
    /// publisher get events while it publishes, and a topic with many subscribers is not sent in many small chunks.
    fn new(topic: Arc<Topic>) -> DirtyTopic {
        let worthwhile = MAX_EVENTS_PER_SUBSCRIBER * topic.subscriber_count();
        DirtyTopic {
            events: 0,
            bytes: 0,
            max_events: worthwhile.max(MIN_MAX_EVENTS),
            topic,
        }
    }

    /// Counts a published event. Returns `true` if the topic should be fanned out now.
    pub(super) fn published(&mut self, event_bytes: usize) -> bool {
        self.events += 1;
        self.bytes += event_bytes;
        self.events >= self.max_events || self.bytes >= MAX_BYTES || self.topic.is_behind()
    }
}
