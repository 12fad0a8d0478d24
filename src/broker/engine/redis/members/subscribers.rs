//! The list of a topic's subscribers in the whole cluster, read from the owners of its client ids.

use std::collections::BTreeMap;

use ::redis::{Cmd, Value, cmd};

use super::owners;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{connection::lane, shard::Shard, topics::records};
use crate::broker::registry::TopicError;
use crate::broker::topic::{ListedSubscriber, SubscriberList};
use crate::protocol::{ClientId, Timestamp, TopicName, UserName};

/// About how many owners are read in one exchange.
const SCANNED_AT_ONCE: usize = 2_000;

/// How many subscribers a topic has.
pub(crate) fn count(shard: &Shard, topic: &TopicName) -> Result<usize, TopicError> {
    let answers = shard.call(&head(shard, topic))?;
    count_in(&answers)
}

/// Lists at most `limit` of them. Read in steps, so that a long list neither delays Redis nor takes more memory here than is
/// asked for; whoever comes or leaves meanwhile may or may not be in it.
pub(crate) fn list(
    shard: &Shard,
    topic: &TopicName,
    limit: usize,
) -> Result<SubscriberList, TopicError> {
    let [record, counted] = head(shard, topic);
    let answers = shard.call(&[record, counted, scan(shard, topic, "0")])?;
    let count = count_in(&answers)?;
    let mut first = First::new(limit);
    let mut step = answers.into_iter().nth(2);
    loop {
        let next = first.take(step.as_ref().ok_or(Unavailable)?)?;
        if next == "0" {
            return Ok(first.into_list(count));
        }
        step = shard.call(&[scan(shard, topic, &next)])?.pop();
    }
}

/// The commands for the record of a topic and for the number of its subscribers.
fn head(shard: &Shard, topic: &TopicName) -> [Cmd; 2] {
    [
        records::command(shard, topic),
        records::count_command(shard, topic),
    ]
}

fn count_in(answers: &[Value]) -> Result<usize, TopicError> {
    match answers {
        [Value::Nil, ..] => Err(TopicError::NotFound),
        [_, count, ..] => Ok(owners::count(count)),
        _ => Err(TopicError::Unavailable),
    }
}

/// The command that reads some owners, from this cursor on; at first `0`.
pub(super) fn scan(shard: &Shard, topic: &TopicName, cursor: &str) -> Cmd {
    let mut scan = cmd("HSCAN");
    scan.arg(shard.keys.owners(topic)).arg(cursor);
    scan.arg("COUNT").arg(SCANNED_AT_ONCE);
    scan
}

/// The owners that one step of a scan returned, each with its text, and the cursor of the next step, which is `0` at the end.
pub(super) fn owners_in(step: &Value) -> Result<(Vec<(ClientId, String)>, String), Unavailable> {
    let Value::Array(parts) = step else {
        return Err(Unavailable);
    };
    let [next, fields] = &parts[..] else {
        return Err(Unavailable);
    };
    let mut texts = lane::texts(fields).into_iter();
    let mut owners = Vec::new();
    while let (Some(client_id), Some(owner)) = (texts.next(), texts.next()) {
        owners.extend(ClientId::new(&client_id).ok().zip(Some(owner)));
    }
    Ok((owners, lane::text(next)))
}

/// The first of the owners that were read, by client id. A scan may return one twice.
struct First {
    limit: usize,
    owners: BTreeMap<ClientId, (Timestamp, Option<UserName>)>,
    is_cut: bool,
}

impl First {
    fn new(limit: usize) -> First {
        First {
            limit,
            owners: BTreeMap::new(),
            is_cut: false,
        }
    }

    /// Takes what one step of a scan returned; returns the cursor of the next.
    fn take(&mut self, step: &Value) -> Result<String, Unavailable> {
        let (owners, next) = owners_in(step)?;
        for (client_id, owner) in owners {
            if let Some(begin) = owners::since_and_user(&owner) {
                self.insert(client_id, begin);
            }
        }
        Ok(next)
    }

    fn insert(&mut self, client_id: ClientId, begin: (Timestamp, Option<UserName>)) {
        self.owners.insert(client_id, begin);
        if self.owners.len() > self.limit {
            self.owners.pop_last();
            self.is_cut = true;
        }
    }

    /// `count` is how many there were when the scan began.
    fn into_list(self, count: usize) -> SubscriberList {
        let listed = self.owners.len();
        SubscriberList {
            total: if self.is_cut {
                count.max(listed)
            } else {
                listed
            },
            listed: self.owners.into_iter().map(line).collect(),
        }
    }
}

fn line((client_id, (since, user)): (ClientId, (Timestamp, Option<UserName>))) -> ListedSubscriber {
    ListedSubscriber {
        client_id,
        since,
        user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(next: &str, owners: &[(&str, u64)]) -> Value {
        let text = |text: String| Value::BulkString(text.into_bytes());
        let fields = owners.iter().flat_map(|(client_id, since)| {
            let owner = format!("1700000000000000 node 17 {since}");
            [text((*client_id).to_owned()), text(owner)]
        });
        let fields = Value::Array(fields.collect());
        Value::Array(vec![text(next.to_owned()), fields])
    }

    fn listed(list: &SubscriberList) -> Vec<(&str, u64)> {
        let lines = list.listed.iter();
        lines
            .map(|line| (line.client_id.as_str(), line.since.micros()))
            .collect()
    }

    #[test]
    fn the_smallest_client_ids_are_kept_whatever_the_order_of_the_steps() {
        let mut first = First::new(2);
        let steps = [
            step("7", &[("d", 4), ("b", 2)]),
            step("0", &[("c", 3), ("a", 1), ("b", 2)]),
        ];
        let cursors = steps.map(|step| first.take(&step));
        assert_eq!(cursors, [Ok("7".to_owned()), Ok("0".to_owned())]);
        let list = first.into_list(4);
        assert_eq!((list.total, listed(&list)), (4, vec![("a", 1), ("b", 2)]));
    }

    #[test]
    fn a_list_that_is_not_cut_has_its_length_as_the_total() {
        let mut first = First::new(2);
        // One was returned twice, and one has left since they were counted.
        first.take(&step("0", &[("a", 1), ("a", 1)])).unwrap();
        let list = first.into_list(2);
        assert_eq!((list.total, listed(&list)), (1, vec![("a", 1)]));
    }

    #[test]
    fn what_is_no_step_is_no_list() {
        for wrong in [Value::Nil, Value::Array(vec![Value::Nil])] {
            assert_eq!(First::new(1).take(&wrong), Err(Unavailable));
        }
    }
}
