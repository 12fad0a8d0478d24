//! A subscription: one client's interest in a topic, and the sink of the connection that receives the events.

mod sink;

use std::time::{Duration, Instant};

use super::chunk::{Chunk, EncodedBatch, ReadBatch};
use super::cursor::{Cursor, CursorKey, LogView, Progress};
use super::last_time::LastTime;
use super::patterns::PatternSubscription;
use super::presence::PresenceList;
use super::takeover::{Takeover, Tenure};
use super::topic::{PresenceBatch, Topic};
use crate::config::OverflowPolicy;
use crate::protocol::{ClientId, Encoding, EpochName, Gap, GapReason, Timestamp, UserName};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, Weak};

pub(crate) use sink::{Delivery, Elsewhere, IfBusy, SubscriberSink};

/// Who subscribes to a topic.
pub(crate) struct Subscriber<'a> {
    pub(crate) client_id: ClientId,
    pub(crate) sink: &'a Weak<dyn SubscriberSink>,
    /// See [`Subscription::order`].
    pub(crate) order: u64,
    /// The pattern through which, if not by name.
    pub(crate) pattern: Option<Arc<PatternSubscription>>,
    /// Whether the client hears who else is subscribed.
    pub(crate) watches: bool,
}

/// One client's interest in one topic.
pub(crate) struct Subscription {
    topic: Arc<Topic>,
    client_id: ClientId,
    /// The pattern through which the client is subscribed, if not by name.
    pattern: Option<Arc<PatternSubscription>>,
    /// Weak, because the connection owns its subscriptions, in its list and in the writer's channel.
    sink: Weak<dyn SubscriberSink>,
    /// Its cursor among those of its connection.
    cursor: CursorKey,
    /// The cursor's position, for observers; `u64::MAX` once ended. Written under the outbox lock.
    position: AtomicU64,
    /// Which of the subscriptions of its client id in the cluster it is; the newest has the largest. 0 in an embedded server.
    order: u64,
    /// When it began.
    since: Timestamp,
    tenure: Tenure,
    /// The scheduled flag: the connection's writer is scheduled to deliver events and has not begun to.
    scheduled: AtomicBool,
    /// The client hears who else is subscribed.
    watches: bool,
    /// It begins only when an older one has ended: until then nothing is read. Written under the outbox lock.
    waits: AtomicBool,
    /// The writer delivers events that the socket had refused. Written under the outbox lock.
    lags: AtomicBool,
    /// When the cursor last moved. Only updated under the `block` policy.
    moved: LastTime,
    /// Events skipped because the subscriber was slow, for observers.
    dropped: AtomicU64,
}

/// A new subscription, and what its ack says.
pub(crate) struct Opened {
    pub(crate) subscription: Arc<Subscription>,
    /// The epoch and the newest seq at the moment of subscribing.
    pub(crate) epoch: EpochName,
    pub(crate) seq: u64,
    pub(crate) recovered: Option<bool>,
    pub(crate) gap: Option<Gap>,
    /// Who is subscribed, for a client that watches.
    pub(crate) presence: Option<PresenceList>,
    /// The takeover of an older subscription of the same client id.
    pub(crate) takeover: Option<Takeover>,
}

/// Why a subscription cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeError {
    Deleted,
    AheadOfTopic,
    /// Of a mirror: this node does not follow who is subscribed in the cluster.
    PresenceUnknown,
    /// The connection has as many subscriptions as it may have.
    LimitReached,
    /// The pattern through which it was to come has ended.
    PatternEnded,
    /// The pattern has a subscription to the topic already.
    AlreadyOpen,
    /// Its connection is ending: an older subscription of the client id is not taken over.
    ConnectionEnding,
}

/// Where a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The last seq that was read or reported as a gap.
    pub(crate) seq: u64,
    /// Its epoch.
    pub(crate) epoch: EpochName,
    /// Events that were neither read nor reported as a gap.
    pub(crate) pending: u64,
}

impl Subscription {
    pub(super) fn new(
        topic: Arc<Topic>,
        subscriber: Subscriber<'_>,
        cursor: CursorKey,
        position: u64,
    ) -> Subscription {
        let Subscriber {
            client_id,
            sink,
            order,
            pattern,
            watches,
        } = subscriber;
        Subscription {
            topic,
            client_id,
            pattern,
            sink: Weak::clone(sink),
            cursor,
            position: AtomicU64::new(position),
            order,
            since: Timestamp::now(),
            tenure: Tenure::default(),
            scheduled: AtomicBool::new(false),
            watches,
            waits: AtomicBool::new(false),
            lags: AtomicBool::new(false),
            moved: LastTime::default(),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    pub(crate) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The pattern through which the client is subscribed, if not by name.
    pub(crate) fn pattern(&self) -> Option<&Arc<PatternSubscription>> {
        self.pattern.as_ref()
    }

    /// The user of its client's token, if that names one.
    pub(super) fn user(&self) -> Option<UserName> {
        self.sink.upgrade()?.user().cloned()
    }

    /// Whether the client hears who else is subscribed.
    pub(crate) fn watches(&self) -> bool {
        self.watches
    }

    pub(crate) fn came_from(&self, pattern: &Arc<PatternSubscription>) -> bool {
        let from = self.pattern.as_ref();
        from.is_some_and(|from| Arc::ptr_eq(from, pattern))
    }

    pub(super) fn order(&self) -> u64 {
        self.order
    }

    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) fn sink(&self) -> &Weak<dyn SubscriberSink> {
        &self.sink
    }

    pub(super) fn cursor_key(&self) -> CursorKey {
        self.cursor
    }

    /// Whether a newer subscription of the same client id has its place.
    pub(crate) fn is_superseded(&self) -> bool {
        self.tenure.is_over()
    }

    pub(super) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// See [`SubscriberSink::deliver`].
    pub(super) fn deliver(self: &Arc<Self>, batch: &mut ReadBatch, if_busy: IfBusy) -> Delivery {
        let sink = self.sink.upgrade();
        sink.map_or(Delivery::Done, |sink| sink.deliver(self, batch, if_busy))
    }

    /// Delivers one chunk, and leaves further events to the writer.
    pub(crate) fn deliver_one(self: &Arc<Self>, batch: &mut ReadBatch) {
        if self.deliver(batch, IfBusy::Return) != Delivery::Done {
            self.schedule_writer();
        }
    }

    /// See [`SubscriberSink::schedule_writer`].
    pub(super) fn schedule_writer(self: &Arc<Self>) {
        if let Some(sink) = self.sink.upgrade() {
            sink.schedule_writer(self);
        }
    }

    /// See [`SubscriberSink::presence_changed`].
    pub(super) fn presence_changed(self: &Arc<Self>, batch: &mut PresenceBatch) {
        if let Some(sink) = self.sink.upgrade() {
            sink.presence_changed(self, batch);
        }
    }

    /// See [`SubscriberSink::may_hold_publishers`].
    pub(super) fn may_hold_publishers(&self, block_timeout: Duration) {
        if let Some(sink) = self.sink.upgrade() {
            sink.may_hold_publishers(block_timeout);
        }
    }

    /// See [`SubscriberSink::too_slow`].
    pub(super) fn too_slow(self: &Arc<Self>) {
        if let Some(sink) = self.sink.upgrade() {
            sink.too_slow(self);
        }
    }

    /// Sets the scheduled flag. Returns `true` if it was not set: the caller must hand the subscription to the writer.
    pub(crate) fn schedule(&self) -> bool {
        !self.scheduled.swap(true, Ordering::SeqCst)
    }

    /// Clears the scheduled flag. Called before the log is read. A read-modify-write, so that the following read sees every
    /// append whose publisher saw the flag set.
    pub(crate) fn unschedule(&self) {
        self.scheduled.swap(false, Ordering::SeqCst);
    }

    /// Lets it wait: nothing is read until [`Subscription::begin`]. Both are called under the outbox lock.
    pub(crate) fn wait(&self) {
        self.waits.store(true, Ordering::Release);
    }

    pub(crate) fn begin(&self) {
        self.waits.store(false, Ordering::Release);
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Whether the writer delivers events that the socket had refused. Then no publisher need wait for the outbox lock.
    pub(crate) fn lags(&self) -> bool {
        self.lags.load(Ordering::Acquire)
    }

    pub(crate) fn set_lags(&self, lags: bool) {
        if self.lags() != lags {
            self.lags.store(lags, Ordering::Release);
        }
    }

    /// See [`Cursor::take`].
    pub(super) fn take(&self, cursor: &mut Cursor, batch: &EncodedBatch) -> Option<Progress> {
        let progress = cursor.take(batch, self.tenure.end_of(u64::MAX))?;
        self.moved_to(cursor);
        Some(progress)
    }

    /// See [`Cursor::read`]. Counts skipped events.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor,
        encoding: Encoding,
        chunk: &mut Chunk,
        limit_bytes: usize,
    ) -> Progress {
        let topic = &self.topic;
        let progress = topic.read(|state| {
            let view = LogView {
                topic: topic.name(),
                pattern: self.pattern.as_ref().map(|pattern| pattern.pattern()),
                log: &state.log,
                epochs: &state.epochs,
                encoding,
                end: self.tenure.end_of(state.log.head()),
                replay_upto: topic.replay_upto(),
                queue_start: topic.queue_start(),
                overflow: topic.overflow(),
                // A superseded subscription ends before the deletion; the newer one gets the notice.
                deleted: state.deleted && !self.tenure.is_over(),
            };
            cursor.read(&view, chunk, limit_bytes)
        });
        chunk.encode_large(encoding);
        self.count_skipped(progress);
        self.moved_to(cursor);
        progress
    }

    fn count_skipped(&self, progress: Progress) {
        let gaps = &self.topic.metrics().gaps;
        if progress.evicted > 0 {
            gaps.count(GapReason::HistoryEvicted.as_str());
        }
        if progress.dropped > 0 {
            gaps.count(GapReason::SlowConsumer.as_str());
            self.dropped.fetch_add(progress.dropped, Ordering::Relaxed);
            self.topic.count_dropped(progress.dropped);
        }
    }

    fn moved_to(&self, cursor: &Cursor) {
        self.position.store(cursor.position(), Ordering::SeqCst);
        if self.topic.overflow() == OverflowPolicy::Block {
            self.moved.set_now();
        }
    }

    /// Marks the subscription as ended, once its cursor is removed.
    pub(super) fn end(&self, cursor: &Cursor) -> End {
        let pending = self.pending_behind(cursor);
        self.position.store(u64::MAX, Ordering::SeqCst);
        End {
            seq: cursor.seq(),
            epoch: self
                .topic
                .read(|state| state.epochs.name_or_current(cursor.epoch)),
            pending,
        }
    }

    pub(super) fn pending_behind(&self, cursor: &Cursor) -> u64 {
        let end = self.tenure.end_of(self.topic.head());
        end.saturating_sub(cursor.after)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.position.load(Ordering::Acquire) == u64::MAX
    }

    /// See [`Cursor::position`]; `u64::MAX` once ended.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// Whether its cursor moved or its connection's writer sent anything since this moment.
    pub(super) fn has_progressed_since(&self, moment: Instant) -> bool {
        let sink = self.sink.upgrade();
        self.moved.is_after(moment) || sink.is_some_and(|sink| sink.has_taken_since(moment))
    }

    /// Live events neither read nor reported as a gap, for observers; `None` once ended. Takes no lock, so events published
    /// meanwhile may or may not be counted.
    pub(crate) fn lag(&self) -> Option<u64> {
        let position = self.position();
        let lag = self
            .tenure
            .end_of(self.topic.head())
            .saturating_sub(position);
        (position != u64::MAX).then_some(lag)
    }

    /// Events skipped because the subscriber was slow, since the subscription began.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
