//! The memory budget that all topics share, and the totals over all topics.

use std::collections::BinaryHeap;

use super::Topic;
use crate::metrics::SharedMetrics;
use crate::sync::{Arc, AtomicU64, AtomicUsize, HashMap, Lock, Mutex, Ordering, Weak, mutex};

/// When the budget is exceeded, eviction frees one part in this many of the budget beyond the need, so that the budget is not
/// exceeded again at once.
const SLACK: usize = 64;

pub(super) struct MemoryBudget {
    /// Its counts outlive the topics.
    pub(super) metrics: SharedMetrics,
    max_bytes: usize,
    /// Bytes of all retained events.
    pub(super) retained: Total,
    /// Memory that the retained events take. The budget limits this total.
    pub(super) held: Total,
    subscriptions: AtomicUsize,
    next_key: AtomicU64,
    /// Every topic that still holds events, including deleted ones. No lock is taken under this one.
    topics: Mutex<HashMap<u64, Weak<Topic>>>,
}

/// A sum over all topics.
#[derive(Default)]
pub(super) struct Total(AtomicUsize);

impl Total {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that a topic went from `before` to `after` bytes. Called under that topic's lock; changes only the counter.
    pub(super) fn changed(&self, before: usize, after: usize) {
        if after > before {
            self.0.fetch_add(after - before, Ordering::Relaxed);
        } else if after < before {
            self.0.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

impl MemoryBudget {
    pub(super) fn new(max_bytes: usize, metrics: SharedMetrics) -> MemoryBudget {
        MemoryBudget {
            metrics,
            max_bytes,
            retained: Total::default(),
            held: Total::default(),
            subscriptions: AtomicUsize::new(0),
            next_key: AtomicU64::new(0),
            topics: mutex(Lock::MemoryBudget, HashMap::default()),
        }
    }

    /// The key of a new topic in this list.
    pub(super) fn next_key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn add(&self, topic: &Arc<Topic>) {
        self.topics
            .lock()
            .insert(topic.key(), Arc::downgrade(topic));
    }

    pub(super) fn remove(&self, key: u64) {
        self.topics.lock().remove(&key);
    }

    /// The topic with this key, if it still holds events.
    pub(super) fn topic(&self, key: u64) -> Option<Arc<Topic>> {
        self.topics.lock().get(&key).and_then(Weak::upgrade)
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::Relaxed)
    }

    pub(super) fn subscribed(&self) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unsubscribed(&self, count: usize) {
        self.subscriptions.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.held.bytes() > self.max_bytes
    }

    /// Evicts the oldest events of the currently largest topic, repeatedly, until the budget holds.
    pub(super) fn evict_to_budget(&self) {
        // Held: another thread evicts already.
        let Some(topics) = self.topics.try_lock() else {
            return;
        };
        // Unlocked before the topics are dropped: dropping the last handle of a topic takes the lock in `remove`.
        let alive: Vec<Arc<Topic>> = topics.values().filter_map(Weak::upgrade).collect();
        drop(topics);
        let mut by_size: BinaryHeap<(usize, usize)> = alive
            .iter()
            .enumerate()
            .map(|(at, topic)| (topic.held_bytes(), at))
            .collect();
        let target = self.max_bytes - self.max_bytes / SLACK;
        while self.held.bytes() > target {
            let Some((size, at)) = by_size.pop() else {
                return;
            };
            let next = by_size.peek().map_or(0, |(size, _)| *size);
            let excess = self.held.bytes().saturating_sub(target);
            let left = alive[at].evict(next.min(size.saturating_sub(1)), excess);
            // A topic that freed nothing has nothing to free.
            if (1..size).contains(&left) {
                by_size.push((left, at));
            }
        }
    }
}
