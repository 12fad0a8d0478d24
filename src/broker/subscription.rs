//! A subscription: a cursor into a topic's log, and the connection that wants the events.

use std::time::Instant;

use super::gathering::{Progress, gather};
use super::last_time::LastTime;
use super::piece::{Batch, Piece};
use super::topic::Topic;
use crate::config::OverflowPolicy;
use crate::protocol::ClientId;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutation, Mutex, Ordering, Weak, mutated};

/// What a subscription needs of its connection. The broker calls it with no lock held.
pub(crate) trait Outlet: Send + Sync {
    /// Events are waiting: deliver a piece of them now, as far as the socket takes it; what it refuses is left to another
    /// thread. Never waits for the peer.
    fn offer(&self, subscription: &Arc<Subscription>, batch: &mut Batch, meeting: Meeting)
    -> Offer;

    /// Events are waiting that this thread will not deliver: see to it that another one does.
    fn leave_to_writer(&self, subscription: &Arc<Subscription>);

    /// Another connection took the client id over: end the subscription and say so.
    fn replaced(&self, subscription: &Arc<Subscription>);

    /// The overflow policy ends the connection.
    fn too_slow(&self, subscription: &Arc<Subscription>);

    /// The connection ends, or has ended. Takes no lock: it is asked under a topic's.
    fn is_over(&self) -> bool;

    /// Whether the peer has taken anything of what the socket had refused at first since this moment.
    fn has_taken_since(&self, moment: Instant) -> bool;
}

/// What to do where another thread sends on the same connection just now, which takes a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meeting {
    Pass,
    Wait,
}

/// What came of offering a subscription's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The socket took everything, or refused to take more, and the rest is with the writer; or the connection ends.
    Done,
    /// There is more, and the socket takes it: the caller must offer it or leave it to the writer.
    More,
    /// Another thread sends on the connection just now: the caller must offer again or leave it to the writer.
    Busy,
}

/// One client's interest in one topic.
pub(crate) struct Subscription {
    topic: Arc<Topic>,
    client_id: ClientId,
    /// Weak, because the connection holds its subscriptions, in its list and in what it asked its writer to do.
    outlet: Weak<dyn Outlet>,
    /// Guards the position in the log. Held for copying a bounded piece at most; the topic's lock may be taken under it.
    cursor: Mutex<Cursor>,
    /// How far the cursor has come, for observers; `u64::MAX` once ended. Written under the cursor lock only.
    position: AtomicU64,
    /// Nothing behind this seq is for it: where a newer subscription of the same client id took its place. Written under
    /// the topic's lock.
    superseded_at: AtomicU64,
    /// Whether the writer thread has been told of this subscription and has not yet looked.
    token: AtomicBool,
    /// Its writer has to catch up: events are left that the socket had no room for. Written under the lock of its
    /// connection's outbox.
    lags: AtomicBool,
    /// When the cursor last moved. Only kept under the `block` policy.
    moved: LastTime,
    /// Events skipped for slowness, for observers.
    dropped: AtomicU64,
}

struct Cursor {
    /// The last seq that was sent or told as a gap.
    after: u64,
    /// The topic's head when the subscription began: up to here it is a replay, which no queue bound cuts.
    live_from: u64,
    ended: bool,
}

/// Where a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The last seq that was sent or told as a gap.
    pub(crate) seq: u64,
    /// Events of the topic that it had neither sent nor told.
    pub(crate) pending: u64,
}

impl Subscription {
    pub(super) fn new(
        topic: Arc<Topic>,
        client_id: ClientId,
        outlet: Weak<dyn Outlet>,
        after: u64,
        live_from: u64,
    ) -> Self {
        Subscription {
            cursor: Mutex::new(Cursor {
                after,
                live_from,
                ended: false,
            }),
            moved: LastTime::default(),
            topic,
            client_id,
            outlet,
            position: AtomicU64::new(live_from),
            superseded_at: AtomicU64::new(u64::MAX),
            token: AtomicBool::new(false),
            lags: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    pub(crate) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// See [`Outlet::offer`]. Meets nobody: passes by where another thread sends.
    pub(super) fn offer(self: &Arc<Self>, batch: &mut Batch) -> Offer {
        self.offer_or(batch, Meeting::Pass)
    }

    /// See [`Outlet::offer`]. Waits for another thread that sends.
    pub(super) fn offer_waiting(self: &Arc<Self>, batch: &mut Batch) -> Offer {
        self.offer_or(batch, Meeting::Wait)
    }

    fn offer_or(self: &Arc<Self>, batch: &mut Batch, meeting: Meeting) -> Offer {
        let outlet = self.outlet.upgrade();
        outlet.map_or(Offer::Done, |outlet| outlet.offer(self, batch, meeting))
    }

    /// Offers one piece, and leaves what is behind it to the writer.
    pub(crate) fn offer_one(self: &Arc<Self>, batch: &mut Batch) {
        if self.offer(batch) != Offer::Done {
            self.leave_to_writer();
        }
    }

    /// See [`Outlet::leave_to_writer`].
    pub(super) fn leave_to_writer(self: &Arc<Self>) {
        if let Some(outlet) = self.outlet.upgrade() {
            outlet.leave_to_writer(self);
        }
    }

    /// See [`Outlet::too_slow`].
    pub(super) fn too_slow(self: &Arc<Self>) {
        if let Some(outlet) = self.outlet.upgrade() {
            outlet.too_slow(self);
        }
    }

    /// A newer subscription of the same client id has its place: ends it, with a notice unless both are one outlet's.
    pub(crate) fn give_way(self: &Arc<Self>, to: &Weak<dyn Outlet>) {
        match self.outlet.upgrade() {
            Some(outlet) if !self.outlet.ptr_eq(to) => outlet.replaced(self),
            _ => {
                self.end();
            }
        }
    }

    /// A newer subscription of the same client id begins behind this seq: this one ends there. Called under the topic's
    /// lock, so that whoever reads the log of later events sees it.
    pub(super) fn supersede_at(&self, seq: u64) {
        self.superseded_at.store(seq, Ordering::Release);
    }

    /// Whether a newer subscription of the same client id has its place.
    pub(super) fn is_superseded(&self) -> bool {
        self.superseded_at.load(Ordering::Acquire) != u64::MAX
    }

    /// The newest seq of the topic that is for this subscription.
    pub(super) fn end_of(&self, head: u64) -> u64 {
        head.min(self.superseded_at.load(Ordering::Acquire))
    }

    /// Whether its socket has taken anything since this moment.
    pub(super) fn has_progressed_since(&self, moment: Instant) -> bool {
        let outlet = self.outlet.upgrade();
        self.moved.is_after(moment) || outlet.is_some_and(|outlet| outlet.has_taken_since(moment))
    }

    /// Ends the subscription and says where; `None` if it had ended already. Nothing is gathered after.
    pub(crate) fn end(&self) -> Option<End> {
        let mut cursor = self.cursor.lock();
        if cursor.ended {
            return None;
        }
        let pending = self.pending_behind(&cursor);
        self.finish(&mut cursor);
        Some(End {
            seq: cursor.after,
            pending,
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.position.load(Ordering::Acquire) == u64::MAX
    }

    /// How far it has come, counting live events only; `u64::MAX` once ended.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// Live events that it has neither sent nor told, for observers; `None` once ended. Takes no lock: what is published
    /// meanwhile may or may not be counted.
    pub(crate) fn lag(&self) -> Option<u64> {
        let position = self.position();
        let lag = self.end_of(self.topic.head()).saturating_sub(position);
        (position != u64::MAX).then_some(lag)
    }

    /// Events skipped for slowness since it began.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Events are skipped for slowness: this subscription's figures, the topic's and the server's say so.
    pub(super) fn count_dropped(&self, events: u64) {
        self.dropped.fetch_add(events, Ordering::Relaxed);
        self.topic.count_dropped(events);
    }

    /// Events of the topic it has neither sent nor told.
    pub(crate) fn pending(&self) -> u64 {
        self.pending_behind(&self.cursor.lock())
    }

    fn pending_behind(&self, cursor: &Cursor) -> u64 {
        if cursor.ended {
            0
        } else {
            self.end_of(self.topic.head()).saturating_sub(cursor.after)
        }
    }

    /// Claims the one token; `true` for the caller that must hand it to the writer thread.
    pub(crate) fn claim_token(&self) -> bool {
        !self.token.swap(true, Ordering::SeqCst)
    }

    /// Gives the token back. A read-modify-write, before the log is read: an append that still saw the token
    /// claimed is then visible to the gathering that follows.
    pub(crate) fn release_token(&self) {
        if !mutated(Mutation::ReleaseTokenLate) {
            self.token.swap(false, Ordering::SeqCst);
        }
    }

    /// Whether its writer catches up with events that the socket had no room for: nobody need hurry to offer it more.
    pub(crate) fn lags(&self) -> bool {
        self.lags.load(Ordering::Acquire)
    }

    pub(crate) fn set_lags(&self, lags: bool) {
        if self.lags() != lags {
            self.lags.store(lags, Ordering::Release);
        }
    }

    /// Takes the events of a batch if it goes on exactly where this subscription stands.
    pub(crate) fn take(&self, batch: &Batch) -> Option<Progress> {
        let mut cursor = self.cursor.lock();
        let fits = !cursor.ended
            && batch.after < batch.upto
            && (cursor.after == batch.after || mutated(Mutation::TakeAnyBatch))
            && batch.upto <= self.end_of(batch.upto)
            && cursor.after >= cursor.live_from;
        fits.then(|| {
            self.advance(&mut cursor, batch.upto);
            Progress {
                events: batch.upto - batch.after,
                more: batch.more,
                ..Progress::default()
            }
        })
    }

    /// Gathers a new batch from where this subscription stands.
    pub(crate) fn fill(&self, batch: &mut Batch, limit_bytes: usize) -> Progress {
        batch.reset();
        let (progress, after, upto) = self.gather_between(&mut batch.piece, limit_bytes);
        let only_events = upto - after == progress.events && !progress.ended;
        if only_events {
            (batch.after, batch.upto, batch.more) = (after, upto, progress.more);
        }
        progress
    }

    /// Gathers what comes next, gaps included, up to about `limit_bytes` (at least one event).
    pub(crate) fn gather(&self, limit_bytes: usize) -> (Piece, Progress) {
        let mut piece = Piece::default();
        let (progress, ..) = self.gather_between(&mut piece, limit_bytes);
        if mutated(Mutation::ReleaseTokenLate) {
            self.token.swap(false, Ordering::SeqCst);
        }
        (piece, progress)
    }

    fn gather_between(&self, piece: &mut Piece, limit_bytes: usize) -> (Progress, u64, u64) {
        let mut cursor = self.cursor.lock();
        let from = cursor.after;
        if cursor.ended && !mutated(Mutation::GatherUnlessLive) {
            return (Progress::default(), from, from);
        }
        let (progress, upto) = gather(self, from, cursor.live_from, piece, limit_bytes);
        if progress.ended {
            cursor.after = upto;
            self.finish(&mut cursor);
        } else if upto > from {
            self.advance(&mut cursor, upto);
        }
        (progress, from, upto)
    }

    fn advance(&self, cursor: &mut Cursor, upto: u64) {
        cursor.after = upto;
        self.position
            .store(upto.max(cursor.live_from), Ordering::SeqCst);
        if self.topic.overflow() == OverflowPolicy::Block {
            self.moved.is_now();
        }
        self.topic.moved();
    }

    fn finish(&self, cursor: &mut Cursor) {
        cursor.ended = true;
        self.position.store(u64::MAX, Ordering::SeqCst);
        self.topic.moved();
    }
}

/// A connection that is over and does nothing, for tests.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl Outlet for Nobody {
    fn offer(&self, _: &Arc<Subscription>, _: &mut Batch, _: Meeting) -> Offer {
        Offer::Done
    }
    fn leave_to_writer(&self, _: &Arc<Subscription>) {}
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
