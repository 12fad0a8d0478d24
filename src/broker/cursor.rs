//! A cursor: a subscription's read position in its topic's log, and the rules for what it reads next. Pure: no lock, no
//! clock, no I/O.

use super::chunk::{Chunk, EncodedBatch};
use super::epoch::{EpochMark, Epochs};
use super::log::{Log, Run};
use crate::config::OverflowPolicy;
use crate::protocol::{Encoding, EventId, Gap, Notice, TopicName, TopicPattern};

/// Identifies a cursor of a connection. Keys are never reused, so the key of an ended subscription finds no cursor.
pub(crate) type CursorKey = slotmap::DefaultKey;

/// A place in a log. Plain data, guarded by the outbox lock of the subscriber's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last position that was read or reported as a gap.
    pub(super) after: u64,
    /// The topic's head when the subscription began, or a later position up to which the topic caught up with the cluster.
    /// Events up to here are a replay, to which the queue bound does not apply.
    pub(super) live_from: u64,
    /// The epoch that it reads.
    pub(super) epoch: EpochMark,
}

/// A topic as one subscription sees it. Borrowed under the topic's lock.
pub(super) struct LogView<'a> {
    pub(super) topic: &'a TopicName,
    /// The pattern through which the client is subscribed, if not by name.
    pub(super) pattern: Option<&'a TopicPattern>,
    pub(super) log: &'a Log,
    pub(super) epochs: &'a Epochs,
    pub(super) encoding: Encoding,
    /// The newest position that this subscription may read.
    pub(super) end: u64,
    /// Live events up to this position no longer fit the subscription's queue.
    pub(super) queue_start: u64,
    /// Events up to this position are a replay for every subscription.
    pub(super) replay_upto: u64,
    pub(super) overflow: OverflowPolicy,
    /// The topic was deleted, and this subscription gets a notice of that.
    pub(super) deleted: bool,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Events read.
    pub(crate) events: u64,
    /// When the oldest live event among them was published, in microseconds since 1970; 0 if there is none.
    pub(crate) oldest_micros: u64,
    /// Evicted events of the replay, reported as a gap.
    pub(crate) evicted: u64,
    /// Events skipped because the subscriber is slow, reported as a gap.
    pub(crate) dropped: u64,
    /// There is more to read.
    pub(crate) more: bool,
    /// The chunk has the notice of a new epoch.
    pub(crate) epoch_changed: bool,
    /// The topic was deleted and everything was read: the subscription has ended.
    pub(crate) ended: bool,
    /// The queue overflowed, and the policy does not allow a gap: the connection must end.
    pub(crate) overflowed: bool,
}

impl Cursor {
    /// The position as the queue bound counts it: a replay counts as read.
    pub(super) fn position(&self) -> u64 {
        self.after.max(self.live_from)
    }

    /// Whether events of the replay are left.
    pub(super) fn replays(&self) -> bool {
        self.after < self.live_from
    }

    /// The seq of the last event that was read or reported as a gap.
    pub(super) fn seq(&self) -> u64 {
        self.epoch.seq(self.after)
    }

    /// Takes a batch that another subscription read, if it begins at this cursor. The subscription reads no position after
    /// `ends_at`.
    pub(super) fn take(&mut self, batch: &EncodedBatch, ends_at: u64) -> Option<Progress> {
        let fits = batch.after < batch.upto
            && self.after == batch.after
            && self.epoch == batch.epoch
            && batch.upto <= ends_at
            && self.after >= self.live_from;
        fits.then(|| {
            self.after = batch.upto;
            Progress {
                events: batch.upto - batch.after,
                more: batch.more,
                ..Progress::default()
            }
        })
    }

    /// Appends the next events and gaps to the chunk, up to about `limit_bytes` but at least one event.
    pub(super) fn read(
        &mut self,
        view: &LogView<'_>,
        chunk: &mut Chunk,
        limit_bytes: usize,
    ) -> Progress {
        let mut progress = Progress::default();
        self.live_from = self.live_from.max(view.replay_upto.min(view.end));
        loop {
            let next = view.epochs.after(self.epoch);
            let upto = next.map_or(view.end, |next| next.start.min(view.end));
            self.read_epoch(view, upto, chunk, limit_bytes, &mut progress);
            let is_read = self.after == upto && !chunk.is_complete();
            let Some(next) = next.filter(|next| is_read && next.start == upto) else {
                break;
            };
            let (epoch, seq) = (next.name(), next.seq(self.after));
            let topic = view.topic;
            let notice = Notice::EpochChanged { topic, epoch, seq };
            view.encoding.push_notice(&mut chunk.bytes, notice);
            self.epoch = next.mark();
            progress.epoch_changed = true;
        }
        let at_the_end = view.deleted && self.after == view.log.head();
        if at_the_end && !chunk.is_complete() {
            let (topic, pattern) = (view.topic, view.pattern);
            let notice = Notice::TopicDeleted { topic, pattern };
            view.encoding.push_notice(&mut chunk.bytes, notice);
            progress.ended = true;
        }
        let next = view.epochs.after(self.epoch);
        let has_more = self.after < view.end
            || (at_the_end && !progress.ended)
            || next.is_some_and(|next| next.start <= view.end);
        progress.more = has_more && !progress.overflowed;
        progress
    }

    /// Appends events and gaps up to a position in the cursor's epoch.
    fn read_epoch(
        &mut self,
        view: &LogView<'_>,
        upto: u64,
        chunk: &mut Chunk,
        limit_bytes: usize,
        progress: &mut Progress,
    ) {
        if self.after < self.live_from {
            self.replay(view, upto.min(self.live_from), chunk, limit_bytes, progress);
        }
        if self.after >= self.live_from && !chunk.is_complete() {
            self.live(view, upto, chunk, limit_bytes, progress);
        }
    }

    /// Reads events of the replay. Only eviction leaves a gap here.
    fn replay(
        &mut self,
        view: &LogView<'_>,
        upto: u64,
        chunk: &mut Chunk,
        limit_bytes: usize,
        progress: &mut Progress,
    ) {
        let evicted = (view.log.first_seq() - 1).min(upto);
        if self.after < evicted {
            progress.evicted += evicted - self.after;
            self.report(view, chunk, evicted, Gap::history_evicted);
        }
        self.copy(view, upto, chunk, limit_bytes, progress);
    }

    /// Reads live events: the newest ones that fit the queue, and all that were not fanned out yet.
    fn live(
        &mut self,
        view: &LogView<'_>,
        upto: u64,
        chunk: &mut Chunk,
        limit_bytes: usize,
        progress: &mut Progress,
    ) {
        let kept = (view.log.first_seq() - 1).max(view.queue_start).min(upto);
        if self.after < kept {
            if view.overflow != OverflowPolicy::DropOldest {
                progress.overflowed = true;
                return;
            }
            progress.dropped += kept - self.after;
            self.report(view, chunk, kept, Gap::slow_consumer);
        }
        if progress.oldest_micros == 0
            && let Some(event) = view.log.after(self.after).next()
        {
            progress.oldest_micros = event.ts_micros();
        }
        self.copy(view, upto, chunk, limit_bytes, progress);
    }

    /// Skips the events up to a position, and reports them as a gap.
    fn report(
        &mut self,
        view: &LogView<'_>,
        chunk: &mut Chunk,
        upto: u64,
        gap: impl FnOnce(u64, u64) -> Gap,
    ) {
        let gap = gap(self.seq() + 1, self.epoch.seq(upto));
        let epoch = || view.epochs.name_of(self.epoch);
        view.encoding
            .push_gap(&mut chunk.bytes, view.topic, &gap, epoch);
        self.after = upto;
    }

    /// Copies runs of adjacent events. The first event is copied whatever its size.
    fn copy(
        &mut self,
        view: &LogView<'_>,
        upto: u64,
        chunk: &mut Chunk,
        limit_bytes: usize,
        progress: &mut Progress,
    ) {
        while !chunk.is_complete() {
            let is_first = progress.events == 0;
            let room = limit_bytes.saturating_sub(chunk.bytes.len());
            let limit = view.encoding.run_limit(room);
            let run = match view.log.run(self.after, upto, limit) {
                Some(Run::Small { events: 0, .. }) if is_first => {
                    view.log.run(self.after, self.after + 1, usize::MAX)
                }
                run => run,
            };
            let events = match run {
                None | Some(Run::Small { events: 0, .. }) => break,
                Some(Run::Small { frames, events }) => {
                    let first = || self.next_id(view);
                    view.encoding.push_events(&mut chunk.bytes, frames, first);
                    events
                }
                Some(Run::Large(frame)) => {
                    chunk.large = Some(frame.clone());
                    chunk.large_id = self.next_id(view);
                    1
                }
            };
            self.after += events;
            progress.events += events;
        }
    }

    /// The id of the event after the cursor.
    fn next_id(&self, view: &LogView<'_>) -> Option<EventId> {
        let epoch = view.epochs.name_of(self.epoch)?;
        let seq = self.seq() + 1;
        Some(EventId { epoch, seq })
    }
}

#[cfg(test)]
mod tests;
