//! A subscription: one client's interest in a topic, and the sink of the connection that receives the events.

use std::time::Instant;

use super::chunk::{Chunk, ReadBatch};
use super::cursor::{Cursor, CursorKey, LogView, Progress};
use super::last_time::LastTime;
use super::takeover::{Takeover, Tenure};
use super::topic::Topic;
use crate::config::OverflowPolicy;
use crate::protocol::{ClientId, Encoding, EpochName, Gap, GapReason};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, Weak};

/// The subscriber sink: what a subscription needs of its connection. The broker calls it with no lock held.
pub(crate) trait SubscriberSink: Send + Sync {
    /// Tries to send a chunk of the subscription's next events, and leaves what the socket refuses to the writer. Never waits
    /// for the peer.
    fn deliver(
        &self,
        subscription: &Arc<Subscription>,
        batch: &mut ReadBatch,
        if_busy: IfBusy,
    ) -> Delivery;

    /// Schedules the connection's writer to deliver the subscription's next events.
    fn schedule_writer(&self, subscription: &Arc<Subscription>);

    /// Ends a subscription that another connection took over, and sends a notice of that.
    fn replaced(&self, subscription: &Arc<Subscription>);

    /// Ends the connection because of the topic's overflow policy.
    fn too_slow(&self, subscription: &Arc<Subscription>);

    /// Whether the connection is ending or has ended. Takes no lock, because it is called under a topic's lock.
    fn is_over(&self) -> bool;

    /// Whether the writer has sent anything since this moment.
    fn has_taken_since(&self, moment: Instant) -> bool;
}

/// What [`SubscriberSink::deliver`] does while another thread sends on the connection. Such a send does not wait for the
/// peer, so `Wait` is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfBusy {
    Return,
    Wait,
}

/// The result of trying to deliver a subscription's next events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The socket took everything; or it refused some, and the writer sends the rest; or the connection is ending.
    Done,
    /// The socket took the chunk, and there is more. The caller must deliver again or schedule the writer.
    More,
    /// Another thread sends on the connection. The caller must deliver again or schedule the writer.
    Busy,
}

/// One client's interest in one topic.
pub(crate) struct Subscription {
    topic: Arc<Topic>,
    client_id: ClientId,
    /// Weak, because the connection owns its subscriptions, in its list and in the writer's channel.
    sink: Weak<dyn SubscriberSink>,
    /// Its cursor among those of its connection.
    cursor: CursorKey,
    /// The cursor's position, for observers; `u64::MAX` once ended. Written under the outbox lock.
    position: AtomicU64,
    /// Which of the subscriptions of its client id in the cluster it is; the newest has the largest. 0 in an embedded server.
    order: u64,
    tenure: Tenure,
    /// The scheduled flag: the connection's writer is scheduled to deliver events and has not begun to.
    scheduled: AtomicBool,
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
    /// The takeover of an older subscription of the same client id.
    pub(crate) takeover: Option<Takeover>,
}

/// Why a subscription cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeError {
    Deleted,
    AheadOfTopic,
    /// Its connection is ending: an older subscription of the client id is not taken over.
    ConnectionEnding,
}

/// Where a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The last seq that was read or reported as a gap.
    pub(crate) seq: u64,
    /// Events that were neither read nor reported as a gap.
    pub(crate) pending: u64,
}

impl Subscription {
    pub(super) fn new(
        topic: Arc<Topic>,
        client_id: ClientId,
        sink: Weak<dyn SubscriberSink>,
        cursor: CursorKey,
        position: u64,
        order: u64,
    ) -> Subscription {
        Subscription {
            topic,
            client_id,
            sink,
            cursor,
            position: AtomicU64::new(position),
            order,
            tenure: Tenure::default(),
            scheduled: AtomicBool::new(false),
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

    pub(super) fn order(&self) -> u64 {
        self.order
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
    pub(super) fn take(&self, cursor: &mut Cursor, batch: &ReadBatch) -> Option<Progress> {
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

/// The sink of a connection that is not here: of one on another node, or of none. It is over, and does nothing.
pub(crate) struct Elsewhere;

impl SubscriberSink for Elsewhere {
    fn deliver(&self, _: &Arc<Subscription>, _: &mut ReadBatch, _: IfBusy) -> Delivery {
        Delivery::Done
    }
    fn schedule_writer(&self, _: &Arc<Subscription>) {}
    fn replaced(&self, _: &Arc<Subscription>) {}
    fn too_slow(&self, _: &Arc<Subscription>) {}
    fn is_over(&self) -> bool {
        true
    }
    fn has_taken_since(&self, _: Instant) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
