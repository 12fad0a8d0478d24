//! A cursor: a subscription's read position in its topic's log, and the rules for what it reads next. Pure: no lock, no
//! clock, no I/O.

use super::chunk::{Chunk, ReadBatch};
use super::log::{Log, Run};
use crate::config::OverflowPolicy;
use crate::protocol::{Encoding, Gap, Notice, TopicName};

/// Identifies a cursor of a connection. Keys are never reused, so the key of an ended subscription finds no cursor.
pub(crate) type CursorKey = slotmap::DefaultKey;

/// A position in a log. Plain data, guarded by the outbox lock of the subscriber's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The last seq that was read or reported as a gap.
    pub(super) after: u64,
    /// The topic's head when the subscription began. Events up to here are a replay, to which the queue bound does not
    /// apply.
    pub(super) live_from: u64,
}

/// A topic as one subscription sees it. Borrowed under the topic's lock.
pub(super) struct LogView<'a> {
    pub(super) topic: &'a TopicName,
    pub(super) log: &'a Log,
    pub(super) encoding: Encoding,
    /// The newest seq that this subscription may read.
    pub(super) end: u64,
    /// Live events up to this seq no longer fit the subscription's queue.
    pub(super) queue_start: u64,
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

    /// Takes a batch that another subscription read, if it begins at this cursor. The subscription reads no seq after
    /// `ends_at`.
    pub(super) fn take(&mut self, batch: &ReadBatch, ends_at: u64) -> Option<Progress> {
        let fits = batch.after < batch.upto
            && self.after == batch.after
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
        if self.after < self.live_from {
            self.replay(view, chunk, limit_bytes, &mut progress);
        }
        if self.after >= self.live_from && !chunk.is_complete() {
            self.live(view, chunk, limit_bytes, &mut progress);
        }
        let at_the_end = view.deleted && self.after == view.log.head();
        if at_the_end && !chunk.is_complete() {
            let notice = Notice::TopicDeleted { topic: view.topic };
            view.encoding.push_notice(&mut chunk.bytes, notice);
            progress.ended = true;
        }
        let has_more = self.after < view.end || (at_the_end && !progress.ended);
        progress.more = has_more && !progress.overflowed;
        progress
    }

    /// Reads events up to `live_from`. Only eviction leaves a gap here.
    fn replay(
        &mut self,
        view: &LogView<'_>,
        chunk: &mut Chunk,
        limit_bytes: usize,
        progress: &mut Progress,
    ) {
        let evicted = (view.log.first_seq() - 1).min(self.live_from);
        if self.after < evicted {
            progress.evicted = evicted - self.after;
            self.report(view, chunk, &Gap::history_evicted(self.after + 1, evicted));
        }
        self.copy(view, self.live_from, chunk, limit_bytes, progress);
    }

    /// Reads events after `live_from`: the newest ones that fit the queue, and all that were not fanned out yet.
    fn live(
        &mut self,
        view: &LogView<'_>,
        chunk: &mut Chunk,
        limit_bytes: usize,
        progress: &mut Progress,
    ) {
        let kept = (view.log.first_seq() - 1)
            .max(view.queue_start)
            .min(view.end);
        if self.after < kept {
            if view.overflow != OverflowPolicy::DropOldest {
                progress.overflowed = true;
                return;
            }
            progress.dropped = kept - self.after;
            self.report(view, chunk, &Gap::slow_consumer(self.after + 1, kept));
        }
        if let Some(event) = view.log.after(self.after).next() {
            progress.oldest_micros = event.ts_micros();
        }
        self.copy(view, view.end, chunk, limit_bytes, progress);
    }

    fn report(&mut self, view: &LogView<'_>, chunk: &mut Chunk, gap: &Gap) {
        view.encoding.push_gap(&mut chunk.bytes, view.topic, gap);
        self.after += gap.count();
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
            let left = limit_bytes.saturating_sub(chunk.bytes.len());
            let run = match view.log.run(self.after, upto, left) {
                Some(Run::Small { events: 0, .. }) if is_first => {
                    view.log.run(self.after, self.after + 1, usize::MAX)
                }
                run => run,
            };
            let events = match run {
                None | Some(Run::Small { events: 0, .. }) => break,
                Some(Run::Small { frames, events }) => {
                    view.encoding.push_events(&mut chunk.bytes, frames);
                    events
                }
                Some(Run::Large(frame)) => {
                    chunk.large = Some(frame.clone());
                    1
                }
            };
            self.after += events;
            progress.events += events;
        }
    }
}
