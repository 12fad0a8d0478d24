//! The history of a topic of the cluster, read from Redis: a log of what a request asks for.

use super::reading::{self, Part};
use super::records::Record;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::shard::Shard;
use crate::broker::log::Log;
use crate::broker::mirror::{Entry, Place};
use crate::protocol::{EpochName, NewEvent, StartAt, TopicName};

/// The requested part of a topic's history.
pub(crate) struct Found {
    pub(crate) log: Log,
    pub(crate) epoch: EpochName,
    /// Everything up to this seq has left the history by age.
    pub(crate) expired: u64,
}

/// Reads the requested part of a topic's history, in one exchange; in two if the position is none of the topic. `None` if
/// there is no such topic.
pub(crate) fn read(
    shard: &Shard,
    topic: &TopicName,
    start_at: &StartAt,
) -> Result<Option<Found>, Unavailable> {
    let part = match start_at {
        StartAt::Last(events) => Part::Newest(*events),
        StartAt::First => Part::WHOLE,
        StartAt::After { seq, .. } => Part::From(seq.saturating_add(1)),
    };
    let mut reading = reading::read(shard, topic, part)?;
    let place = reading.as_ref().map(|reading| &reading.record.place);
    if place.is_some_and(|place| is_foreign(start_at, place)) {
        reading = reading::read(shard, topic, Part::WHOLE)?;
    }
    Ok(reading.map(|reading| {
        let log = log_of(topic, &reading.record, &reading.entries());
        Found {
            expired: log.last_before(reading.record.oldest_time()),
            epoch: reading.record.place.epoch,
            log,
        }
    }))
}

/// Whether a position belongs to another epoch, or to events that Redis has lost: then the whole history is the answer.
fn is_foreign(start_at: &StartAt, there: &Place) -> bool {
    match start_at {
        StartAt::After {
            seq,
            epoch: Some(epoch),
        } => epoch != there.epoch.as_str() || *seq > there.seq,
        StartAt::After { epoch: None, .. } | StartAt::Last(_) | StartAt::First => false,
    }
}

/// A log of entries, up to the newest event of the topic. What is before a hole, or before an entry that is broken, is no
/// history.
pub(crate) fn log_of(topic: &TopicName, record: &Record, entries: &[Entry<'_>]) -> Log {
    let before = entries
        .first()
        .map_or(record.place.seq, |first| first.first - 1);
    let mut log = Log::starting_after(before, record.settings.bounds);
    for entry in entries {
        skip_to(&mut log, entry.first - 1);
        let messages = entry.messages().take(entry.count as usize);
        for (seq, (message, ts)) in (entry.first..).zip(messages) {
            log.append(&NewEvent::new(topic, &message, seq, ts), u64::MAX);
        }
        skip_to(&mut log, entry.last());
    }
    skip_to(&mut log, record.place.seq);
    log
}

fn skip_to(log: &mut Log, seq: u64) {
    if log.head() < seq {
        log.skip_to(seq);
    }
}
