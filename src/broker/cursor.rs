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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::log::LogBounds;
    use crate::protocol::{Message, NewEvent, Timestamp};
    use serde_json::value::RawValue;

    const UNLIMITED: usize = usize::MAX;

    /// A log of this many events, of which it keeps the newest `kept`; and the frames of those.
    fn log(events: u64, kept: usize) -> (Log, Vec<Vec<u8>>) {
        let mut log = Log::new(LogBounds {
            history_size: kept,
            max_queue_size: 1,
            bytes: 1 << 20,
        });
        let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let topic = TopicName::new("t").unwrap();
        let mut append = |seq| {
            let event = NewEvent::new(&topic, &message, seq, Timestamp::EARLIEST);
            log.append(&event, u64::MAX);
            event.to_frame()
        };
        let frames: Vec<_> = (1..=events).map(&mut append).collect();
        let oldest_kept = frames.len() - kept.min(frames.len());
        (log, frames[oldest_kept..].to_vec())
    }

    fn read(
        cursor: &mut Cursor,
        log: &Log,
        limit: usize,
        change: impl FnOnce(&mut LogView<'_>),
    ) -> (Vec<u8>, Progress) {
        let topic = TopicName::new("t").unwrap();
        let mut view = LogView {
            topic: &topic,
            log,
            encoding: Encoding::WebSocket,
            end: log.head(),
            queue_start: 0,
            overflow: OverflowPolicy::DropOldest,
            deleted: false,
        };
        change(&mut view);
        let mut chunk = Chunk::default();
        let progress = cursor.read(&view, &mut chunk, limit);
        (chunk.bytes, progress)
    }

    fn cursor(after: u64, live_from: u64) -> Cursor {
        Cursor { after, live_from }
    }

    #[test]
    fn a_read_is_as_long_as_its_limit_and_at_least_one_event() {
        let (log, frames) = log(3, 3);
        let two = frames[0].len() + frames[1].len();
        for (limit, expected) in [(0, 1), (1, 1), (two - 1, 1), (two, 2), (UNLIMITED, 3)] {
            let mut cursor = cursor(0, 0);
            let (bytes, progress) = read(&mut cursor, &log, limit, |_| {});
            assert_eq!(bytes, frames[..expected].concat(), "{limit}");
            assert_eq!(
                (progress.events, progress.more),
                (expected as u64, expected < 3)
            );
            assert_eq!(cursor.after, expected as u64);
        }
    }

    #[test]
    fn evicted_events_of_a_replay_are_one_gap_whatever_the_queue() {
        let (log, frames) = log(5, 2);
        let mut cursor = cursor(1, 5);
        let (bytes, progress) = read(&mut cursor, &log, UNLIMITED, |view| view.queue_start = 5);
        let text = String::from_utf8_lossy(&bytes);
        let gap = r#""gap":{"from_seq":2,"to_seq":3,"count":2,"reason":"history_evicted"}"#;
        assert_eq!(text.matches(gap).count(), 1, "{text}");
        assert!(bytes.ends_with(&frames.concat()));
        assert_eq!(
            (progress.evicted, progress.dropped, progress.events),
            (2, 0, 2)
        );
        assert_eq!(cursor.after, 5);
    }

    #[test]
    fn live_events_beyond_the_queue_are_skipped_or_end_the_connection() {
        let (log, frames) = log(5, 5);
        let mut slow = cursor(1, 0);
        let (_, progress) = read(&mut slow, &log, UNLIMITED, |view| view.queue_start = 3);
        assert_eq!((progress.dropped, progress.events), (2, 2));
        let mut ended = cursor(1, 0);
        let (bytes, progress) = read(&mut ended, &log, UNLIMITED, |view| {
            view.queue_start = 3;
            view.overflow = OverflowPolicy::Disconnect;
        });
        assert!(bytes.is_empty() && progress.overflowed && !progress.more);
        assert_eq!(ended.after, 1);
        let mut kept = cursor(3, 0);
        let (bytes, _) = read(&mut kept, &log, UNLIMITED, |view| view.queue_start = 3);
        assert_eq!(bytes, frames[3..].concat());
    }

    #[test]
    fn a_superseded_cursor_stops_and_a_deleted_topic_ends_it_once() {
        let (log, frames) = log(3, 3);
        let mut superseded = cursor(0, 0);
        let (bytes, progress) = read(&mut superseded, &log, UNLIMITED, |view| view.end = 2);
        assert_eq!((bytes, progress.more), (frames[..2].concat(), false));
        let mut deleted = cursor(2, 0);
        let (_, progress) = read(&mut deleted, &log, UNLIMITED, |view| view.deleted = true);
        assert!(progress.ended && !progress.more);
    }

    #[test]
    fn a_batch_is_taken_only_by_a_live_cursor_at_its_start_and_not_beyond_its_end() {
        let batch = ReadBatch {
            after: 3,
            upto: 7,
            more: true,
            ..ReadBatch::default()
        };
        let take = |after, live_from, ends_at| cursor(after, live_from).take(&batch, ends_at);
        let progress = take(3, 3, 7).expect("it fits");
        assert_eq!((progress.events, progress.more), (4, true));
        assert_eq!(take(2, 0, 7), None);
        assert_eq!(take(4, 0, 7), None);
        assert_eq!(take(3, 4, 7), None, "a replay");
        assert_eq!(take(3, 0, 6), None, "superseded");
        assert_eq!(cursor(0, 0).take(&ReadBatch::default(), u64::MAX), None);
    }
}
