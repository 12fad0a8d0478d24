//! One topic: its log and its subscribers under one lock, so that a subscribe takes its position and registers in one step.

mod changing;
mod idempotency;
mod lifetime;
mod mirroring;
mod presence;
mod publishing;
mod remembered_ids;
mod subscribing;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

use crossbeam_channel::Sender;

use super::epoch::Epochs;
use super::fan_out::FanOutState;
use super::gate::Gate;
use super::history::Ahead;
use super::log::{Log, LogBounds};
use super::memory_budget::MemoryBudget;
use super::mirror::{Mirror, Place as MirrorPlace};
use super::subscribers::Subscribers;
use super::topic_queue::TopicQueues;
use super::{ReadBatch, Subscription};
use crate::config::OverflowPolicy;
use crate::metrics::Metrics;
use crate::protocol::{EpochName, Timestamp, TopicName};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Lock, Ordering, RwLock, rw_lock};

use changing::LiveSettings;
pub(super) use changing::TopicChange;
use lifetime::Expiry;
pub(crate) use lifetime::{Lifetimes, unless_zero};
pub(crate) use mirroring::{Applied, Source};
use presence::Watched;
pub(crate) use presence::{Membership, PresenceBatch};
pub(crate) use publishing::{Place, PublishError, Published, WaitError};
use remembered_ids::RememberedIds;
pub(crate) use subscribing::Departure;
pub(super) use view::HistoryFigures;
pub(crate) use view::{ListedSubscriber, SubscriberList, TopicStats};

/// The settings of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    pub(super) bounds: LogBounds,
    pub(super) overflow: OverflowPolicy,
    pub(super) block_timeout: Duration,
    /// How long the id of an idempotent message is remembered.
    pub(super) idempotency_window: Duration,
    pub(super) lifetimes: Lifetimes,
}

/// What a topic starts with.
pub(super) struct Content {
    log: Log,
    epochs: Epochs,
    /// For a mirror of a topic of the cluster: where it is, and who is told of subscriptions that end.
    mirror: Option<(Mirror, Sender<Departure>)>,
}

impl Content {
    /// No events, in a new epoch.
    pub(super) fn empty(settings: &TopicSettings) -> Content {
        Content {
            log: Log::new(settings.bounds),
            epochs: Epochs::new(EpochName::random()),
            mirror: None,
        }
    }

    /// A mirror that begins after this place.
    pub(super) fn mirror(
        settings: &TopicSettings,
        place: MirrorPlace,
        departures: Sender<Departure>,
    ) -> Content {
        Content {
            log: Log::starting_after(place.seq, settings.bounds),
            epochs: Epochs::new(place.epoch),
            mirror: Some((Mirror::new(place), departures)),
        }
    }
}

/// A named stream of events.
pub(crate) struct Topic {
    key: u64,
    name: TopicName,
    settings: LiveSettings,
    /// The log and the list of subscribers. Held for one append or one bounded copy. No lock is taken and no socket is used
    /// under it.
    pub(super) state: RwLock<State>,
    /// The newest position, and the bytes and the memory of the retained events, for observers. Written under the lock.
    head: AtomicU64,
    retained_bytes: AtomicUsize,
    held_bytes: AtomicUsize,
    dropped: AtomicU64,
    /// Events up to this position are a replay for every subscription, because the mirror caught up with them.
    replay_upto: AtomicU64,
    departures: Option<Sender<Departure>>,
    pub(super) fan_out: FanOutState,
    pub(super) gate: Gate,
    memory_budget: Arc<MemoryBudget>,
    queues: Arc<TopicQueues>,
    draining: Arc<AtomicBool>,
}

pub(super) struct State {
    pub(super) log: Log,
    pub(super) epochs: Epochs,
    mirror: Option<Mirror>,
    subscribers: Subscribers,
    /// Only while somebody watches who is subscribed.
    watched: Option<Box<Watched>>,
    /// Only while there are any. A mirror has none: those of the cluster are in Redis.
    remembered: Option<Box<RememberedIds>>,
    expiry: Expiry,
    pub(super) deleted: bool,
    /// The time of the newest event.
    newest: Timestamp,
    /// A lower bound for the positions of all live subscriptions. Saves checking all of them on each publish.
    slowest: u64,
}

impl Topic {
    pub(super) fn new(
        name: TopicName,
        settings: TopicSettings,
        content: Content,
        memory_budget: &Arc<MemoryBudget>,
        queues: &Arc<TopicQueues>,
        draining: &Arc<AtomicBool>,
    ) -> Arc<Topic> {
        let Content {
            log,
            epochs,
            mirror,
        } = content;
        let (mirror, departures) = mirror.unzip();
        let head = log.head();
        let topic = Arc::new(Topic {
            key: memory_budget.next_key(),
            name,
            settings: LiveSettings::new(&settings),
            state: rw_lock(
                Lock::Topic,
                State {
                    log,
                    epochs,
                    mirror,
                    subscribers: Subscribers::default(),
                    watched: None,
                    remembered: None,
                    expiry: Expiry::new(settings.lifetimes),
                    deleted: false,
                    newest: Timestamp::EARLIEST,
                    slowest: 0,
                },
            ),
            head: AtomicU64::new(head),
            retained_bytes: AtomicUsize::new(0),
            held_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            replay_upto: AtomicU64::new(head),
            fan_out: FanOutState::new(head, departures.is_none()),
            departures,
            gate: Gate::default(),
            memory_budget: Arc::clone(memory_budget),
            queues: Arc::clone(queues),
            draining: Arc::clone(draining),
        });
        memory_budget.add(&topic);
        topic
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    /// An opaque text that identifies this incarnation of the topic.
    pub(crate) fn epoch(&self) -> EpochName {
        self.state.read().epochs.current().name()
    }

    pub(crate) fn overflow(&self) -> OverflowPolicy {
        self.settings.overflow()
    }

    /// How long a publisher waits at most for a subscriber that takes nothing; `None` if publishers never wait for
    /// subscribers.
    pub(crate) fn block_timeout(&self) -> Option<Duration> {
        let blocks = self.overflow() == OverflowPolicy::Block;
        blocks.then_some(self.settings.block_timeout)
    }

    pub(crate) fn max_queue_size(&self) -> usize {
        self.settings.max_queue_size()
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// A subscriber before this position has more undelivered events than its queue holds. 0 under the `block` policy, where
    /// publishers wait instead.
    pub(super) fn queue_start(&self) -> u64 {
        match self.overflow() {
            OverflowPolicy::Block => 0,
            _ => {
                let queue = self.max_queue_size() as u64;
                self.fan_out.seq().saturating_sub(queue)
            }
        }
    }

    /// Events up to this position are a replay for every subscription.
    pub(super) fn replay_upto(&self) -> u64 {
        self.replay_upto.load(Ordering::Acquire)
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes.load(Ordering::Relaxed)
    }

    /// Memory that the retained events and the remembered ids take.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.memory_budget.metrics
    }

    pub(super) fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
        self.metrics().dropped(self.overflow(), events);
    }

    pub(crate) fn subscriber_count(&self) -> usize {
        self.state.read().subscribers.len()
    }

    /// Calls `look` under the lock.
    pub(super) fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.read())
    }

    /// The newest position, and the bytes of all events up to it.
    pub(super) fn head_and_bytes(&self) -> (u64, u64) {
        let state = self.state.read();
        (state.log.head(), state.log.total_bytes())
    }

    /// The bytes of the retained events after one position, up to another.
    pub(super) fn bytes_between(&self, after: u64, upto: u64) -> u64 {
        if after == upto {
            return 0;
        }
        let state = self.state.read();
        (state.log.bytes_after(after) - state.log.bytes_after(upto)) as u64
    }

    /// Closes a mirror that nobody needs: as if deleted, so that a subscription under way opens another one. Returns `false`
    /// if it has subscribers.
    pub(super) fn close_if_unused(&self) -> bool {
        let mut state = self.state.write();
        let is_unused = state.subscribers.len() == 0;
        state.deleted |= is_unused;
        is_unused
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.state.read().deleted
    }

    /// Whether this position is ahead of it.
    pub(crate) fn has_not_reached(&self, seq: u64, epoch: &str) -> bool {
        let state = self.state.read();
        let current = state.epochs.current();
        current.name().as_str() == epoch && seq > current.seq(state.log.head())
    }

    /// What a position ahead of the topic means. In a cluster Redis may have lost the events before it.
    fn ahead(&self) -> Ahead {
        match self.departures {
            Some(_) => Ahead::IsForeign,
            None => Ahead::IsRefused,
        }
    }

    /// Refuses further publishes and subscribes, and lets every subscriber read to the end. Returns the number of subscribers.
    pub(super) fn delete(&self) -> usize {
        let subscribers = {
            let mut state = self.state.write();
            state.deleted = true;
            state.remembered = None;
            state.watched = None;
            self.update_figures(&state);
            std::mem::take(&mut state.subscribers).snapshot()
        };
        self.memory_budget.unsubscribed(subscribers.len());
        self.gate.notify();
        self.count_published(self.head());
        let mut batch = ReadBatch::default();
        for subscription in subscribers.iter() {
            subscription.deliver_one(&mut batch);
            self.departed(subscription);
        }
        subscribers.len()
    }

    /// Evicts the oldest events, then the oldest remembered ids, until the topic takes at most `keep_bytes` of memory or
    /// `excess` bytes are freed. Returns the memory it takes then.
    pub(super) fn evict(&self, keep_bytes: usize, excess: usize) -> usize {
        let mut state = self.state.write();
        let evictable = self.fan_out.seq();
        let enough = keep_bytes.max(state.held_bytes().saturating_sub(excess));
        while state.held_bytes() > enough && state.log.evict_oldest(evictable) {}
        state.evict_ids(enough);
        self.update_figures(&state);
        state.held_bytes()
    }

    pub(super) fn subscribers(&self) -> Arc<[Arc<Subscription>]> {
        let cached = self.state.read().subscribers.cached_snapshot();
        cached.unwrap_or_else(|| self.state.write().subscribers.snapshot())
    }

    /// Updates the figures for observers. Called under the lock.
    fn update_figures(&self, state: &State) {
        let (retained, held) = (state.log.bytes(), state.held_bytes());
        let before = self.retained_bytes.swap(retained, Ordering::Relaxed);
        self.memory_budget.retained.changed(before, retained);
        let before = self.held_bytes.swap(held, Ordering::Relaxed);
        self.memory_budget.held.changed(before, held);
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.memory_budget.remove(self.key);
        // It may be there also when its lifetimes were taken back.
        self.queues.remove(self.key);
        self.memory_budget
            .retained
            .changed(self.retained_bytes(), 0);
        self.memory_budget.held.changed(self.held_bytes(), 0);
    }
}
