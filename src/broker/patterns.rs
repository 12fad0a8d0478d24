//! The patterns that clients are subscribed to. A topic is matched with them once, when it or they appear, and never by a publish.
//!
//! A topic that appears is joined by the patterns that match it before anybody finds it, so that they miss no event. A pattern that
//! begins finds the topics that exist. [`Patterns::appear`] and [`Patterns::begin`] exclude one another: each topic is met by
//! exactly one of the two.

use super::local_topics::SortedTopics;
use super::subscription::SubscriberSink;
use super::topic::Topic;
use crate::protocol::{ClientId, EpochName, StartAt, TopicName, TopicPattern};
use crate::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, HashMap, Lock, Mutex, Ordering, Weak, mutex,
};

/// Topics that were taken over by name from one pattern.
const MAX_LOST: usize = 10_000;

/// One client's interest in all topics that match a pattern.
pub(crate) struct PatternSubscription {
    pattern: TopicPattern,
    client_id: ClientId,
    sink: Weak<dyn SubscriberSink>,
    /// The number of the client's connection.
    connection: u64,
    /// Whether the client hears who else is subscribed.
    watches: bool,
    /// The newest has the largest.
    number: u64,
    /// Its client has not got the ack yet: topics that join begin after it. Written under the outbox lock.
    is_starting: AtomicBool,
    /// It was ended or replaced: no topic joins it any more.
    is_over: AtomicBool,
    /// On a node of a cluster: the message that the pattern has begun has come back.
    is_confirmed: AtomicBool,
    /// On a node of a cluster: topics that were taken over by name, with their epochs. They do not join again.
    lost: Mutex<HashMap<TopicName, EpochName>>,
    patterns: Weak<Patterns>,
}

impl PatternSubscription {
    pub(crate) fn pattern(&self) -> &TopicPattern {
        &self.pattern
    }

    pub(crate) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The connection of the client.
    pub(crate) fn sink(&self) -> &Weak<dyn SubscriberSink> {
        &self.sink
    }

    /// Whether the client hears who else is subscribed.
    pub(crate) fn watches(&self) -> bool {
        self.watches
    }

    pub(super) fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether its client has not got the ack yet: topics that join wait.
    pub(crate) fn is_starting(&self) -> bool {
        self.is_starting.load(Ordering::SeqCst)
    }

    /// Notes that the ack is queued. Called under the outbox lock of its connection.
    pub(crate) fn started(&self) {
        self.is_starting.store(false, Ordering::SeqCst);
    }

    /// Whether it was ended or replaced. A newer one that replaced it joins topics only after this is set, so that under the lock of
    /// a topic the two are in order.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Notes that a topic was taken over by name.
    pub(crate) fn lose(&self, topic: &Topic) {
        let epoch = topic.epoch();
        let mut lost = self.lost.lock();
        if lost.len() >= MAX_LOST {
            lost.clear();
        }
        lost.insert(topic.name().clone(), epoch);
    }

    /// Whether the topic of this epoch was taken over by name.
    pub(super) fn has_lost(&self, topic: &TopicName, epoch: EpochName) -> bool {
        self.lost.lock().get(topic) == Some(&epoch)
    }

    /// Joins no further topics. One that appears just now may still be joined. Does nothing if it ended before.
    pub(crate) fn end(self: &Arc<Self>) {
        if let Some(patterns) = self.patterns.upgrade() {
            patterns.remove(self);
        }
    }
}

/// All patterns of a server.
pub(crate) struct Patterns {
    /// Held while a topic appears, or a pattern begins or ends.
    appearing: Mutex<()>,
    registered: Mutex<Registered>,
    /// How many have begun and not ended.
    count: AtomicUsize,
    /// How many were prepared.
    prepared: AtomicU64,
}

#[derive(Default)]
struct Registered {
    open: HashMap<TopicPattern, HashMap<ClientId, Arc<PatternSubscription>>>,
    beginning: Vec<Beginning>,
}

/// A pattern whose session still lets topics join.
struct Beginning {
    pattern: Arc<PatternSubscription>,
    /// The topics that have appeared in the cluster meanwhile.
    appeared: Vec<(TopicName, EpochName)>,
}

impl Patterns {
    pub(super) fn new() -> Arc<Patterns> {
        Arc::new(Patterns {
            appearing: mutex(Lock::Appearing, ()),
            registered: mutex(Lock::Patterns, Registered::default()),
            count: AtomicUsize::new(0),
            prepared: AtomicU64::new(0),
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Prepares a pattern, which then begins or is called off.
    pub(super) fn prepare(
        self: &Arc<Self>,
        pattern: TopicPattern,
        client_id: ClientId,
        sink: Weak<dyn SubscriberSink>,
        connection: u64,
        watches: bool,
    ) -> Arc<PatternSubscription> {
        let prepared = Arc::new(PatternSubscription {
            number: self.prepared.fetch_add(1, Ordering::Relaxed),
            patterns: Arc::downgrade(self),
            is_starting: AtomicBool::new(true),
            is_over: AtomicBool::new(false),
            is_confirmed: AtomicBool::new(false),
            lost: mutex(Lock::LostTopics, HashMap::default()),
            pattern,
            client_id,
            sink,
            connection,
            watches,
        });
        self.registered.lock().beginning.push(Beginning {
            pattern: Arc::clone(&prepared),
            appeared: Vec::new(),
        });
        prepared
    }

    /// Calls off what was prepared.
    pub(super) fn call_off(&self, prepared: &Arc<PatternSubscription>) {
        self.registered.lock().no_longer_begins(prepared);
    }

    /// The topics that have appeared in the cluster while the pattern began. If there are none, topics join it by themselves from
    /// now on.
    pub(crate) fn take_appeared(
        &self,
        begun: &Arc<PatternSubscription>,
    ) -> Vec<(TopicName, EpochName)> {
        let mut registered = self.registered.lock();
        let appeared = registered.appeared(begun).map(std::mem::take);
        let appeared = appeared.unwrap_or_default();
        if appeared.is_empty() {
            registered.no_longer_begins(begun);
        }
        appeared
    }

    /// Begins a pattern that was prepared, in the place of an older one of the same client id. `list` puts it into the list of its
    /// connection, before any topic joins. The caller lets the topics join that `find` returns, and then those of
    /// [`Patterns::take_appeared`].
    pub(super) fn begin(
        &self,
        prepared: Arc<PatternSubscription>,
        find: impl FnOnce() -> Vec<TopicName>,
        list: impl FnOnce(&Arc<PatternSubscription>),
    ) -> BegunPattern {
        let _appearing = self.appearing.lock();
        let mut registered = self.registered.lock();
        let of_pattern = registered.open.entry(prepared.pattern.clone()).or_default();
        let older = of_pattern.insert(prepared.client_id.clone(), Arc::clone(&prepared));
        drop(registered);
        match &older {
            Some(older) => older.is_over.store(true, Ordering::SeqCst),
            None => drop(self.count.fetch_add(1, Ordering::Relaxed)),
        }
        let topics = find();
        list(&prepared);
        BegunPattern {
            subscription: prepared,
            topics,
            _takeover: older.map(PatternTakeover),
        }
    }

    /// Calls `add`, which makes a topic and calls what it is given with it before anybody can find the topic.
    pub(super) fn appear<R>(&self, add: impl FnOnce(&dyn Fn(&Arc<Topic>)) -> R) -> R {
        let _appearing = self.appearing.lock();
        add(&|topic| self.join(topic))
    }

    /// Waits until the topics that appear just now can be found. A client may know them from its pattern already.
    pub(super) fn wait_for_appearing(&self) {
        drop(self.appearing.lock());
    }

    /// Ends a pattern; when this returns, no topic joins it any more. Returns `false` if it had ended or has been replaced.
    pub(crate) fn end(&self, subscription: &Arc<PatternSubscription>) -> bool {
        let _appearing = self.appearing.lock();
        self.remove(subscription)
    }

    /// Calls `join` if a pattern has not ended. It does not end meanwhile.
    pub(super) fn while_open<R>(
        &self,
        pattern: &Arc<PatternSubscription>,
        join: impl FnOnce() -> R,
    ) -> Option<R> {
        let _appearing = self.appearing.lock();
        let is_open = self.registered.lock().is_open(pattern);
        is_open.then(join)
    }

    fn join(&self, topic: &Arc<Topic>) {
        let matching = self.registered.lock().matching(topic.name());
        for pattern in matching {
            if let Some(sink) = pattern.sink.upgrade() {
                // Whoever does not join has got an error, or is leaving.
                let _ = sink.topic_appeared(&pattern, topic, 0, &StartAt::First);
            }
        }
    }

    /// The patterns that a topic joins which has appeared in the cluster. Those that are beginning get it from
    /// [`Patterns::take_appeared`].
    pub(super) fn meet(
        &self,
        topic: &TopicName,
        epoch: EpochName,
    ) -> Vec<Arc<PatternSubscription>> {
        let mut registered = self.registered.lock();
        for Beginning { pattern, appeared } in &mut registered.beginning {
            if pattern.pattern.matches(topic.as_str()) {
                appeared.push((topic.clone(), epoch));
            }
        }
        let mut matching = registered.matching(topic);
        matching.retain(|pattern| registered.appeared(pattern).is_none());
        matching
    }

    /// All that have begun, by their patterns.
    pub(super) fn all(&self) -> Vec<(TopicPattern, Vec<Arc<PatternSubscription>>)> {
        let registered = self.registered.lock();
        let all = registered.open.iter().map(|(pattern, of_pattern)| {
            let subscriptions = of_pattern.values().cloned();
            (pattern.clone(), subscriptions.collect())
        });
        all.collect()
    }

    /// A pattern has begun on a node of the cluster, `here` the one with this number on this node. Another one of the same client id
    /// ends, if its own message came before.
    pub(super) fn on_begun(&self, pattern: &TopicPattern, client_id: &ClientId, here: Option<u64>) {
        let registered = self.registered.lock();
        let of_pattern = registered.open.get(pattern);
        let held = of_pattern.and_then(|of_pattern| of_pattern.get(client_id));
        let Some(held) = held.cloned() else { return };
        drop(registered);
        if here == Some(held.number) {
            held.is_confirmed.store(true, Ordering::Relaxed);
        } else if here.is_none() && held.is_confirmed.load(Ordering::Relaxed) && self.end(&held) {
            drop(PatternTakeover(held));
        }
    }

    fn remove(&self, subscription: &Arc<PatternSubscription>) -> bool {
        subscription.is_over.store(true, Ordering::SeqCst);
        let mut registered = self.registered.lock();
        registered.no_longer_begins(subscription);
        if !registered.is_open(subscription) {
            return false;
        }
        let pattern = &subscription.pattern;
        if let Some(of_pattern) = registered.open.get_mut(pattern) {
            of_pattern.remove(&subscription.client_id);
            if of_pattern.is_empty() {
                registered.open.remove(pattern);
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        true
    }
}

impl Registered {
    /// The list of what has appeared while a pattern begins.
    fn appeared(
        &mut self,
        pattern: &Arc<PatternSubscription>,
    ) -> Option<&mut Vec<(TopicName, EpochName)>> {
        let mut beginning = self.beginning.iter_mut();
        let found = beginning.find(|other| Arc::ptr_eq(&other.pattern, pattern))?;
        Some(&mut found.appeared)
    }

    fn no_longer_begins(&mut self, pattern: &Arc<PatternSubscription>) {
        self.beginning
            .retain(|other| !Arc::ptr_eq(&other.pattern, pattern));
    }

    fn is_open(&self, subscription: &Arc<PatternSubscription>) -> bool {
        let of_pattern = self.open.get(&subscription.pattern);
        let held = of_pattern.and_then(|of_pattern| of_pattern.get(&subscription.client_id));
        held.is_some_and(|held| Arc::ptr_eq(held, subscription))
    }

    /// The patterns that match. Of those of one client id only the newest, which would take the topic over from the others.
    fn matching(&self, topic: &TopicName) -> Vec<Arc<PatternSubscription>> {
        let name = topic.as_str();
        let mut newest: HashMap<&ClientId, &Arc<PatternSubscription>> = HashMap::default();
        let matching = self
            .open
            .iter()
            .filter(|(pattern, _)| pattern.matches(name));
        for subscription in matching.flat_map(|(_, of_pattern)| of_pattern.values()) {
            let held = newest
                .entry(&subscription.client_id)
                .or_insert(subscription);
            if held.number < subscription.number {
                *held = subscription;
            }
        }
        newest.into_values().cloned().collect()
    }
}

/// A pattern that has begun.
pub(crate) struct BegunPattern {
    pub(crate) subscription: Arc<PatternSubscription>,
    /// The topics that match it and are to join.
    pub(crate) topics: Vec<TopicName>,
    /// Dropped when they are.
    _takeover: Option<PatternTakeover>,
}

/// A pattern whose place a newer one has taken. Dropping this ends what the newer one has not taken over, on the older one's
/// connection.
struct PatternTakeover(Arc<PatternSubscription>);

impl Drop for PatternTakeover {
    fn drop(&mut self) {
        if let Some(sink) = self.0.sink.upgrade() {
            sink.pattern_replaced(&self.0);
        }
    }
}

/// The topics in a sorted list that match.
pub(super) fn matching_topics(topics: &SortedTopics, pattern: &TopicPattern) -> Vec<TopicName> {
    let text = pattern.as_str();
    let prefix = text.split_once('*').map_or(text, |(prefix, _)| prefix);
    let begin = topics.partition_point(|topic| topic.name().as_str() < prefix);
    topics[begin..]
        .iter()
        .map(|topic| topic.name())
        .take_while(|name| name.as_str().starts_with(prefix))
        .filter(|name| pattern.matches(name.as_str()))
        .cloned()
        .collect()
}
