//! Reading a topic: its record and some of its entries, as they were at one moment.
//!
//! Both come from one transaction (`MULTI`). Read one after the other they may contradict each other, in either order: the
//! topic can be deleted, begin another epoch, or lose entries at the end of its history between the two. A Redis that is full
//! takes no transaction: then the record is read before and after the entries, and must be the same.

use ::redis::{Cmd, Value, cmd};

use super::records::{self, Record};
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    mirroring::catch_up::{parsed, read_entries},
    shard::Shard,
};
use crate::broker::mirror::Entry;
use crate::protocol::TopicName;

/// How many commands [`commands`] makes.
pub(crate) const COMMANDS: usize = 4;
/// The most entries that can be asked for by their number.
const MAX_COUNT: u64 = 1 << 32;

/// Which entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Those with events from this seq on.
    From(u64),
    /// This number of the oldest.
    Oldest(usize),
    /// The newest ones, with at least this number of events.
    Newest(u64),
}

impl Part {
    pub(crate) const WHOLE: Part = Part::From(0);
}

pub(crate) struct Reading {
    pub(crate) record: Record,
    entries: Vec<Vec<u8>>,
}

impl Reading {
    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        parsed(&self.entries)
    }
}

/// Reads a topic; `None` if there is no such topic.
pub(crate) fn read(
    shard: &Shard,
    topic: &TopicName,
    part: Part,
) -> Result<Option<Reading>, Unavailable> {
    let answers = shard.call(&commands(shard, topic, part))?;
    parse(&answers, part)
}

pub(crate) fn commands(shard: &Shard, topic: &TopicName, part: Part) -> [Cmd; COMMANDS] {
    let record = records::command(shard, topic);
    let entries = entries_command(&shard.keys.events(topic), part);
    match shard.is_full() {
        false => [cmd("MULTI"), record, entries, cmd("EXEC")],
        true => [record.clone(), entries, record, cmd("PING")],
    }
}

fn entries_command(key: &str, part: Part) -> Cmd {
    let mut command = cmd(match part {
        Part::Newest(_) => "XREVRANGE",
        Part::From(_) | Part::Oldest(_) => "XRANGE",
    });
    command.arg(key);
    match part {
        Part::From(seq) => command.arg(seq).arg("+"),
        Part::Oldest(count) => command.arg("-").arg("+").arg("COUNT").arg(count),
        // An entry has at least one event. The newest entry says where the topic is.
        Part::Newest(events) => command
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(events.clamp(1, MAX_COUNT)),
    };
    command
}

/// Reads the answers to the commands.
pub(crate) fn parse(answers: &[Value], part: Part) -> Result<Option<Reading>, Unavailable> {
    let (record, entries) = match answers {
        [_, _, _, Value::Array(both)] => match &both[..] {
            [record, entries] => (record, entries),
            _ => return Err(Unavailable),
        },
        [before, entries, after, _] if before == after => (before, entries),
        _ => return Err(Unavailable),
    };
    let Some(record) = Record::of(record) else {
        return Ok(None);
    };
    let mut entries = read_entries(entries);
    if let Part::Newest(_) = part {
        entries.reverse();
    }
    Ok(Some(Reading { record, entries }))
}
