//! The topics that this server holds: all topics of an embedded server, or the mirrors on a node of a cluster.

use std::time::Instant;

use super::Topic;
use super::memory_budget::MemoryBudget;
use super::topic::{Content, TopicSettings};
use super::topic_queue::{TopicQueue, TopicQueues};
use crate::metrics::SharedMetrics;
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicBool, HashMap, Lock, Ordering, RwLock, rw_lock};

pub(crate) struct LocalTopics {
    /// Held for a look-up, one change, or a copy of all handles. The lock of a topic is taken under it only if nobody uses the
    /// topic.
    topics: RwLock<Topics>,
    pub(super) memory_budget: Arc<MemoryBudget>,
    pub(super) queues: Arc<TopicQueues>,
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
    /// Checks whether a topic of this name can be added.
    fn check_room(&self, name: &TopicName, max_topics: usize) -> Result<(), NotAdded> {
        if self.by_name.contains_key(name) {
            return Err(NotAdded::Exists);
        }
        match self.by_name.len() < max_topics {
            true => Ok(()),
            false => Err(NotAdded::LimitReached),
        }
    }

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
            queues: Arc::default(),
            draining: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Adds a topic, unless there is one of its name or there are `max_topics`. `prepare` is called with it before it can be
    /// found.
    pub(super) fn add(
        &self,
        name: TopicName,
        settings: TopicSettings,
        content: Content,
        max_topics: usize,
        prepare: impl FnOnce(&Arc<Topic>),
    ) -> Result<Arc<Topic>, NotAdded> {
        self.topics.read().check_room(&name, max_topics)?;
        let (budget, queues) = (&self.memory_budget, &self.queues);
        let topic = Topic::new(name, settings, content, budget, queues, &self.draining);
        prepare(&topic);
        let mut topics = self.topics.write();
        topics.check_room(topic.name(), max_topics)?;
        topics
            .by_name
            .insert(topic.name().clone(), Arc::clone(&topic));
        let outdated = topics.changed();
        drop(topics);
        drop(outdated);
        topic.queue_expiry();
        Ok(topic)
    }

    /// Removes this topic from the list; returns `false` if it is not there.
    pub(super) fn remove(&self, topic: &Arc<Topic>) -> bool {
        self.remove_if(topic, || true)
    }

    /// Removes this topic from the list and closes it, if it is there and nobody has used it for as long as its idle time.
    /// One step for all who look it up: they find the topic in use, or none.
    pub(super) fn remove_if_idle(&self, topic: &Arc<Topic>, now: Instant) -> bool {
        self.remove_if(topic, || topic.close_if_idle(now))
    }

    fn remove_if(&self, topic: &Arc<Topic>, may_go: impl FnOnce() -> bool) -> bool {
        let mut topics = self.topics.write();
        let listed = topics.by_name.get(topic.name());
        if !listed.is_some_and(|listed| Arc::ptr_eq(listed, topic)) || !may_go() {
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

    /// Waits until a topic has something to expire; `None` once nothing expires any more.
    pub(super) fn wait_for_expiry(&self) -> Option<Arc<Topic>> {
        self.wait_for(&self.queues.expiry)
    }

    /// Waits until the watchers of a topic are to hear who came and left; `None` once the server drains.
    pub(super) fn wait_for_presence(&self) -> Option<Arc<Topic>> {
        self.wait_for(&self.queues.presence)
    }

    /// A topic that ended meanwhile is skipped.
    fn wait_for(&self, queue: &TopicQueue) -> Option<Arc<Topic>> {
        loop {
            let key = queue.wait()?;
            if let Some(topic) = self.memory_budget.topic(key) {
                return Some(topic);
            }
        }
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
        self.queues.close();
        for topic in self.sorted().iter() {
            topic.drain();
        }
    }

    pub(super) fn draining(&self) -> &Arc<AtomicBool> {
        &self.draining
    }
}
