//! The record of a topic: what Redis has of it besides its events, as one text.
//!
//! Its words are the epoch, the newest seq, its token and its time, the bytes of all entries of the epoch, the runs of Redis
//! that numbered them, and the settings. Scripts read and write it, too.

use std::fmt;
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{connection::lane, members::owners, shard::Shard};
use crate::broker::log::LogBounds;
use crate::broker::mirror::{Batch, Entry, Place, Token};
use crate::broker::topic::{Lifetimes, TopicSettings, unless_zero};
use crate::config::OverflowPolicy;
use crate::protocol::{EpochName, TopicName, as_micros};

/// The number of marks in as many bytes as the history may have. Each is where an entry begins.
const MARKS: u64 = 16;
/// No run of Redis has numbered events.
const NO_RUNS: &str = "-";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) place: Place,
    /// The time of the newest event, in microseconds since 1970.
    newest: u64,
    /// Bytes of all entries of this epoch, also of those that are gone.
    bytes: u64,
    /// The runs of Redis that numbered its events, each with the seq before its first one.
    pub(crate) runs: String,
    pub(crate) settings: TopicSettings,
}

impl Record {
    /// Of a topic that has no events.
    pub(crate) fn new(settings: TopicSettings) -> Record {
        Record {
            place: Place {
                epoch: EpochName::random(),
                seq: 0,
                token: Token::NONE,
            },
            newest: 0,
            bytes: 0,
            runs: NO_RUNS.to_owned(),
            settings,
        }
    }

    /// Reads its text; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Record> {
        let words: Vec<&str> = text.split(' ').collect();
        let [
            epoch,
            seq,
            token,
            newest,
            bytes,
            runs,
            _keep,
            history_bytes,
            history_size,
            max_queue_size,
            overflow,
            history_ttl,
            idle,
        ] = words[..]
        else {
            return None;
        };
        Some(Record {
            place: Place::parse(epoch, seq, token)?,
            newest: newest.parse().ok()?,
            bytes: bytes.parse().ok()?,
            runs: runs.to_owned(),
            settings: TopicSettings {
                bounds: LogBounds {
                    history_size: history_size.parse().ok()?,
                    max_queue_size: max_queue_size.parse().ok()?,
                    bytes: history_bytes.parse().ok()?,
                },
                overflow: overflow.parse::<OverflowPolicy>().ok()?,
                // No topic of a cluster has the policy that it is for.
                block_timeout: Duration::ZERO,
                idempotency_window: Duration::ZERO,
                lifetimes: Lifetimes {
                    history_ttl: parse_time(history_ttl)?,
                    idle: parse_time(idle)?,
                },
            },
        })
    }

    /// Reads the answer to [`command`]; `None` if there is no such topic.
    pub(crate) fn of(answer: &Value) -> Option<Record> {
        Record::parse(&lane::text(answer))
    }

    /// The words of the settings.
    pub(super) fn settings_text(settings: &TopicSettings) -> String {
        let LogBounds {
            history_size,
            max_queue_size,
            bytes,
        } = settings.bounds;
        let (keep, overflow) = (settings.bounds.max_events(), settings.overflow.as_str());
        let Lifetimes { history_ttl, idle } = settings.lifetimes;
        let (history_ttl, idle) = (micros(history_ttl), micros(idle));
        format!("{keep} {bytes} {history_size} {max_queue_size} {overflow} {history_ttl} {idle}")
    }

    /// Events before this time, in microseconds since 1970, have left the history; 0 if none has for its age.
    pub(super) fn oldest_time(&self) -> u64 {
        self.settings.lifetimes.oldest_time().unwrap_or_default()
    }

    /// The entry that a batch becomes if this is the record.
    pub(crate) fn next_entry<'a>(&self, batch: &'a Batch, token: Token) -> Entry<'a> {
        Entry {
            epoch: self.place.epoch,
            first: self.place.seq + 1,
            count: batch.len(),
            token,
            previous: self.place.token,
            earliest: self.newest,
            events: batch.bytes(),
        }
    }

    /// The record after a batch; `None` if Redis must set a mark then, which changes more than the record.
    pub(crate) fn after(&self, batch: &Batch, token: Token) -> Option<Record> {
        let bytes = self.bytes + batch.bytes().len() as u64;
        let apart = (self.settings.bounds.bytes as u64 / MARKS).max(1);
        (bytes / apart == self.bytes / apart).then(|| Record {
            place: Place {
                epoch: self.place.epoch,
                seq: self.place.seq + batch.len(),
                token,
            },
            newest: self.newest.max(batch.newest_micros()),
            bytes,
            ..self.clone()
        })
    }

    /// Whether the newest events were numbered in this run.
    pub(crate) fn is_of_run(&self, run: &str) -> bool {
        let newest = self.runs.rsplit(',').next();
        newest.and_then(|newest| newest.split(':').next()) == Some(run)
    }

    /// The oldest seq that the topic must keep.
    pub(crate) fn oldest_kept(&self) -> u64 {
        (self.place.seq + 1).saturating_sub(self.keep())
    }

    /// About how many bytes of entries Redis has.
    pub(crate) fn stream_bytes(&self) -> usize {
        let events = self.place.seq.max(1);
        let average = self.bytes / events;
        let most = self.settings.bounds.bytes as u64;
        (average * events.min(self.keep())).min(most) as usize
    }

    /// How many events the topic keeps for its history and its subscribers.
    fn keep(&self) -> u64 {
        self.settings.bounds.max_events() as u64
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record {
            place,
            newest,
            bytes,
            runs,
            settings,
        } = self;
        let Place { epoch, seq, token } = place;
        let settings = Record::settings_text(settings);
        write!(
            f,
            "{epoch} {seq} {token} {newest} {bytes} {runs} {settings}"
        )
    }
}

/// In microseconds; 0 is for ever, so a time above 0 is one here, too.
fn micros(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| as_micros(time).max(1))
}

fn parse_time(micros: &str) -> Option<Option<Duration>> {
    Some(unless_zero(Duration::from_micros(micros.parse().ok()?)))
}

/// The command that reads the record of a topic.
pub(crate) fn command(shard: &Shard, topic: &TopicName) -> Cmd {
    let mut get = cmd("GET");
    get.arg(shard.keys.topic(topic));
    get
}

/// How many subscribers a topic has.
pub(crate) fn count_command(shard: &Shard, topic: &TopicName) -> Cmd {
    let mut count = cmd("HLEN");
    count.arg(shard.keys.owners(topic));
    count
}

/// The records of topics and their numbers of subscribers, read in one exchange. `None` for a topic that there is not.
pub(crate) fn read(
    shard: &Shard,
    topics: &[TopicName],
) -> Result<Vec<Option<(Record, usize)>>, Unavailable> {
    let commands = topics
        .iter()
        .flat_map(|topic| [command(shard, topic), count_command(shard, topic)]);
    let answers = shard.call(&commands.collect::<Vec<_>>())?;
    let found = answers.chunks_exact(2).map(|answers| {
        let record = Record::of(&answers[0])?;
        Some((record, owners::count(&answers[1])))
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Timestamp};
    use serde_json::value::RawValue;

    const RUN: &str = "aaaaaaaaaaaaaaaa";

    fn record(seq: u64, bytes: u64, runs: &str) -> Record {
        Record::parse(&format!(
            "000000000000000f {seq} 00000000000000a1 50 {bytes} {runs} 10 1600 5 10 drop_oldest 0 7000000"
        ))
        .unwrap()
    }

    fn batch(payloads: &[&str], micros: u64) -> Batch {
        let mut batch = Batch::new(TopicName::new("t").unwrap());
        for payload in payloads {
            let payload: Box<RawValue> = serde_json::from_str(payload).unwrap();
            let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
            batch.push(&message, Timestamp::from_micros(micros));
        }
        batch
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_anything_else_is_none() {
        let record = record(7, 300, &format!("{RUN}:0,bbbbbbbbbbbbbbbb:5"));
        assert_eq!(Record::parse(&record.to_string()), Some(record.clone()));
        let new = Record::new(record.settings);
        assert_eq!(Record::parse(&new.to_string()), Some(new));
        let text = record.to_string();
        for wrong in ["", "x", &text[1..], &format!("{text} 1"), &text[..60]] {
            assert_eq!(Record::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_batch_continues_the_record() {
        let (before, token) = (record(7, 0, RUN), Token(2));
        let batch = batch(&["1", "2"], 40);
        let size = batch.bytes().len() as u64;
        let entry = before.next_entry(&batch, token);
        assert_eq!((entry.first, entry.last(), entry.earliest), (8, 9, 50));
        let mut roomy = before.clone();
        roomy.settings.bounds.bytes = 16_000;
        let after = roomy.after(&batch, token).unwrap();
        assert_eq!((after.place.seq, after.place.token), (entry.last(), token));
        assert_eq!((after.newest, after.bytes), (50, size));
        assert_eq!((after.oldest_kept(), roomy.oldest_kept()), (0, 0));
    }

    #[test]
    fn redis_sets_marks_for_the_bound_in_bytes() {
        let batch = batch(&["1"], 60);
        let size = batch.bytes().len() as u64;
        assert!(size < 100, "{size}");
        let without = record(7, 99 - size, RUN).after(&batch, Token(2));
        assert_eq!(
            without.map(|record| (record.bytes, record.newest)),
            Some((99, 60))
        );
        assert_eq!(record(7, 100 - size, RUN).after(&batch, Token(2)), None);
    }

    #[test]
    fn the_newest_run_counts() {
        let record = record(7, 300, &format!("{RUN}:0,bbbbbbbbbbbbbbbb:5"));
        assert!(record.is_of_run("bbbbbbbbbbbbbbbb"));
        assert!(!record.is_of_run(RUN));
        assert!(!Record::new(record.settings).is_of_run(RUN));
    }

    #[test]
    fn what_is_kept_is_bounded_in_events_and_bytes() {
        let record = record(100, 10_000, RUN);
        assert_eq!(record.oldest_kept(), 91);
        assert_eq!(record.stream_bytes(), 1000, "ten events of 100 bytes");
    }
}
