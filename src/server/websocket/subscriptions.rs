//! The list of subscriptions of a connection: by topic and client id, and the patterns through which some of them came.

use std::collections::VecDeque;

use crate::broker::{PatternSubscription, Subscription, Topic};
use crate::protocol::{ClientId, EpochName, TopicName, TopicPattern};
use crate::sync::{Arc, HashMap, Lock, Mutex, mutex};

/// Identifies a subscription of a connection.
pub(super) type SubscriptionKey = (TopicName, ClientId);

type PatternKey = (TopicPattern, ClientId);

pub(super) struct Subscriptions {
    /// How many there may be, patterns included.
    max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    by_topic: HashMap<SubscriptionKey, Arc<Subscription>>,
    waiting: HashMap<SubscriptionKey, VecDeque<Waiting>>,
    patterns: HashMap<PatternKey, Arc<PatternSubscription>>,
    /// What clients get directly behind the acks of patterns that are starting.
    behind_acks: HashMap<PatternKey, Vec<u8>>,
}

/// A subscription that begins later: to a topic that was created again, while the client still gets what the deleted one had; or by
/// a pattern that is starting.
pub(super) struct Waiting {
    pub(super) subscription: Arc<Subscription>,
    /// Its first frames.
    pub(super) frames: Vec<u8>,
}

impl Waiting {
    /// Appends its first frames, unless it has ended, and lets it begin. Called under the outbox lock.
    pub(super) fn begin(&self, frames: &mut Vec<u8>) {
        if !self.subscription.has_ended() {
            frames.extend_from_slice(&self.frames);
        }
        self.subscription.begin();
    }

    fn is_starting(&self) -> bool {
        let pattern = self.subscription.pattern();
        pattern.is_some_and(|pattern| pattern.is_starting())
    }
}

impl Held {
    /// The subscription of this key, and those that wait for its end.
    fn of_key(&self, key: &SubscriptionKey) -> impl Iterator<Item = &Arc<Subscription>> {
        let waiting = self.waiting.get(key).into_iter().flatten();
        let waiting = waiting.map(|waiting| &waiting.subscription);
        self.by_topic.get(key).into_iter().chain(waiting)
    }

    /// Removes some of those that wait.
    fn take_waiting(
        &mut self,
        key: &SubscriptionKey,
        is_taken: impl Fn(&Subscription) -> bool,
    ) -> Vec<Arc<Subscription>> {
        let Some(waiting) = self.waiting.get_mut(key) else {
            return Vec::new();
        };
        let (taken, kept): (VecDeque<_>, VecDeque<_>) = std::mem::take(waiting)
            .into_iter()
            .partition(|waiting| is_taken(&waiting.subscription));
        *waiting = kept;
        if waiting.is_empty() {
            self.waiting.remove(key);
        }
        let taken = taken.into_iter();
        taken.map(|waiting| waiting.subscription).collect()
    }

    /// The next one that waits for the end of the one of this key takes its place, unless its pattern is starting.
    fn take_place(&mut self, key: &SubscriptionKey) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(key)?;
        waiting.front().filter(|next| !next.is_starting())?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(key);
        }
        let next = next?;
        self.by_topic
            .insert(key.clone(), Arc::clone(&next.subscription));
        Some(next)
    }

    fn has_pattern(&self, pattern: &Arc<PatternSubscription>) -> bool {
        let held = self.patterns.get(&key_of_pattern(pattern));
        held.is_some_and(|held| Arc::ptr_eq(held, pattern))
    }

    fn count(&self) -> usize {
        let waiting: usize = self.waiting.values().map(VecDeque::len).sum();
        self.by_topic.len() + waiting + self.patterns.len()
    }
}

fn key_of(subscription: &Subscription) -> SubscriptionKey {
    let topic = subscription.topic().name().clone();
    (topic, subscription.client_id().clone())
}

fn key_of_pattern(pattern: &PatternSubscription) -> PatternKey {
    (pattern.pattern().clone(), pattern.client_id().clone())
}

impl Subscriptions {
    pub(super) fn new(max: usize) -> Subscriptions {
        Subscriptions {
            max,
            held: mutex(Lock::Subscriptions, Held::default()),
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// How many there are, patterns included.
    pub(super) fn count(&self) -> usize {
        self.held.lock().count()
    }

    /// Those that have begun.
    pub(super) fn all(&self) -> Vec<Arc<Subscription>> {
        self.held.lock().by_topic.values().cloned().collect()
    }

    pub(super) fn get(&self, key: &SubscriptionKey) -> Option<Arc<Subscription>> {
        self.held.lock().by_topic.get(key).cloned()
    }

    /// Whether there is a subscription of this key, also one that waits.
    pub(super) fn has_any(&self, key: &SubscriptionKey) -> bool {
        self.held.lock().of_key(key).next().is_some()
    }

    /// Whether there is a subscription of this key that has not ended, to what is in this epoch; to a topic that is not deleted
    /// if the epoch is not known.
    pub(super) fn has_live(&self, key: &SubscriptionKey, epoch: Option<EpochName>) -> bool {
        let is_live = |subscription: &Arc<Subscription>| {
            let topic = subscription.topic();
            let is_it = match epoch {
                Some(epoch) => topic.epoch() == epoch,
                None => !topic.is_deleted(),
            };
            is_it && !subscription.has_ended()
        };
        let of_key = self.held.lock().of_key(key).cloned().collect::<Vec<_>>();
        of_key.iter().any(is_live)
    }

    /// Whether there is room for a subscription, which may replace one of its key.
    pub(super) fn has_room(&self, key: &SubscriptionKey) -> bool {
        let held = self.held.lock();
        held.by_topic.contains_key(key) || held.count() < self.max
    }

    /// Whether there is room for a subscription to this topic. It does not replace one to a topic that was deleted.
    pub(super) fn has_room_for(&self, key: &SubscriptionKey, topic: &Arc<Topic>) -> bool {
        let held = self.held.lock();
        let replaced = held.by_topic.get(key);
        let replaces =
            replaced.is_some_and(|older| older.has_ended() || Arc::ptr_eq(older.topic(), topic));
        replaces || held.count() < self.max
    }

    /// Whether there is room for a pattern, which may replace one of its key.
    pub(super) fn has_room_for_pattern(
        &self,
        pattern: &TopicPattern,
        client_id: &ClientId,
    ) -> bool {
        let key = (pattern.clone(), client_id.clone());
        let held = self.held.lock();
        held.patterns.contains_key(&key) || held.count() < self.max
    }

    /// A subscription of this key to a topic that was deleted, if the client still gets events of it.
    pub(super) fn of_deleted(
        &self,
        key: &SubscriptionKey,
        topic: &Arc<Topic>,
    ) -> Option<Arc<Subscription>> {
        let held = self.held.lock();
        let is_other =
            |older: &&Arc<Subscription>| !older.has_ended() && !Arc::ptr_eq(older.topic(), topic);
        held.of_key(key).find(is_other).cloned()
    }

    /// Adds a subscription. It replaces an older one of the same key, which is returned.
    pub(super) fn insert(&self, subscription: Arc<Subscription>) -> Option<Arc<Subscription>> {
        let key = key_of(&subscription);
        self.held.lock().by_topic.insert(key, subscription)
    }

    /// Adds a subscription that begins when all older ones of its key have ended. One to the same topic, which it replaces, is
    /// returned.
    pub(super) fn insert_waiting(&self, waiting: Waiting) -> Option<Arc<Subscription>> {
        let key = key_of(&waiting.subscription);
        let mut held = self.held.lock();
        let older = held.by_topic.get(&key);
        let replaces =
            older.is_some_and(|older| Arc::ptr_eq(older.topic(), waiting.subscription.topic()));
        let replaced = if replaces {
            held.by_topic.remove(&key)
        } else {
            None
        };
        held.waiting.entry(key).or_default().push_back(waiting);
        replaced
    }

    /// Whether a pattern has a subscription of this key to this topic, which may have gone on in another epoch.
    pub(super) fn has_of_pattern(
        &self,
        key: &SubscriptionKey,
        topic: &Arc<Topic>,
        pattern: &Arc<PatternSubscription>,
    ) -> bool {
        let held = self.held.lock();
        held.of_key(key).any(|held| {
            held.came_from(pattern) && Arc::ptr_eq(held.topic(), topic) && !held.has_ended()
        })
    }

    /// Keeps what a client gets behind the ack of a pattern that is starting.
    pub(super) fn keep_behind_ack(
        &self,
        pattern: &PatternSubscription,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut held = self.held.lock();
        write(held.behind_acks.entry(key_of_pattern(pattern)).or_default());
    }

    pub(super) fn take_behind_ack(&self, pattern: &PatternSubscription) -> Vec<u8> {
        let key = key_of_pattern(pattern);
        let kept = self.held.lock().behind_acks.remove(&key);
        kept.unwrap_or_default()
    }

    /// Where subscriptions wait, by topic.
    pub(super) fn waiting_keys(&self) -> Vec<SubscriptionKey> {
        let mut keys: Vec<_> = self.held.lock().waiting.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// The subscription of this key that need not wait any more, if there is one, takes its place in the list.
    pub(super) fn take_its_place(&self, key: &SubscriptionKey) -> Option<Waiting> {
        let mut held = self.held.lock();
        if held.by_topic.contains_key(key) {
            return None;
        }
        held.take_place(key)
    }

    /// Removes the waiting subscriptions of this key to this topic, which a newer one replaces.
    pub(super) fn remove_waiting(
        &self,
        key: &SubscriptionKey,
        topic: &Arc<Topic>,
    ) -> Vec<Arc<Subscription>> {
        let mut held = self.held.lock();
        held.take_waiting(key, |waiting| Arc::ptr_eq(waiting.topic(), topic))
    }

    /// Removes this subscription, unless another one replaced it. The one that waited for its end takes its place, and is
    /// returned.
    pub(super) fn remove(&self, subscription: &Arc<Subscription>) -> Option<Waiting> {
        let key = key_of(subscription);
        let mut held = self.held.lock();
        let is_it = held
            .by_topic
            .get(&key)
            .is_some_and(|held| Arc::ptr_eq(held, subscription));
        if !is_it {
            held.take_waiting(&key, |waiting| {
                std::ptr::eq(waiting, &raw const **subscription)
            });
            return None;
        }
        held.by_topic.remove(&key);
        held.take_place(&key)
    }

    pub(super) fn pattern(
        &self,
        pattern: &TopicPattern,
        client_id: &ClientId,
    ) -> Option<Arc<PatternSubscription>> {
        let key = (pattern.clone(), client_id.clone());
        self.held.lock().patterns.get(&key).cloned()
    }

    /// All patterns, in order.
    pub(super) fn patterns(&self) -> Vec<Arc<PatternSubscription>> {
        let mut patterns: Vec<_> = self.held.lock().patterns.values().cloned().collect();
        patterns.sort_unstable_by(|a, b| {
            let of = |pattern: &PatternSubscription| key_of_pattern(pattern);
            of(a).cmp(&of(b))
        });
        patterns
    }

    pub(super) fn has_pattern(&self, pattern: &Arc<PatternSubscription>) -> bool {
        self.held.lock().has_pattern(pattern)
    }

    pub(super) fn insert_pattern(&self, pattern: &Arc<PatternSubscription>) {
        let key = key_of_pattern(pattern);
        self.held.lock().patterns.insert(key, Arc::clone(pattern));
    }

    /// Removes a pattern, and returns the subscriptions that came from it, which the caller ends; those that wait for others
    /// first. `None` if it is not in the list.
    pub(super) fn remove_pattern(
        &self,
        pattern: &Arc<PatternSubscription>,
    ) -> Option<Vec<Arc<Subscription>>> {
        let mut held = self.held.lock();
        if !held.has_pattern(pattern) {
            return None;
        }
        held.patterns.remove(&key_of_pattern(pattern));
        let keys: Vec<_> = held.waiting.keys().cloned().collect();
        let waiting = keys
            .iter()
            .flat_map(|key| held.take_waiting(key, |waiting| waiting.came_from(pattern)));
        let mut all: Vec<_> = waiting.collect();
        let begun = held.by_topic.values();
        all.extend(begun.filter(|begun| begun.came_from(pattern)).cloned());
        Some(all)
    }

    /// Empties the list.
    pub(super) fn take(&self) -> (Vec<Arc<Subscription>>, Vec<Arc<PatternSubscription>>) {
        let Held {
            by_topic,
            waiting,
            patterns,
            ..
        } = std::mem::take(&mut *self.held.lock());
        let waiting = waiting.into_values().flatten();
        let waiting = waiting.map(|waiting| waiting.subscription);
        let subscriptions = by_topic.into_values().chain(waiting).collect();
        (subscriptions, patterns.into_values().collect())
    }
}
