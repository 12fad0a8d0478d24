//! Compares the subscriptions that Redis has of this node with those that are open here, and mends what differs.
//!
//! They differ after a join or a leave whose answer was lost, or that arrived late.

use std::collections::HashSet;

use ::redis::{Cmd, cmd};
use parking_lot::Mutex;

use super::lane;
use super::owners::{self, AT_ONCE, Open};
use super::shard::Shard;
use crate::broker::engine::Unavailable;
use crate::protocol::TopicName;
use crate::sync::{AtomicBool, HashMap, Ordering};

#[derive(Default)]
pub(super) struct Owned {
    /// A connection has failed since they were seen to be alike.
    is_doubtful: AtomicBool,
    /// What only Redis had at the last look, and its order there. It may be a subscription that is being opened.
    strays: Mutex<HashMap<String, String>>,
}

impl Owned {
    /// A call has failed: nobody knows what it did.
    pub(super) fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }

    /// Compares if there is a reason to: Redis has another number of them than are open here, or a call has failed.
    pub(super) fn compare_if_needed(&self, shard: &Shard, count: usize) -> Result<(), Unavailable> {
        let mirrors = shard.mirrors();
        let open: usize = mirrors.iter().map(|topic| topic.subscriber_count()).sum();
        if open == count && !self.is_doubtful.load(Ordering::Relaxed) {
            return Ok(());
        }
        let are_alike = self.compare(shard)?;
        self.is_doubtful.store(!are_alike, Ordering::Relaxed);
        Ok(())
    }

    /// Returns whether they were alike.
    fn compare(&self, shard: &Shard) -> Result<bool, Unavailable> {
        let mut members = cmd("SMEMBERS");
        members.arg(shard.keys.owned(shard.node.id()));
        let owned: HashSet<String> = lane::texts(&shard.lane.one(members)?).into_iter().collect();
        let open = owners::all_open(shard);
        let strays: Vec<String> = {
            let names: HashSet<String> = open.iter().map(name).collect();
            owned.difference(&names).cloned().collect()
        };
        let (_, absent): (Vec<Open>, Vec<Open>) = open
            .into_iter()
            .partition(|open| owned.contains(&name(open)));
        owners::rejoin(shard, &absent)?;
        let are_alike = absent.is_empty() && strays.is_empty();
        self.remove_strays(shard, &strays)?;
        Ok(are_alike)
    }

    /// Removes the strays that were there at the last look, too, and remembers the others.
    fn remove_strays(&self, shard: &Shard, strays: &[String]) -> Result<(), Unavailable> {
        let before = std::mem::take(&mut *self.strays.lock());
        for some in strays.chunks(AT_ONCE) {
            let orders = orders(shard, some)?;
            let mut leaves = Vec::new();
            for (stray, order) in some.iter().zip(orders) {
                match before.get(stray) == Some(&order) {
                    true => leaves.extend(leave(shard, stray, &order)),
                    false => {
                        self.strays.lock().insert(stray.clone(), order);
                    }
                }
            }
            shard.lane.call(&leaves)?;
        }
        Ok(())
    }
}

/// As Redis names it among those of a node.
fn name(open: &Open) -> String {
    format!("{} {}", open.topic.name(), open.client_id)
}

fn split(name: &str) -> Option<(TopicName, &str)> {
    let (topic, client_id) = name.split_once(' ')?;
    Some((TopicName::new(topic).ok()?, client_id))
}

/// The order of the owner of each; empty if there is none.
fn orders(shard: &Shard, names: &[String]) -> Result<Vec<String>, Unavailable> {
    let get = |name: &String| {
        let mut get = cmd("HGET");
        match split(name) {
            Some((topic, client_id)) => get.arg(shard.keys.owners(&topic)).arg(client_id),
            None => get.arg(shard.keys.meta()).arg(""),
        };
        get
    };
    let answers = shard
        .lane
        .call(&names.iter().map(get).collect::<Vec<Cmd>>())?;
    let order = |answer| {
        let owner = lane::text(answer);
        owner.split(' ').next().unwrap_or_default().to_owned()
    };
    Ok(answers.iter().map(order).collect())
}

fn leave(shard: &Shard, name: &str, order: &str) -> Option<Cmd> {
    let (topic, client_id) = split(name)?;
    let node = shard.node.id();
    Some(owners::leave_command(shard, node, &topic, client_id, order))
}
