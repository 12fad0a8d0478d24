//! The topics of the cluster: created, deleted and listed. Redis holds the truth.

use std::time::Duration;

use ::redis::{Cmd, cmd};

use super::catch_up::{self, parsed};
use super::shard::Shard;
use super::{lane, owners, records, scripts};
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::mirror::{Place, Token};
use crate::broker::registry::CreateError;
use crate::broker::topic::{Source, TopicSettings};
use crate::protocol::{EpochName, TopicName};
use crate::sync::Arc;

/// How long a deletion is remembered, so that a node that was away can tell it from a loss.
pub(super) const DELETION_MEMORY: Duration = Duration::from_secs(600);
/// How long the events of a deleted topic can be read.
const LAST_EVENTS: Duration = Duration::from_secs(60);

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
