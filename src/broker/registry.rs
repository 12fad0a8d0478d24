//! The registry of topics: creates, finds, lists and deletes them.

use std::collections::hash_map::Entry;

use super::Topic;
use super::log::LogBounds;
use super::memory_budget::MemoryBudget;
use super::topic::TopicSettings;
use crate::config::{Config, OverflowPolicy};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicBool, HashMap, Lock, Ordering, RwLock, rw_lock};

/// All topics of a server.
pub(crate) struct Broker {
    /// Held for a look-up, one change, or a copy of all handles. No topic's lock is taken under it.
    topics: RwLock<Topics>,
    max_topics: usize,
    defaults: TopicSettings,
    memory_budget: Arc<MemoryBudget>,
    draining: Arc<AtomicBool>,
    created_log: LimitedLog,
    deleted_log: LimitedLog,
}

#[derive(Default)]
struct Topics {
    by_name: HashMap<TopicName, Arc<Topic>>,
    /// The number of topics created plus the number deleted.
    changes: u64,
    /// All topics in the order of names, until the next change. Cached because sorting takes longer than listing.
    sorted: Option<SortedTopics>,
}

/// Topics in the order of their names.
pub(crate) type SortedTopics = Arc<[Arc<Topic>]>;

impl Topics {
    /// Notes a change; returns the outdated list, for the caller to drop without the lock.
    fn changed(&mut self) -> Option<SortedTopics> {
        self.changes += 1;
        self.sorted.take()
    }
}

/// Settings of a new topic; `None` means the server's setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// Events kept for replay; 0 keeps none. The range is that of [`Config::history_size`].
    pub history_size: Option<usize>,
    /// Undelivered events a subscription may hold. The range is that of [`Config::max_queue_size`].
    pub max_queue_size: Option<usize>,
    /// What happens to a subscription that would hold more than its queue.
    pub overflow: Option<OverflowPolicy>,
}

/// Why a topic was not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateError {
    Exists,
    LimitReached,
    ShuttingDown,
}

impl Broker {
    #[cfg(test)]
    pub(crate) fn new(config: &Config) -> Broker {
        Broker::counted(config, std::sync::Arc::default())
    }

    /// A broker without topics that counts in `metrics`.
    pub(crate) fn counted(config: &Config, metrics: SharedMetrics) -> Broker {
        Broker {
            topics: rw_lock(Lock::Registry, Topics::default()),
            max_topics: config.max_topics,
            defaults: TopicSettings {
                bounds: LogBounds {
                    history_size: config.history_size,
                    max_queue_size: config.max_queue_size.max(1),
                    bytes: config.history_bytes,
                },
                overflow: config.overflow,
                block_timeout: config.block_timeout,
            },
            memory_budget: Arc::new(MemoryBudget::new(config.max_memory_bytes, metrics)),
            draining: Arc::new(AtomicBool::new(false)),
            created_log: LimitedLog::new("created topics"),
            deleted_log: LimitedLog::new("deleted topics"),
        }
    }

    pub(crate) fn create_topic(
        &self,
        name: TopicName,
        options: &TopicOptions,
    ) -> Result<Arc<Topic>, CreateError> {
        if self.is_draining() {
            return Err(CreateError::ShuttingDown);
        }
        let mut topics = self.topics.write();
        let is_full = topics.by_name.len() >= self.max_topics;
        let topic = match topics.by_name.entry(name.clone()) {
            Entry::Occupied(_) => return Err(CreateError::Exists),
            Entry::Vacant(_) if is_full => return Err(CreateError::LimitReached),
            Entry::Vacant(vacant) => {
                let topic = Topic::new(
                    name,
                    self.settings(options),
                    &self.memory_budget,
                    &self.draining,
                );
                limited!(self.created_log, info, "topic created", topic = %topic.name(), epoch = topic.epoch());
                Arc::clone(vacant.insert(topic))
            }
        };
        let outdated = topics.changed();
        drop(topics);
        drop(outdated);
        Ok(topic)
    }

    /// Deletes a topic. Its subscribers read to its end and get a notice; then their subscriptions end. Returns `false` if
    /// there is no such topic.
    pub(crate) fn delete_topic(&self, name: &TopicName) -> bool {
        let mut topics = self.topics.write();
        let Some(topic) = topics.by_name.remove(name) else {
            return false;
        };
        let outdated = topics.changed();
        drop(topics);
        drop(outdated);
        let subscribers = topic.delete();
        let messages = topic.head();
        limited!(self.deleted_log, info, "topic deleted", topic = %name, messages, subscribers);
        true
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// All topics in the order of names.
    pub(crate) fn topics(&self) -> SortedTopics {
        let topics = self.topics.read();
        if let Some(sorted) = &topics.sorted {
            return Arc::clone(sorted);
        }
        let changes = topics.changes;
        let mut list: Vec<_> = topics.by_name.values().cloned().collect();
        drop(topics);
        list.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let list = SortedTopics::from(list);
        let mut topics = self.topics.write();
        if topics.changes == changes {
            topics.sorted = Some(Arc::clone(&list));
        }
        list
    }

    pub(crate) fn topic_count(&self) -> usize {
        self.topics.read().by_name.len()
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.memory_budget.subscriptions()
    }

    /// The metrics in which the broker counts.
    pub(crate) fn metrics(&self) -> &SharedMetrics {
        &self.memory_budget.metrics
    }

    /// Bytes of all retained events.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.memory_budget.retained.bytes()
    }

    /// Memory that all retained events take. The budget limits it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.memory_budget.held.bytes()
    }

    /// Refuses new topics, publishes and subscribes. No topic gets another event after this returns.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for topic in self.topics().iter() {
            topic.drain();
        }
    }

    /// The flag behind [`Broker::is_draining`], for callers that check it often.
    pub(crate) fn draining(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.draining)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn settings(&self, options: &TopicOptions) -> TopicSettings {
        let mut settings = self.defaults;
        let bounds = &mut settings.bounds;
        bounds.history_size = options.history_size.unwrap_or(bounds.history_size);
        bounds.max_queue_size = options
            .max_queue_size
            .unwrap_or(bounds.max_queue_size)
            .max(1);
        settings.overflow = options.overflow.unwrap_or(settings.overflow);
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{PublishError, ReadBatch};
    use crate::protocol::{Message, Timestamp};
    use serde_json::value::RawValue;
    use std::thread;

    #[test]
    fn nothing_is_published_after_drain_returns() {
        let pad = "x".repeat(64 << 10);
        let payload: Box<RawValue> = serde_json::from_str(&format!("\"{pad}\"")).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let late = (0..50).filter(|_| {
            let broker = Broker::new(&Config::default());
            let name = TopicName::new("t").unwrap();
            let topic = broker.create_topic(name, &TopicOptions::default()).unwrap();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut published = topic.try_publish(&message, Timestamp::now(), None);
                        while !matches!(published, Err(PublishError::ShuttingDown)) {
                            topic.fan_out(&mut ReadBatch::default());
                            published = topic.try_publish(&message, Timestamp::now(), None);
                        }
                    });
                }
                while topic.head() < 20 {
                    thread::yield_now();
                }
                broker.drain();
                topic.head()
            }) < topic.head()
        });
        assert_eq!(late.count(), 0);
    }
}
