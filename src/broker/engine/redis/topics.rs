//! The topics of the cluster: created, deleted, listed and shown. Redis holds the truth.

use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use super::catch_up::{self, parsed};
use super::shard::Shard;
use super::{lane, owners, scripts};
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::epoch::Epochs;
use crate::broker::log::{Log, LogBounds};
use crate::broker::mirror::{Entry, Place, Token};
use crate::broker::registry::CreateError;
use crate::broker::topic::{Content, Departure, Source, TopicSettings, TopicStats};
use crate::config::OverflowPolicy;
use crate::protocol::{EpochName, NewEvent, TopicName};
use crate::sync::Arc;

/// How long a deletion is remembered, so that a node that was away can tell it from a loss.
pub(super) const DELETION_MEMORY: Duration = Duration::from_secs(600);
/// How long the events of a deleted topic can be read.
const LAST_EVENTS: Duration = Duration::from_secs(60);
/// Topics that are asked for in one exchange.
const AT_ONCE: usize = 500;

/// What Redis has of a topic besides its events.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) settings: TopicSettings,
}

pub(super) fn create(
    shard: &Shard,
    topic: &TopicName,
    settings: &TopicSettings,
    max_topics: usize,
    elsewhere: usize,
) -> Result<(), CreateError> {
    let answer = shard.call(&[create_command(
        shard, topic, settings, max_topics, elsewhere,
    )]);
    let answer = answer.map_err(|_| CreateError::Unavailable)?;
    match answer.first().map(lane::text).as_deref() {
        Some("ok") => Ok(()),
        Some("exists") => Err(CreateError::Exists),
        Some("limit") => Err(CreateError::LimitReached),
        _ => Err(CreateError::Unavailable),
    }
}

/// Makes a topic again that Redis has lost, with the options that its mirror has.
pub(super) fn create_again(shard: &Shard, topic: &Topic) -> Result<(), Unavailable> {
    let create = create_command(shard, topic.name(), topic.settings(), usize::MAX, 0);
    shard.lane.one(create).map(drop)
}

fn create_command(
    shard: &Shard,
    topic: &TopicName,
    settings: &TopicSettings,
    max_topics: usize,
    elsewhere: usize,
) -> Cmd {
    let keys = &shard.keys;
    let mut create = scripts::call(&scripts::CREATE, &[keys.topic(topic), keys.topics()]);
    create.arg(topic.as_str()).arg(max_topics).arg(elsewhere);
    let bounds = &settings.bounds;
    create.arg("epoch").arg(EpochName::random().as_str());
    create.arg("token").arg(Token::NONE.to_string());
    create.arg("overflow").arg(settings.overflow.as_str());
    for (field, value) in [
        ("seq", 0),
        ("ts", 0),
        ("events", 0),
        ("bytes", 0),
        ("history_size", bounds.history_size),
        ("max_queue_size", bounds.max_queue_size),
        ("history_bytes", bounds.bytes),
        ("keep", bounds.history_size.max(bounds.max_queue_size)),
    ] {
        create.arg(field).arg(value);
    }
    create
}

/// Returns `false` if there is no such topic.
pub(super) fn delete(shard: &Arc<Shard>, topic: &TopicName) -> Result<bool, Unavailable> {
    shard.check_up()?;
    let answer = shard.lane.one(delete_command(shard, topic, None))?;
    let words = lane::texts(&answer);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["missing"] => Ok(false),
        ["ok", epoch, seq] => {
            if let (Some(epoch), Ok(seq)) = (EpochName::parse(epoch), seq.parse()) {
                shard.deletions.remember(topic, epoch);
                if let Some(mirror) = shard.topics.get(topic.as_str()) {
                    deleted_at(shard, &mirror, epoch, seq);
                }
            }
            Ok(true)
        }
        _ => Err(Unavailable),
    }
}

/// Deletes a topic, or only what is in this epoch.
pub(super) fn delete_command(shard: &Shard, topic: &TopicName, epoch: Option<EpochName>) -> Cmd {
    let keys = &shard.keys;
    let keys_of_script = [
        keys.topic(topic),
        keys.events(topic),
        keys.sizes(topic),
        keys.owners(topic),
        keys.deleted(topic),
        keys.topics(),
        keys.last_events(topic),
    ];
    let mut delete = scripts::call(&scripts::DELETE, &keys_of_script);
    delete
        .arg(topic.as_str())
        .arg(keys.channel(topic))
        .arg(DELETION_MEMORY.as_secs())
        .arg(LAST_EVENTS.as_secs())
        .arg(epoch.as_ref().map_or("", EpochName::as_str));
    delete
}

/// The topic of a mirror was deleted after this event. Appends the events that are still under way; those that cannot be read
/// any more are reported as a gap.
pub(super) fn deleted_at(shard: &Shard, topic: &Arc<Topic>, epoch: EpochName, seq: u64) {
    let Some(here) = topic.place().filter(|place| place.epoch == epoch) else {
        return;
    };
    if here.seq < seq {
        let mut events = cmd("XRANGE");
        events
            .arg(shard.keys.last_events(topic.name()))
            .arg(here.seq + 1)
            .arg("+");
        let answer = shard.lane.one(events).unwrap_or_default();
        let entries = catch_up::read_entries(&answer);
        for entry in parsed(&entries).iter().filter(|entry| entry.epoch == epoch) {
            catch_up::append(topic, entry, Source::Stream);
        }
        let token = Token::NONE;
        topic.skip_to(&Place { epoch, seq, token });
    }
    shard.deletions.remember(topic.name(), epoch);
    if shard.topics.remove(topic) {
        let subscribers = topic.delete();
        shard.link.leave(shard.keys.channel(topic.name()));
        tracing::info!(topic = %topic.name(), subscribers, "topic deleted");
    }
}

/// Reads what Redis has of a topic besides its events.
pub(super) fn record(shard: &Shard, topic: &TopicName) -> Result<Option<Record>, Unavailable> {
    let answers = shard.call(&[record_command(shard, topic)])?;
    Ok(answers.first().and_then(read_record))
}

fn record_command(shard: &Shard, topic: &TopicName) -> Cmd {
    let mut get = cmd("HMGET");
    get.arg(shard.keys.topic(topic));
    for field in [
        "epoch",
        "seq",
        "token",
        "history_size",
        "max_queue_size",
        "history_bytes",
        "overflow",
    ] {
        get.arg(field);
    }
    get
}

fn read_record(answer: &Value) -> Option<Record> {
    let [
        epoch,
        seq,
        token,
        history_size,
        max_queue_size,
        history_bytes,
        overflow,
    ] = &lane::texts(answer)[..]
    else {
        return None;
    };
    Some(Record {
        place: Place::parse(epoch, seq, token)?,
        settings: TopicSettings {
            bounds: LogBounds {
                history_size: history_size.parse().ok()?,
                max_queue_size: max_queue_size.parse().ok()?,
                bytes: history_bytes.parse().ok()?,
            },
            overflow: overflow.parse::<OverflowPolicy>().ok()?,
            // No topic of a cluster has the policy that it is for.
            block_timeout: Duration::ZERO,
        },
    })
}

/// The names of all topics that this Redis has.
pub(super) fn names(shard: &Shard) -> Result<Vec<TopicName>, Unavailable> {
    let mut members = cmd("SMEMBERS");
    members.arg(shard.keys.topics());
    let answers = shard.call(&[members])?;
    let names = answers.first().map(lane::texts).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| TopicName::new(name).ok())
        .collect())
}

/// The topics that this Redis has, and their numbers of subscribers.
pub(super) fn list(shard: &Shard) -> Result<Vec<(TopicName, usize)>, Unavailable> {
    let names = names(shard)?;
    let mut list = Vec::with_capacity(names.len());
    for some in names.chunks(AT_ONCE) {
        let counts: Vec<Cmd> = some
            .iter()
            .map(|topic| count_command(shard, topic))
            .collect();
        let counts = shard.call(&counts)?;
        list.extend(some.iter().cloned().zip(counts.iter().map(owners::count)));
    }
    Ok(list)
}

fn count_command(shard: &Shard, topic: &TopicName) -> Cmd {
    let mut count = cmd("HLEN");
    count.arg(shard.keys.owners(topic));
    count
}

/// The figures of a topic; `None` if there is none.
pub(super) fn stats(shard: &Shard, topic: &TopicName) -> Result<Option<TopicStats>, Unavailable> {
    let mut events = cmd("XRANGE");
    events.arg(shard.keys.events(topic)).arg("-").arg("+");
    let commands = [
        record_command(shard, topic),
        events,
        count_command(shard, topic),
    ];
    let answers = shard.call(&commands)?;
    let [record, events, subscribers] = &answers[..] else {
        return Err(Unavailable);
    };
    let Some(record) = read_record(record) else {
        return Ok(None);
    };
    let entries = catch_up::read_entries(events);
    let log = log_of(topic, &record, &parsed(&entries));
    let dropped = shard
        .topics
        .get(topic.as_str())
        .map_or(0, |mirror| mirror.dropped());
    Ok(Some(TopicStats {
        subscribers: owners::count(subscribers),
        dropped,
        ..TopicStats::of(
            &log,
            Epochs::new(record.place.epoch).current(),
            &record.settings,
        )
    }))
}

/// Reads a topic's events after a seq; `None` if there is no topic.
pub(super) fn history(
    shard: &Shard,
    topic: &TopicName,
    from: impl FnOnce(&Record) -> u64,
) -> Result<Option<(Log, Record)>, Unavailable> {
    let Some(record) = record(shard, topic)? else {
        return Ok(None);
    };
    let mut events = cmd("XRANGE");
    events
        .arg(shard.keys.events(topic))
        .arg(from(&record))
        .arg("+");
    let answers = shard.call(&[record_command(shard, topic), events])?;
    let [record, events] = &answers[..] else {
        return Err(Unavailable);
    };
    let entries = catch_up::read_entries(events);
    let read = read_record(record);
    Ok(read.map(|record| (log_of(topic, &record, &parsed(&entries)), record)))
}

/// A log of entries, up to the newest event of the topic.
fn log_of(topic: &TopicName, record: &Record, entries: &[Entry<'_>]) -> Log {
    let before = entries
        .first()
        .map_or(record.place.seq, |first| first.first - 1);
    let mut log = Log::starting_after(before, record.settings.bounds);
    for entry in entries {
        for (seq, (message, ts)) in (entry.first..).zip(entry.messages()) {
            log.append(&NewEvent::new(topic, &message, seq, ts), u64::MAX);
        }
    }
    log
}

/// Opens a mirror of a topic: follows its channel, and reads what it has. `None` if there is no such topic.
pub(super) fn open_mirror(
    shard: &Arc<Shard>,
    topic: &TopicName,
    departures: &crossbeam_channel::Sender<Departure>,
) -> Result<Option<Arc<Topic>>, Unavailable> {
    shard.check_up()?;
    let channel = shard.keys.channel(topic);
    let followed = shard.link.follow(channel.clone(), || shard.wake_link());
    let mirror = followed.and_then(|()| read_mirror(shard, topic, departures));
    if !matches!(mirror, Ok(Some(_))) {
        shard.link.leave(channel);
    }
    mirror
}

/// Reads a topic into a new mirror.
fn read_mirror(
    shard: &Arc<Shard>,
    topic: &TopicName,
    departures: &crossbeam_channel::Sender<Departure>,
) -> Result<Option<Arc<Topic>>, Unavailable> {
    let Some(record) = record(shard, topic)? else {
        return Ok(None);
    };
    let read = catch_up::read(shard, topic, 0)?;
    let entries = read.entries();
    let place = match (entries.first(), &read.place) {
        (Some(first), _) => Place {
            epoch: first.epoch,
            seq: first.first - 1,
            token: first.previous,
        },
        (None, Some(place)) => place.clone(),
        (None, None) => record.place.clone(),
    };
    let content = Content::mirror(&record.settings, place, departures.clone());
    let added = shard
        .topics
        .add(topic.clone(), record.settings, content, usize::MAX);
    let Ok(mirror) = added else {
        return Ok(shard.topics.get(topic.as_str()));
    };
    for entry in &entries {
        catch_up::append(&mirror, entry, Source::Replay);
    }
    Ok(Some(mirror))
}
