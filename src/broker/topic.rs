//! One topic: its log and its subscribers under one lock, so that "take the position and register" is one step.

use std::time::{Duration, Instant};

use super::fan_out::FanOut;
use super::history::{HistoryError, HistoryPage, find_start};
use super::ledger::Ledger;
use super::log::{Log, LogBounds};
use super::room::Room;
use super::roster::Roster;
use super::{Batch, Outlet, Subscription};
use crate::config::OverflowPolicy;
use crate::protocol::{ClientId, Gap, Message, StartAt, Timestamp, TopicName, encode_event};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Ordering, RwLock, Weak};

/// What a topic was created with.
#[derive(Debug, Clone, Copy)]
pub(super) struct TopicSettings {
    pub(super) bounds: LogBounds,
    pub(super) overflow: OverflowPolicy,
    pub(super) block_timeout: Duration,
}

/// A named stream of events.
pub(crate) struct Topic {
    key: u64,
    name: TopicName,
    epoch: Box<str>,
    settings: TopicSettings,
    /// Guards the log and the roster. Held for one append or one bounded copy; nothing is taken while it is held, and
    /// no socket is touched.
    state: RwLock<State>,
    /// The newest seq, and the bytes retained, for observers. Written under the lock.
    head: AtomicU64,
    retained_bytes: AtomicUsize,
    dropped: AtomicU64,
    fan_out: FanOut,
    /// Everything up to here has been offered to every subscriber.
    offered: AtomicU64,
    room: Room,
    ledger: Arc<Ledger>,
    draining: Arc<AtomicBool>,
}

struct State {
    log: Log,
    roster: Roster,
    deleted: bool,
    /// The time of the newest event.
    newest: Timestamp,
    /// No live subscription stands behind this position: saves looking at all of them on each publish.
    slowest: u64,
}

/// A new subscription, not yet live.
pub(crate) struct Opened {
    pub(crate) subscription: Arc<Subscription>,
    /// The newest seq at the moment of subscribing.
    pub(crate) seq: u64,
    pub(crate) recovered: Option<bool>,
    pub(crate) gap: Option<Gap>,
    /// The subscription of the same client id that this one takes the place of. It must be ended.
    pub(crate) replaced: Option<Arc<Subscription>>,
}

/// What a message became.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) seq: u64,
    pub(crate) ts: Timestamp,
    pub(crate) event_bytes: usize,
}

/// Why a subscription cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeError {
    Deleted,
    AheadOfTopic,
}

/// Why a message was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishError {
    Deleted,
    /// Under the `block` policy: a subscriber must move on first. See [`Topic::wait_for_room`].
    Full {
        event_bytes: usize,
    },
    ShuttingDown,
}

/// What is known of a topic, for people.
#[derive(Debug, Clone)]
pub(crate) struct TopicStats {
    pub(crate) subscribers: usize,
    /// Publishes since the topic was created.
    pub(crate) messages: u64,
    pub(crate) seq: u64,
    pub(crate) history_count: usize,
    pub(crate) history_bytes: usize,
    pub(crate) history_first_seq: Option<u64>,
    pub(crate) overflow: OverflowPolicy,
    pub(crate) history_size: usize,
    pub(crate) max_history_bytes: usize,
    pub(crate) max_queue_size: usize,
    /// Events skipped for slow subscribers, counted once for each.
    pub(crate) dropped: u64,
}

impl Topic {
    pub(super) fn new(
        name: TopicName,
        settings: TopicSettings,
        ledger: &Arc<Ledger>,
        draining: &Arc<AtomicBool>,
    ) -> Arc<Topic> {
        let topic = Arc::new(Topic {
            key: ledger.next_key(),
            name,
            epoch: format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0).into(),
            settings,
            state: RwLock::new(State {
                log: Log::new(settings.bounds),
                roster: Roster::default(),
                deleted: false,
                newest: Timestamp::EARLIEST,
                slowest: 0,
            }),
            head: AtomicU64::new(0),
            retained_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            fan_out: FanOut::default(),
            offered: AtomicU64::new(0),
            room: Room::default(),
            ledger: Arc::clone(ledger),
            draining: Arc::clone(draining),
        });
        ledger.enter(&topic);
        topic
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    /// This incarnation of the topic: an opaque text.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn overflow(&self) -> OverflowPolicy {
        self.settings.overflow
    }

    pub(crate) fn max_queue_size(&self) -> usize {
        self.settings.bounds.max_queue_size
    }

    pub(crate) fn max_history_bytes(&self) -> usize {
        self.settings.bounds.bytes
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn subscriber_count(&self) -> usize {
        self.state.read().roster.len()
    }

    /// Reads the log under the lock; the second argument says whether the topic was deleted.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Log, bool) -> R) -> R {
        let state = self.state.read();
        look(&state.log, state.deleted)
    }

    /// Appends a message. Never waits; delivers nothing: see [`Topic::fan_out`].
    ///
    /// `arrived` becomes the event's time, unless that would make the topic's time go back.
    pub(crate) fn try_publish(
        &self,
        message: &Message<'_>,
        arrived: Timestamp,
    ) -> Result<Published, PublishError> {
        if self.draining.load(Ordering::SeqCst) {
            return Err(PublishError::ShuttingDown);
        }
        let mut state = self.state.write();
        if state.deleted {
            return Err(PublishError::Deleted);
        }
        let seq = state.log.head() + 1;
        let ts = arrived.max(state.newest);
        let event = encode_event(&self.name, message, seq, ts);
        let event_bytes = event.bytes().len();
        if self.settings.overflow == OverflowPolicy::Block
            && !self.make_room(&mut state, event_bytes)
        {
            return Err(PublishError::Full { event_bytes });
        }
        state.log.append(event);
        state.newest = ts;
        self.head.store(seq, Ordering::Release);
        self.book(&state.log);
        drop(state);
        if self.ledger.is_exceeded() {
            self.ledger.relieve();
        }
        Ok(Published {
            seq,
            ts,
            event_bytes,
        })
    }

    /// Offers everything published to every subscriber, unless another thread is about to. Called with no lock held.
    pub(crate) fn fan_out(&self, batch: &mut Batch) {
        let done = self
            .fan_out
            .run(|| self.is_behind(), || self.offer_all(batch));
        if !done {
            for subscription in self.subscribers().iter() {
                subscription.leave_to_writer();
            }
        }
    }

    /// Whether so much was published, by whomever, since a fan-out began that it must be offered before there is more.
    pub(crate) fn is_behind(&self) -> bool {
        let offered = self.offered.load(Ordering::Acquire);
        let unoffered = self.head().saturating_sub(offered);
        unoffered >= self.max_queue_size().div_ceil(2) as u64
    }

    fn offer_all(&self, batch: &mut Batch) {
        let head = self.head();
        batch.reset();
        for subscription in self.subscribers().iter() {
            subscription.offer(batch);
            if self.settings.overflow == OverflowPolicy::Disconnect {
                self.check_lag(subscription);
            }
        }
        self.offered.store(head, Ordering::Release);
    }

    /// Opens a subscription at its place in the log. It must go live, or end, before anything else is done with it.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        client_id: ClientId,
        start_at: &StartAt,
        outlet: Weak<dyn Outlet>,
    ) -> Result<Opened, SubscribeError> {
        let mut state = self.state.write();
        if state.deleted {
            return Err(SubscribeError::Deleted);
        }
        let start = find_start(&state.log, &self.epoch, start_at)
            .map_err(|_| SubscribeError::AheadOfTopic)?;
        let seq = state.log.head();
        let subscription = Arc::new(Subscription::new(
            Arc::clone(self),
            client_id,
            outlet,
            start.after,
            seq,
        ));
        let replaced = state.roster.insert(Arc::clone(&subscription));
        match &replaced {
            Some(older) => older.supersede_at(seq),
            None => self.ledger.subscribed(),
        }
        Ok(Opened {
            subscription,
            seq,
            recovered: start.recovered,
            gap: start.gap,
            replaced,
        })
    }

    /// Takes a subscription off the roster; does nothing if it is not there.
    pub(crate) fn unsubscribe(&self, subscription: &Subscription) {
        if self.state.write().roster.remove(subscription) {
            self.ledger.unsubscribed(1);
        }
    }

    /// Takes no more publishes and subscribes, and lets every subscriber read to the end; returns how many there are.
    pub(super) fn delete(&self) -> usize {
        let roster = {
            let mut state = self.state.write();
            state.deleted = true;
            std::mem::take(&mut state.roster).snapshot()
        };
        self.ledger.unsubscribed(roster.len());
        self.room.notify();
        let mut batch = Batch::default();
        for subscription in roster.iter() {
            subscription.offer(&mut batch);
        }
        roster.len()
    }

    /// Waits until an event of this size would push no unread event out, at most `timeout`; then ends whoever stands
    /// in the way. Under the `block` policy only; called with no lock held and nothing left to fan out.
    pub(crate) fn wait_for_room(&self, event_bytes: usize) {
        let deadline = Instant::now() + self.settings.block_timeout;
        let has_room = || {
            let state = self.state.read();
            let required = self.required_position(&state, event_bytes);
            self.draining.load(Ordering::SeqCst)
                || state.deleted
                || state
                    .roster
                    .iter()
                    .all(|subscription| subscription.position() >= required)
        };
        if self.room.wait(deadline, has_room) {
            return;
        }
        let required = self.required_position(&self.state.read(), event_bytes);
        for subscription in self
            .subscribers()
            .iter()
            .filter(|s| s.position() < required)
        {
            subscription.too_slow();
        }
    }

    /// A cursor moved, or a subscription ended.
    pub(super) fn moved(&self) {
        if self.settings.overflow == OverflowPolicy::Block {
            self.room.notify();
        }
    }

    /// Wakes the publishers that wait, to see that the server is draining.
    pub(super) fn wake_publishers(&self) {
        self.room.notify();
    }

    /// The part of the history that is asked for.
    pub(crate) fn history(&self, start_at: &StartAt) -> Result<HistoryPage, HistoryError> {
        let state = self.state.read();
        let start = find_start(&state.log, &self.epoch, start_at)?;
        let events = state
            .log
            .after(start.after)
            .map(|event| event.json().into())
            .collect();
        Ok(HistoryPage {
            seq: state.log.head(),
            events,
            gap: start.gap,
        })
    }

    pub(crate) fn stats(&self) -> TopicStats {
        let state = self.state.read();
        let (head, first) = (state.log.head(), state.log.history_start());
        let history_bytes = state
            .log
            .after(first - 1)
            .map(|event| event.bytes().len())
            .sum();
        let bounds = self.settings.bounds;
        TopicStats {
            subscribers: state.roster.len(),
            messages: head,
            seq: head,
            history_count: (head + 1 - first) as usize,
            history_bytes,
            history_first_seq: (first <= head).then_some(first),
            overflow: self.settings.overflow,
            history_size: bounds.history_size,
            max_history_bytes: bounds.bytes,
            max_queue_size: bounds.max_queue_size,
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Evicts oldest events until at most `keep_bytes` are left or `excess` bytes are freed; returns what is left.
    pub(super) fn evict(&self, keep_bytes: usize, excess: usize) -> usize {
        let mut state = self.state.write();
        let before = state.log.bytes();
        while state.log.bytes() > keep_bytes && before - state.log.bytes() < excess {
            state.log.evict_oldest();
        }
        self.book(&state.log);
        state.log.bytes()
    }

    fn subscribers(&self) -> Arc<[Arc<Subscription>]> {
        let cached = self.state.read().roster.cached_snapshot();
        cached.unwrap_or_else(|| self.state.write().roster.snapshot())
    }

    /// Ends a subscriber that holds more than its queue (policy `disconnect`).
    fn check_lag(&self, subscription: &Arc<Subscription>) {
        if subscription
            .position()
            .saturating_add(self.max_queue_size() as u64)
            < subscription.end_of(self.head())
        {
            subscription.too_slow();
        }
    }

    /// The position every subscriber must have reached before an event of this size may be appended.
    fn required_position(&self, state: &State, event_bytes: usize) -> u64 {
        let queue = self.max_queue_size() as u64;
        (state.log.head() + 1)
            .saturating_sub(queue)
            .max(state.log.eviction_horizon(event_bytes))
    }

    fn make_room(&self, state: &mut State, event_bytes: usize) -> bool {
        let required = self.required_position(state, event_bytes);
        if state.slowest < required {
            let head = state.log.head();
            state.slowest = state
                .roster
                .iter()
                .map(|s| s.position())
                .min()
                .unwrap_or(head)
                .min(head);
        }
        state.slowest >= required
    }

    /// Brings the observers' figures in line with the log. Called under the lock.
    fn book(&self, log: &Log) {
        let before = self.retained_bytes();
        if before != log.bytes() {
            self.retained_bytes.store(log.bytes(), Ordering::Relaxed);
            self.ledger.changed(before, log.bytes());
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.ledger.leave(self.key, self.retained_bytes());
    }
}
