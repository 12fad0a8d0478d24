//! The topics of the cluster: created, deleted and listed. Redis holds the truth: the [`records`] and the entries of topics,
//! which come as one [`reading`]: for [`figures`], which are kept as [`event_sizes`], and for the [`history`].

mod event_sizes;
pub(super) mod figures;
pub(super) mod history;
pub(super) mod reading;
pub(super) mod records;

use std::collections::BTreeSet;
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use self::records::Record;
use super::scripts;
use super::shard::Shard;
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    connection::lane,
    members::owners,
    mirroring::catch_up::{self, parsed},
};
use crate::broker::mirror::{Place, Token};
use crate::broker::registry::{ChangeError, CreateError};
use crate::broker::topic::{Source, TopicChange, TopicSettings};
use crate::protocol::{EpochName, TopicName, TopicPattern};
use crate::sync::Arc;

/// How long a deletion is remembered, so that a node that was away can tell it from a loss.
pub(super) const DELETION_MEMORY: Duration = Duration::from_secs(600);
/// How long the events of a deleted topic can be read.
const LAST_EVENTS: Duration = Duration::from_secs(60);
/// How often a change is tried again whose topic somebody else has changed meanwhile.
const MAX_CHANGES: usize = 20;
/// Names that are looked at in one exchange.
const SCANNED_AT_ONCE: usize = 5_000;
/// Topics that may be idle and are looked at in one exchange.
const IDLE_AT_ONCE: usize = 100;

/// What a topic gets that is created without options.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub(crate) settings: TopicSettings,
    pub(crate) max_topics: usize,
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
    let create = create_command(shard, topic.name(), &topic.settings(), usize::MAX, 0);
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
    let keys_of_script = [
        keys.topic(topic),
        keys.topics(),
        keys.used(topic),
        keys.idle(),
    ];
    let mut create = scripts::call(&scripts::CREATE, &keys_of_script);
    create
        .arg(topic.as_str())
        .arg(max_topics)
        .arg(elsewhere)
        .arg(Record::new(*settings).to_string())
        .arg(keys.news());
    create
}

/// Creates a topic that is to exist from the start. One that exists stays as it is.
pub(super) fn declare(
    shard: &Shard,
    topic: &TopicName,
    defaults: &Defaults,
) -> Result<(), Unavailable> {
    let Defaults {
        settings,
        max_topics,
    } = defaults;
    let create = create_command(shard, topic, settings, *max_topics, 0);
    let answer = shard.lane.one(create)?;
    if lane::text(&answer) == "limit" {
        tracing::error!(%topic, "PUBSUB_TOPICS: there are as many topics as there may be");
    }
    Ok(())
}

/// Changes settings of a topic on all nodes.
pub(super) fn change(
    shard: &Arc<Shard>,
    topic: &TopicName,
    change: &TopicChange,
) -> Result<(), ChangeError> {
    shard.check_up()?;
    let keys = &shard.keys;
    let keys_of_script = [
        keys.topic(topic),
        keys.events(topic),
        keys.used(topic),
        keys.idle(),
    ];
    for _ in 0..MAX_CHANGES {
        let read = shard.lane.one(records::command(shard, topic))?;
        let record = Record::of(&read).ok_or(ChangeError::NotFound)?;
        let settings = change.applied_to(&record.settings);
        let mut script = scripts::call(&scripts::CHANGE, &keys_of_script);
        script
            .arg(topic.as_str())
            .arg(keys.channel(topic))
            .arg(Record::settings_text(&record.settings))
            .arg(Record::settings_text(&settings))
            .arg(settings.bounds.max_events());
        let answer = shard.lane.one(script)?;
        match lane::text(&answer).as_str() {
            "ok" => {
                if let Some(mirror) = shard.topics.get(topic.as_str()) {
                    mirror.adopt(&settings);
                }
                return Ok(());
            }
            "missing" => return Err(ChangeError::NotFound),
            // Somebody else changed it meanwhile.
            _ => {}
        }
    }
    Err(ChangeError::Unavailable)
}

/// Deletes the topics that nobody uses, if it is time for that. Each node tries; one of them finds the topic.
pub(super) fn delete_idle(shard: &Arc<Shard>) -> Result<(), Unavailable> {
    // By the clock of Redis, as the scripts.
    let time = lane::texts(&shard.lane.one(cmd("TIME"))?);
    let [secs, micros] = &time[..] else {
        return Err(Unavailable);
    };
    let now = format!("{secs}{micros:0>6}");
    loop {
        let mut due = cmd("ZRANGEBYSCORE");
        due.arg(shard.keys.idle()).arg("-inf").arg(&now);
        due.arg("LIMIT").arg(0).arg(IDLE_AT_ONCE);
        let names = lane::texts(&shard.lane.one(due)?);
        let topics: Vec<TopicName> = names
            .iter()
            .filter_map(|name| TopicName::new(name).ok())
            .collect();
        let deletes: Vec<Cmd> = topics
            .iter()
            .map(|topic| {
                let mut delete = delete_command(shard, topic, None);
                delete.arg("idle");
                delete
            })
            .collect();
        for (topic, answer) in topics.iter().zip(shard.lane.call_all(&deletes)?) {
            if was_deleted(shard, topic, &answer)? {
                shard.topics.metrics().idle_topic_deleted();
                tracing::info!(%topic, "idle topic deleted in the cluster");
            }
        }
        if names.len() < IDLE_AT_ONCE {
            return Ok(());
        }
    }
}

/// Returns `false` if there is no such topic.
pub(super) fn delete(shard: &Arc<Shard>, topic: &TopicName) -> Result<bool, Unavailable> {
    shard.check_up()?;
    let answer = shard.lane.one(delete_command(shard, topic, None))?;
    was_deleted(shard, topic, &answer)
}

/// Reads the answer to [`delete_command`], and ends the mirror on this node.
fn was_deleted(shard: &Arc<Shard>, topic: &TopicName, answer: &Value) -> Result<bool, Unavailable> {
    let words = lane::texts(answer);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["missing" | "used"] => Ok(false),
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
        keys.marks(topic),
        keys.owners(topic),
        keys.deleted(topic),
        keys.topics(),
        keys.last_events(topic),
        keys.used(topic),
        keys.idle(),
        keys.remembered(topic),
        keys.remembered_order(topic),
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

/// The names of the topics that this Redis has and that match.
pub(super) fn matching(
    shard: &Shard,
    pattern: &TopicPattern,
) -> Result<BTreeSet<TopicName>, Unavailable> {
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SSCAN");
        // A pattern means the same to Redis.
        scan.arg(shard.keys.topics()).arg(&cursor);
        scan.arg("MATCH").arg(pattern.as_str());
        scan.arg("COUNT").arg(SCANNED_AT_ONCE);
        let answers = shard.call(&[scan])?;
        let Some(Value::Array(parts)) = answers.first() else {
            return Err(Unavailable);
        };
        let [next, names] = &parts[..] else {
            return Err(Unavailable);
        };
        let names = lane::texts(names);
        found.extend(names.iter().filter_map(|name| TopicName::new(name).ok()));
        cursor = lane::text(next);
        if cursor == "0" {
            return Ok(found);
        }
    }
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
    let counts: Vec<Cmd> = names
        .iter()
        .map(|topic| records::count_command(shard, topic))
        .collect();
    let counts = shard.lane.call_all(&counts)?;
    Ok(names
        .into_iter()
        .zip(counts.iter().map(owners::count))
        .collect())
}
