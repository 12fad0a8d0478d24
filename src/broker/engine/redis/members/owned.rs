//! Compares the subscriptions that Redis has of this node with those that are open here, and mends what differs.
//!
//! They differ after a join or a leave whose answer was lost, or that arrived late.

use std::collections::{HashMap, HashSet};

use ::redis::{Cmd, cmd};
use parking_lot::Mutex;

use super::owners::{self, Open};
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{connection::lane, shard::Shard};
use crate::sync::{AtomicBool, Ordering};

#[derive(Default)]
pub(crate) struct Owned {
    /// A connection has failed since they were seen to be alike.
    is_doubtful: AtomicBool,
    /// What only Redis had at the last look, and its order there. It may be a subscription that is being opened.
    strays: Mutex<HashMap<String, String>>,
}

impl Owned {
    /// A call has failed: nobody knows what it did.
    pub(crate) fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }

    /// Compares if there is a reason to: Redis has another number of them than are open here, or a call has failed.
    pub(crate) fn compare_if_needed(&self, shard: &Shard, count: usize) -> Result<(), Unavailable> {
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
            let names: HashSet<String> = open.iter().map(Open::name).collect();
            owned.difference(&names).cloned().collect()
        };
        let (_, absent): (Vec<Open>, Vec<Open>) = open
            .into_iter()
            .partition(|open| owned.contains(&open.name()));
        owners::rejoin(shard, &absent)?;
        let are_alike = absent.is_empty() && strays.is_empty();
        self.remove_strays(shard, &strays)?;
        Ok(are_alike)
    }

    /// Removes the strays that were there at the last look, too.
    fn remove_strays(&self, shard: &Shard, strays: &[String]) -> Result<(), Unavailable> {
        let now = owners::orders(shard, strays)?;
        let before = std::mem::replace(&mut *self.strays.lock(), now.clone());
        let node = shard.node.id();
        let leaves: Vec<Cmd> = now
            .iter()
            .filter(|(stray, order)| before.get(*stray) == Some(order))
            .filter_map(|(stray, order)| owners::leave_owned(shard, node, stray, order))
            .collect();
        shard.lane.call_all(&leaves).map(drop)
    }
}
