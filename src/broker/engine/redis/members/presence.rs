//! A node follows who is subscribed to the topics that its clients watch: it reads the owners of the topic, and receives who joins
//! and leaves from then on. The scripts that change the owners publish that on a channel of its own, which costs nothing while no
//! node follows it.

use std::collections::{BTreeMap, HashSet};

use ::redis::Value;
use parking_lot::Mutex;

use super::{owners, subscribers};
use crate::broker::Topic;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{Redis, shard::Shard, topics::records};
use crate::broker::topic::Membership;
use crate::protocol::{ClientId, TopicName};
use crate::sync::Arc;

#[derive(Default)]
pub(crate) struct Following {
    /// Held while a topic begins or ends to be followed.
    changing: Mutex<()>,
    /// Topics of which Redis had another number of subscribers at the last look.
    differed: Mutex<HashSet<TopicName>>,
}

impl Redis {
    /// Returns when the node knows who is subscribed to a topic, and receives all changes.
    pub(crate) fn follow_presence(&self, topic: &Arc<Topic>) -> Result<(), Unavailable> {
        if topic.known_presence().is_some() {
            return Ok(());
        }
        let shard = self.shard(topic.name())?;
        shard.check_up()?;
        let _changing = shard.following.changing.lock();
        if topic.known_presence().is_some() {
            return Ok(());
        }
        let channel = shard.keys.presence_channel(topic.name());
        let followed = shard.link.follow(channel.clone(), || shard.wake_link());
        let read = followed.and_then(|()| read(shard, topic));
        if topic.known_presence().is_none() {
            topic.close_presence_if_unwatched();
            shard.link.leave(channel);
        }
        read
    }
}

/// After an interruption: reads again who is subscribed to the topics that are watched.
pub(crate) fn read_again(shard: &Shard) -> Result<(), Unavailable> {
    let mirrors = shard.mirrors();
    let watched = mirrors
        .iter()
        .filter(|topic| topic.known_presence().is_some());
    for topic in watched {
        read(shard, topic)?;
    }
    Ok(())
}

/// Ends to follow topics that nobody watches any more, and reads again what differs from Redis for longer than changes are
/// under way.
pub(crate) fn look(shard: &Shard) -> Result<(), Unavailable> {
    let mut watched = Vec::new();
    for topic in shard.mirrors() {
        match topic.known_presence() {
            Some((count, true)) => watched.push((topic, count)),
            Some((_, false)) => leave_unwatched(shard, &topic),
            None => {}
        }
    }
    let lengths = watched.iter();
    let lengths = lengths.map(|(topic, _)| records::count_command(shard, topic.name()));
    let lengths = shard.lane.call_all(&lengths.collect::<Vec<_>>())?;
    let differs =
        |((_, count), length): &(&(Arc<Topic>, usize), &Value)| owners::count(length) != *count;
    let differing = watched.iter().zip(&lengths).filter(differs);
    let differing: Vec<_> = differing.map(|((topic, _), _)| topic).collect();
    let names = differing.iter().map(|topic| topic.name().clone()).collect();
    let before = std::mem::replace(&mut *shard.following.differed.lock(), names);
    for topic in differing
        .iter()
        .filter(|topic| before.contains(topic.name()))
    {
        read(shard, topic)?;
    }
    Ok(())
}

fn leave_unwatched(shard: &Shard, topic: &Topic) {
    let _changing = shard.following.changing.lock();
    if topic.close_presence_if_unwatched() {
        shard.link.leave(shard.keys.presence_channel(topic.name()));
    }
}

/// A mirror was closed or deleted. A newer one of the same name may be followed.
pub(crate) fn closed(shard: &Shard, topic: &TopicName) {
    let _changing = shard.following.changing.lock();
    let newer = shard.topics.get(topic.as_str());
    if newer.is_none_or(|newer| newer.known_presence().is_none()) {
        shard.link.leave(shard.keys.presence_channel(topic));
    }
}

/// Reads the owners of a topic. What joins or leaves meanwhile is received, and applied afterwards.
fn read(shard: &Shard, topic: &Topic) -> Result<(), Unavailable> {
    topic.begin_reading_presence();
    let mut members = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let step = shard
            .lane
            .one(subscribers::scan(shard, topic.name(), &cursor))?;
        let owners;
        (owners, cursor) = subscribers::owners_in(&step)?;
        for (client_id, owner) in owners {
            let order = owner.split(' ').next();
            if let Some(order) = order.and_then(|order| order.parse().ok()) {
                members.insert(client_id, order);
            }
        }
        if cursor == "0" {
            topic.presence_read(members);
            return Ok(());
        }
    }
}

/// Who joined or left, as the scripts publish it: `+` or `-`, the order and the client id.
pub(crate) fn parse(text: &str) -> Option<Membership> {
    let mut words = text.splitn(3, ' ');
    let has_joined = match words.next()? {
        "+" => true,
        "-" => false,
        _ => return None,
    };
    let order = words.next()?.parse().ok()?;
    let client_id = ClientId::new(words.next()?).ok()?;
    Some(Membership {
        client_id,
        order,
        has_joined,
    })
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_may_have_blanks() {
        let membership = parse("+ 17 a b +").unwrap();
        assert_eq!(membership.client_id.as_str(), "a b +");
        assert_eq!((membership.order, membership.has_joined), (17, true));
        assert!(!parse("- 18446744073709551615 x").unwrap().has_joined);
        for text in ["", "+", "+ 1", "+ x y", "* 1 a", "+ 1 "] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
