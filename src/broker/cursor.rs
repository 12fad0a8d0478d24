//! A cursor: a subscription's read position in its topic's log, and the rules for what it reads next. Pure: no lock, no
//! clock, no I/O.

use super::chunk::{Chunk, ReadBatch};
use super::epoch::{EpochMark, Epochs};
use super::log::{Log, Run};
use crate::config::OverflowPolicy;
use crate::protocol::{Encoding, Gap, Notice, TopicName};

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

    /// The seq of the last event that was read or reported as a gap.
    pub(super) fn seq(&self) -> u64 {
        self.epoch.seq(self.after)
    }

    /// Takes a batch that another subscription read, if it begins at this cursor. The subscription reads no position after
    /// `ends_at`.
    pub(super) fn take(&mut self, batch: &ReadBatch, ends_at: u64) -> Option<Progress> {
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
            let notice = Notice::TopicDeleted { topic: view.topic };
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
        view.encoding.push_gap(&mut chunk.bytes, view.topic, &gap);
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
    use crate::protocol::{EpochName, Message, NewEvent, Timestamp};
    use serde_json::value::RawValue;

    const UNLIMITED: usize = usize::MAX;

    fn f() -> EpochName {
        EpochName::parse("000000000000000f").unwrap()
    }

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
        read_in(
            &Epochs::new(EpochName::random()),
            cursor,
            log,
            limit,
            change,
        )
    }

    fn read_in(
        epochs: &Epochs,
        cursor: &mut Cursor,
        log: &Log,
        limit: usize,
        change: impl FnOnce(&mut LogView<'_>),
    ) -> (Vec<u8>, Progress) {
        let topic = TopicName::new("t").unwrap();
        let mut view = LogView {
            topic: &topic,
            log,
            epochs,
            encoding: Encoding::WebSocket,
            end: log.head(),
            queue_start: 0,
            replay_upto: 0,
            overflow: OverflowPolicy::DropOldest,
            deleted: false,
        };
        change(&mut view);
        let mut chunk = Chunk::default();
        let progress = cursor.read(&view, &mut chunk, limit);
        (chunk.bytes, progress)
    }

    fn cursor(after: u64, live_from: u64) -> Cursor {
        Cursor {
            after,
            live_from,
            epoch: EpochMark::default(),
        }
    }

    /// The gaps and notices among frames, without their times.
    fn told(bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes);
        let found = text
            .split(r#"{"type":"#)
            .filter(|part| part.contains(r#""gap":"#));
        found
            .map(|part| {
                let (_, gap) = part.split_once(r#""gap":"#).unwrap();
                gap.split(r#","ts""#).next().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn a_new_epoch_is_announced_between_its_events_and_the_older_ones() {
        let (log, frames) = log(5, 5);
        let mut epochs = Epochs::new(EpochName::random());
        epochs.begin(f(), 3, 0);
        let changed = r#"{"reason":"epoch_changed"},"epoch":"000000000000000f","seq":0"#;
        let mut whole = cursor(0, 0);
        let (bytes, progress) = read_in(&epochs, &mut whole, &log, UNLIMITED, |_| {});
        assert!(bytes.starts_with(&frames[..3].concat()) && bytes.ends_with(&frames[3..].concat()));
        assert_eq!(
            (told(&bytes), progress.events),
            (vec![changed.to_owned()], 5)
        );
        assert!(progress.epoch_changed && !progress.more);
        assert_eq!((whole.after, whole.seq()), (5, 2));

        let mut in_steps = cursor(2, 0);
        let (bytes, progress) = read_in(&epochs, &mut in_steps, &log, 0, |_| {});
        assert!(bytes.starts_with(&frames[2]), "the event, then the notice");
        assert_eq!((told(&bytes).len(), progress.more), (1, true));
        assert_eq!(in_steps.seq(), 0);
        let (bytes, progress) = read_in(&epochs, &mut in_steps, &log, UNLIMITED, |_| {});
        assert_eq!(
            (bytes, progress.epoch_changed),
            (frames[3..].concat(), false)
        );
    }

    #[test]
    fn a_gap_over_a_new_epoch_is_reported_in_the_seqs_of_both() {
        let (log, _) = log(9, 2);
        let mut epochs = Epochs::new(EpochName::random());
        epochs.begin(f(), 4, 10);
        for (live_from, reason) in [(0, "slow_consumer"), (9, "history_evicted")] {
            let mut behind = cursor(1, live_from);
            let (bytes, progress) = read_in(&epochs, &mut behind, &log, UNLIMITED, |_| {});
            let gap = |from: u64, to: u64| {
                let count = to - from + 1;
                format!(
                    r#"{{"from_seq":{from},"to_seq":{to},"count":{count},"reason":"{reason}"}}"#
                )
            };
            let changed =
                r#"{"reason":"epoch_changed"},"epoch":"000000000000000f","seq":10"#.to_owned();
            assert_eq!(told(&bytes), [gap(2, 4), changed, gap(11, 13)]);
            assert_eq!(
                (progress.dropped + progress.evicted, progress.events),
                (6, 2)
            );
            assert_eq!(behind.seq(), 15);
        }
    }

    #[test]
    fn what_a_topic_caught_up_with_is_a_replay_for_its_slow_subscribers() {
        let (log, frames) = log(5, 5);
        let mut slow = cursor(0, 0);
        let (bytes, progress) = read(&mut slow, &log, UNLIMITED, |view| {
            (view.queue_start, view.replay_upto) = (4, 4);
            view.overflow = OverflowPolicy::Disconnect;
        });
        assert_eq!((bytes, progress.overflowed), (frames.concat(), false));
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
        let mut epochs = Epochs::new(EpochName::random());
        epochs.begin(f(), 3, 0);
        let other = Cursor {
            epoch: epochs.current().mark(),
            ..cursor(3, 3)
        };
        assert_eq!({ other }.take(&batch, u64::MAX), None, "of another epoch");
        assert_eq!(cursor(0, 0).take(&ReadBatch::default(), u64::MAX), None);
    }
}
