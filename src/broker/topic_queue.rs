//! Queues of topics by when they are due, each with one thread that waits for the earliest.
//!
//! A topic is in a queue only while there is something to do for it: in that of expiry while it holds events with a time to
//! live, or is unused and would be deleted for that; in that of presence while watchers have not heard of a change. So other
//! topics cost nothing, however many there are. A topic may be in the queue of expiry too early, never too late: what is due is
//! decided under the topic's lock ([`Topic::expire_history`](super::Topic)).

use std::collections::BTreeSet;
use std::time::Instant;

use crate::sync::{Condvar, HashMap, Lock, Mutex, mutex};

/// The queues of a server.
pub(super) struct TopicQueues {
    /// Topics with something to expire.
    pub(super) expiry: TopicQueue,
    /// Topics whose watchers are to hear who came and left.
    pub(super) presence: TopicQueue,
}

impl Default for TopicQueues {
    fn default() -> TopicQueues {
        TopicQueues {
            expiry: TopicQueue::new(Lock::Expiry),
            presence: TopicQueue::new(Lock::PresenceRounds),
        }
    }
}

impl TopicQueues {
    /// Takes a topic out that is dropped.
    pub(super) fn remove(&self, key: u64) {
        self.expiry.remove(key);
        self.presence.remove(key);
    }

    /// Nothing is due any more: ends the threads that wait.
    pub(super) fn close(&self) {
        self.expiry.close();
        self.presence.close();
    }
}

/// Topics are named by their keys, so that a topic in the queue is not kept in memory.
pub(super) struct TopicQueue {
    /// Held for one look-up or one change. No lock is taken under it.
    queue: Mutex<Queue>,
    /// The earliest topic is another one, or the queue is closed.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    by_time: BTreeSet<(Instant, u64)>,
    /// When each topic is due.
    due: HashMap<u64, Instant>,
    is_closed: bool,
}

impl Queue {
    fn remove(&mut self, key: u64) {
        if let Some(at) = self.due.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    fn first(&self) -> Option<(Instant, u64)> {
        self.by_time.first().copied()
    }
}

impl TopicQueue {
    fn new(lock: Lock) -> TopicQueue {
        TopicQueue {
            queue: mutex(lock, Queue::default()),
            changed: Condvar::new(),
        }
    }

    /// Makes the topic with this key due at this time, unless it is due earlier. Called with no lock held.
    pub(super) fn add(&self, key: u64, at: Instant) {
        let mut queue = self.queue.lock();
        if queue.due.get(&key).is_some_and(|due| *due <= at) {
            return;
        }
        queue.remove(key);
        queue.due.insert(key, at);
        queue.by_time.insert((at, key));
        if queue.first() == Some((at, key)) {
            self.changed.notify_all();
        }
    }

    fn remove(&self, key: u64) {
        self.queue.lock().remove(key);
    }

    /// Waits until a topic is due, and takes it out. `None` once the queue is closed.
    pub(super) fn wait(&self) -> Option<u64> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            match queue.first() {
                None => self.changed.wait(&mut queue),
                Some((at, key)) if at <= Instant::now() => {
                    queue.remove(key);
                    return Some(key);
                }
                Some((at, _)) => {
                    self.changed.wait_until(&mut queue, at);
                }
            }
        }
    }

    /// How many topics are in it.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.lock().due.len()
    }

    /// Nothing is due any more: ends the thread that waits.
    pub(super) fn close(&self) {
        self.queue.lock().is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn topics_come_out_in_the_order_of_their_times_and_each_once() {
        let queue = TopicQueue::new(Lock::Expiry);
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        queue.add(1, after(3));
        queue.add(2, after(1));
        queue.add(3, after(60_000));
        queue.add(1, after(9));
        queue.add(3, after(2));
        queue.add(4, after(0));
        queue.remove(4);
        assert_eq!(
            [queue.wait(), queue.wait(), queue.wait()],
            [Some(2), Some(3), Some(1)]
        );
        assert!(Instant::now() >= after(3), "too early");
        assert!(queue.queue.lock().due.is_empty());
    }

    #[test]
    fn an_earlier_topic_and_the_end_wake_the_thread_that_waits() {
        let queue = TopicQueue::new(Lock::Expiry);
        queue.add(1, Instant::now() + Duration::from_secs(3_600));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| [queue.wait(), queue.wait()]);
            queue.add(2, Instant::now());
            while queue.queue.lock().due.contains_key(&2) {
                std::thread::yield_now();
            }
            queue.close();
            assert_eq!(waiting.join().unwrap(), [Some(2), None]);
        });
    }
}
