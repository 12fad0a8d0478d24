//! Catching up: reads from Redis what a mirror does not have, and ends an epoch in which Redis has lost events.

use ::redis::{Value, cmd};

use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    connection::lane,
    metrics::EngineMetrics,
    scripts,
    shard::Shard,
    topics,
    topics::records::{self, Record},
};
use crate::broker::mirror::{Comparison, Entry, Place, Snapshot, Token, TopicMessage, parse};
use crate::broker::topic::{Applied, Source};
use crate::broker::{ReadBatch, Topic};
use crate::protocol::{EpochName, TopicName};
use crate::sync::Arc;

/// Entries that are read at a time.
pub(crate) const ENTRIES_AT_ONCE: usize = 64;
/// A mirror that needs more steps than this still differs from Redis; it is read again at the next look.
const MAX_STEPS: usize = 100_000;

/// Why a mirror is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Entries did not arrive: what is read is a replay.
    Interruption,
    /// Somebody subscribes, and the newest entries are under way.
    Subscribe,
}

/// What Redis holds of a topic.
pub(crate) struct Read {
    pub(crate) record: Option<Record>,
    /// The epoch and the newest seq of a topic of this name that was deleted.
    pub(crate) deleted: Option<(EpochName, u64)>,
    entries: Vec<Vec<u8>>,
}

/// Reads the record of a topic, and some of its entries from this seq on.
pub(crate) fn read(shard: &Shard, topic: &TopicName, from: u64) -> Result<Read, Unavailable> {
    let keys = &shard.keys;
    let record = records::command(shard, topic);
    let mut deleted = cmd("GET");
    deleted.arg(keys.deleted(topic));
    let mut entries = cmd("XRANGE");
    entries
        .arg(keys.events(topic))
        .arg(from)
        .arg("+")
        .arg("COUNT")
        .arg(ENTRIES_AT_ONCE);
    let answers = shard.lane.call(&[record, deleted, entries])?;
    let [record, deleted, entries] = &answers[..] else {
        return Err(Unavailable);
    };
    Ok(Read {
        record: Record::of(record),
        deleted: read_deleted(&lane::text(deleted)),
        entries: read_entries(entries),
    })
}

fn read_deleted(text: &str) -> Option<(EpochName, u64)> {
    let (epoch, seq) = text.split_once(' ')?;
    Some((EpochName::parse(epoch)?, seq.parse().ok()?))
}

/// The entries of a stream's range: each is an id and a list of one field and its value.
pub(crate) fn read_entries(answer: &Value) -> Vec<Vec<u8>> {
    let Value::Array(items) = answer else {
        return Vec::new();
    };
    let value = |item: &Value| {
        let Value::Array(parts) = item else {
            return None;
        };
        match parts.get(1)? {
            Value::Array(fields) => match fields.get(1)? {
                Value::BulkString(bytes) => Some(bytes.clone()),
                _ => None,
            },
            _ => None,
        }
    };
    items.iter().filter_map(value).collect()
}

pub(crate) fn parsed(entries: &[Vec<u8>]) -> Vec<Entry<'_>> {
    let parsed = entries.iter().filter_map(|bytes| match parse(bytes) {
        Some(TopicMessage::Entry(entry)) => Some(entry),
        _ => None,
    });
    parsed.collect()
}

impl Read {
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        parsed(&self.entries)
    }
}

/// Appends to a mirror what Redis has more, and fans it out. Called with no lock held.
pub(crate) fn catch_up(
    shard: &Arc<Shard>,
    topic: &Arc<Topic>,
    after: After,
) -> Result<(), Unavailable> {
    if after == After::Interruption {
        EngineMetrics::count(&shard.metrics.reads);
    }
    for _ in 0..MAX_STEPS {
        let Some(here) = topic.place() else {
            return Ok(());
        };
        let read = read(shard, topic.name(), here.seq)?;
        if step(shard, topic, &here, &read, after)? {
            return Ok(());
        }
    }
    tracing::error!(topic = %topic.name(), "the topic still differs from Redis; it is read again later");
    Ok(())
}

/// One step. Returns whether it was the last.
fn step(
    shard: &Arc<Shard>,
    topic: &Arc<Topic>,
    here: &Place,
    read: &Read,
    after: After,
) -> Result<bool, Unavailable> {
    if let Some((epoch, seq)) = read.deleted.filter(|(epoch, _)| *epoch == here.epoch) {
        topics::deleted_at(shard, topic, epoch, seq);
        return Ok(true);
    }
    let Some(record) = &read.record else {
        return missing(shard, topic);
    };
    topic.adopt(&record.settings);
    let there = &record.place;
    let entries = read.entries();
    let place = there.clone();
    let snapshot = Snapshot {
        place,
        entries: &entries,
    };
    match here.compare(&snapshot) {
        Comparison::Lost => end_epoch(shard, topic.name(), here.epoch)?,
        Comparison::Continues { is_whole: false }
            if shard.runs.contradict(&record.runs, here.seq) =>
        {
            end_epoch(shard, topic.name(), here.epoch)?;
        }
        Comparison::NewEpoch if topic.has_ended(there.epoch) => {
            end_epoch(shard, topic.name(), there.epoch)?;
        }
        Comparison::NewEpoch => {
            let begun = Place {
                epoch: there.epoch,
                seq: 0,
                token: Token::NONE,
            };
            topic.begin_epoch(here.epoch, &begun);
            topic.fan_out(&mut ReadBatch::default());
        }
        Comparison::Continues { .. } => {
            let source = match after {
                After::Interruption => Source::Replay,
                After::Subscribe => Source::Stream,
            };
            let Some(last) = entries.last() else {
                topic.skip_to(there);
                topic.fan_out(&mut ReadBatch::default());
                return Ok(true);
            };
            for entry in &entries {
                append(topic, entry, source);
            }
            return Ok(last.last() >= there.seq);
        }
    }
    Ok(false)
}

/// Appends an entry when there is room, and fans it out.
pub(crate) fn append(topic: &Arc<Topic>, entry: &Entry<'_>, source: Source) -> Applied {
    let mut batch = ReadBatch::default();
    loop {
        match topic.append_entry(entry, source) {
            Applied::Appended => {
                topic.fan_out(&mut batch);
                return Applied::Appended;
            }
            Applied::Full => {
                let place = topic.join_line();
                let _ = place.wait(entry.events.len(), &mut batch, || false);
            }
            other => return other,
        }
    }
}

/// Redis has lost the topic. It is made again if somebody here is subscribed.
fn missing(shard: &Arc<Shard>, topic: &Arc<Topic>) -> Result<bool, Unavailable> {
    if topic.subscriber_count() == 0 {
        if topic.close_if_unused() {
            shard.close(topic);
        }
        return Ok(true);
    }
    tracing::warn!(topic = %topic.name(), "Redis has lost the topic; it is made again");
    topics::create_again(shard, topic)?;
    Ok(false)
}

/// Ends an epoch, because Redis has lost some of its events.
fn end_epoch(shard: &Shard, topic: &TopicName, epoch: EpochName) -> Result<(), Unavailable> {
    EngineMetrics::count(&shard.metrics.divergences);
    tracing::warn!(%topic, %epoch, "Redis has lost events of the topic; its epoch ends");
    let keys = &shard.keys;
    let keys_of_script = [keys.topic(topic), keys.events(topic), keys.marks(topic)];
    let mut end = scripts::call(&scripts::END_EPOCH, &keys_of_script);
    end.arg(keys.channel(topic))
        .arg(epoch.as_str())
        .arg(EpochName::random().as_str());
    shard.lane.one(end).map(drop)
}
