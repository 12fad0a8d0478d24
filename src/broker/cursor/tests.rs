//! What a cursor reads next, and what it reports as a gap.

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
        pattern: None,
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
            format!(r#"{{"from_seq":{from},"to_seq":{to},"count":{count},"reason":"{reason}"}}"#)
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
    let batch = EncodedBatch {
        after: 3,
        upto: 7,
        more: true,
        ..EncodedBatch::default()
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
    assert_eq!(cursor(0, 0).take(&EncodedBatch::default(), u64::MAX), None);
}
