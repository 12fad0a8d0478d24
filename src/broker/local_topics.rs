//! The topics that this server holds: all topics of an embedded server, or the mirrors on a node of a cluster.

use std::collections::hash_map::Entry;

use super::Topic;
use super::memory_budget::MemoryBudget;
use super::topic::{Content, TopicSettings};
use crate::metrics::SharedMetrics;
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicBool, HashMap, Lock, Ordering, RwLock, rw_lock};

pub(crate) struct LocalTopics {
    /// Held for a look-up, one change, or a copy of all handles. No topic's lock is taken under it.
    topics: RwLock<Topics>,
    pub(super) memory_budget: Arc<MemoryBudget>,
    draining: Arc<AtomicBool>,
}

#[derive(Default)]
struct Topics {
    by_name: HashMap<TopicName, Arc<Topic>>,
    /// The number of topics added plus the number removed.
    changes: u64,
    /// All topics in the order of names, until the next change. Cached because sorting takes longer than listing.
    sorted: Option<SortedTopics>,
}

/// Topics in the order of their names.
pub(crate) type SortedTopics = Arc<[Arc<Topic>]>;

/// Why a topic was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAdded {
    Exists,
    LimitReached,
}

impl Topics {
    /// Notes a change; returns the outdated list, for the caller to drop without the lock.
    fn changed(&mut self) -> Option<SortedTopics> {
        self.changes += 1;
        self.sorted.take()
    }
}

impl LocalTopics {
    pub(super) fn new(max_memory_bytes: usize, metrics: SharedMetrics) -> LocalTopics {
        LocalTopics {
            topics: rw_lock(Lock::Registry, Topics::default()),
            memory_budget: Arc::new(MemoryBudget::new(max_memory_bytes, metrics)),
            draining: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Adds a topic, unless there is one of its name or there are `max_topics`.
    pub(super) fn add(
        &self,
        name: TopicName,
        settings: TopicSettings,
        content: Content,
        max_topics: usize,
    ) -> Result<Arc<Topic>, NotAdded> {
        let mut topics = self.topics.write();
        let is_full = topics.by_name.len() >= max_topics;
        let topic = match topics.by_name.entry(name.clone()) {
            Entry::Occupied(_) => return Err(NotAdded::Exists),
            Entry::Vacant(_) if is_full => return Err(NotAdded::LimitReached),
            Entry::Vacant(vacant) => {
                let topic =
                    Topic::new(name, settings, content, &self.memory_budget, &self.draining);
                Arc::clone(vacant.insert(topic))
            }
        };
        let outdated = topics.changed();
        drop(topics);
        drop(outdated);
        Ok(topic)
    }

    /// Removes this topic from the list; returns `false` if it is not there.
    pub(super) fn remove(&self, topic: &Arc<Topic>) -> bool {
        let mut topics = self.topics.write();
        let listed = topics.by_name.get(topic.name());
        if !listed.is_some_and(|listed| Arc::ptr_eq(listed, topic)) {
            return false;
        }
        topics.by_name.remove(topic.name());
        let outdated = topics.changed();
        drop(topics);
        drop(outdated);
        true
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// All of them in the order of names.
    pub(crate) fn sorted(&self) -> SortedTopics {
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

    pub(crate) fn len(&self) -> usize {
        self.topics.read().by_name.len()
    }

    /// Subscriptions, all topics together.
    pub(crate) fn subscriptions(&self) -> usize {
        self.memory_budget.subscriptions()
    }

    pub(super) fn metrics(&self) -> &SharedMetrics {
        &self.memory_budget.metrics
    }

    /// Refuses new topics, publishes and subscribes. No topic gets another event after this returns.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for topic in self.sorted().iter() {
            topic.drain();
        }
    }

    pub(super) fn draining(&self) -> &Arc<AtomicBool> {
        &self.draining
    }
}
