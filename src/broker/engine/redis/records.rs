//! The record of a topic: what Redis has of it besides its events.

use std::time::Duration;

use ::redis::{Cmd, Value, cmd};

use super::shard::Shard;
use super::{lane, owners};
use crate::broker::engine::Unavailable;
use crate::broker::log::LogBounds;
use crate::broker::mirror::Place;
use crate::broker::topic::TopicSettings;
use crate::config::OverflowPolicy;
use crate::protocol::TopicName;

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) settings: TopicSettings,
    /// Bytes of the entries in the stream.
    pub(super) stream_bytes: usize,
}

/// The command that [`parse`] reads the answer of.
pub(super) fn command(shard: &Shard, topic: &TopicName) -> Cmd {
    let mut get = cmd("HMGET");
    get.arg(shard.keys.topic(topic));
    for field in [
        "epoch",
        "seq",
        "token",
        "bytes",
        "history_size",
        "max_queue_size",
        "history_bytes",
        "overflow",
    ] {
        get.arg(field);
    }
    get
}

/// `None` if there is no such topic.
pub(super) fn parse(answer: &Value) -> Option<Record> {
    let [
        epoch,
        seq,
        token,
        stream_bytes,
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
        stream_bytes: stream_bytes.parse().ok()?,
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

/// How many subscribers a topic has.
pub(super) fn count_command(shard: &Shard, topic: &TopicName) -> Cmd {
    let mut count = cmd("HLEN");
    count.arg(shard.keys.owners(topic));
    count
}

/// The records of topics and their numbers of subscribers, read in one exchange. `None` for a topic that there is not.
pub(super) fn read(
    shard: &Shard,
    topics: &[TopicName],
) -> Result<Vec<Option<(Record, usize)>>, Unavailable> {
    let commands = topics
        .iter()
        .flat_map(|topic| [command(shard, topic), count_command(shard, topic)]);
    let answers = shard.call(&commands.collect::<Vec<_>>())?;
    let found = answers.chunks_exact(2).map(|answers| {
        let record = parse(&answers[0])?;
        Some((record, owners::count(&answers[1])))
    });
    Ok(found.collect())
}
