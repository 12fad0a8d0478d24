//! The deletions that this node knows of. A Redis that fails over may bring a deleted topic back; it is deleted again then.

use std::time::Instant;

use parking_lot::Mutex;

use super::shard::Shard;
use super::topics::{self, DELETION_MEMORY};
use crate::broker::engine::Unavailable;
use crate::protocol::{EpochName, TopicName};
use crate::sync::HashMap;

/// Deletions that are remembered; beyond, old ones are forgotten first.
const MAX_REMEMBERED: usize = 10_000;
/// Topics that are deleted again in one exchange.
const AT_ONCE: usize = 500;

/// The last epoch of each deleted topic, and when it ended.
#[derive(Default)]
pub(super) struct Deletions {
    known: Mutex<HashMap<TopicName, (EpochName, Instant)>>,
}

impl Deletions {
    pub(super) fn remember(&self, topic: &TopicName, epoch: EpochName) {
        let mut known = self.known.lock();
        if known.len() >= MAX_REMEMBERED {
            known.retain(|_, (_, at)| at.elapsed() < DELETION_MEMORY);
        }
        if known.len() >= MAX_REMEMBERED {
            let mut times: Vec<Instant> = known.values().map(|(_, at)| *at).collect();
            let (_, middle, _) = times.select_nth_unstable(MAX_REMEMBERED / 2);
            known.retain(|_, (_, at)| *at > *middle);
        }
        known.insert(topic.clone(), (epoch, Instant::now()));
    }

    /// Deletes again what Redis has of these epochs, after a connect.
    pub(super) fn repeat(&self, shard: &Shard) -> Result<(), Unavailable> {
        let mut known = self.known.lock();
        known.retain(|_, (_, at)| at.elapsed() < DELETION_MEMORY);
        let deleted: Vec<_> = known
            .iter()
            .map(|(topic, (epoch, _))| (topic.clone(), *epoch))
            .collect();
        drop(known);
        for some in deleted.chunks(AT_ONCE) {
            let commands = some
                .iter()
                .map(|(topic, epoch)| topics::delete_command(shard, topic, Some(*epoch)));
            shard.lane.call(&commands.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
