//! The mirrors of a node are opened here: one thread opens the mirror of a topic, the others that want it wait.

use std::collections::HashSet;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use super::catch_up;
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    shard::Shard,
    topics::reading::{self, Part},
};
use crate::broker::mirror::Place;
use crate::broker::topic::{Content, Departure, Source};
use crate::protocol::TopicName;
use crate::sync::Arc;

#[derive(Default)]
pub(crate) struct Mirrors {
    /// Mirrors that are being opened.
    opening: Mutex<HashSet<TopicName>>,
    opened: Condvar,
}

impl Mirrors {
    /// The mirror of a topic, opened if need be; `None` if there is no such topic. `departures` is told of subscriptions to it
    /// that end.
    pub(crate) fn get_or_open(
        &self,
        shard: &Arc<Shard>,
        name: &TopicName,
        departures: &Sender<Departure>,
    ) -> Result<Option<Arc<Topic>>, Unavailable> {
        let mut opening = self.opening.lock();
        loop {
            if let Some(mirror) = shard.topics.get(name.as_str()) {
                return Ok(Some(mirror));
            }
            if opening.insert(name.clone()) {
                break;
            }
            self.opened.wait(&mut opening);
        }
        drop(opening);
        let opened = open(shard, name, departures);
        self.opening.lock().remove(name);
        self.opened.notify_all();
        opened
    }
}

/// Follows the channel of a topic, and then reads what it has: so each event is in what was read, or arrives.
fn open(
    shard: &Arc<Shard>,
    topic: &TopicName,
    departures: &Sender<Departure>,
) -> Result<Option<Arc<Topic>>, Unavailable> {
    shard.check_up()?;
    let channel = shard.keys.channel(topic);
    let followed = shard.link.follow(channel.clone(), || shard.wake_link());
    let mirror = followed.and_then(|()| read(shard, topic, departures));
    if !matches!(mirror, Ok(Some(_))) {
        shard.link.leave(channel);
    }
    mirror
}

/// Reads the begin of a topic into a new mirror. The rest is read when the mirror catches up.
fn read(
    shard: &Arc<Shard>,
    topic: &TopicName,
    departures: &Sender<Departure>,
) -> Result<Option<Arc<Topic>>, Unavailable> {
    let part = Part::Oldest(catch_up::ENTRIES_AT_ONCE);
    let Some(reading) = reading::read(shard, topic, part)? else {
        return Ok(None);
    };
    let (entries, settings) = (reading.entries(), reading.record.settings);
    let place = match entries.first() {
        Some(first) => Place {
            epoch: first.epoch,
            seq: first.first - 1,
            token: first.previous,
        },
        None => reading.record.place.clone(),
    };
    let content = Content::mirror(&settings, place, departures.clone());
    let added = shard
        .topics
        .add(topic.clone(), settings, content, usize::MAX, |_| ());
    let Ok(mirror) = added else {
        return Ok(shard.topics.get(topic.as_str()));
    };
    for entry in &entries {
        catch_up::append(&mirror, entry, Source::Replay);
    }
    Ok(Some(mirror))
}
