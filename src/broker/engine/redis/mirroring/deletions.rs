//! The deletions that this node knows of. A Redis that fails over may bring a deleted topic back; it is deleted again then.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{
    shard::Shard,
    topics::{self, DELETION_MEMORY},
};
use crate::protocol::{EpochName, TopicName};

/// Deletions that are remembered; beyond, the oldest ones are forgotten.
const MAX_REMEMBERED: usize = 10_000;

#[derive(Default)]
pub(crate) struct Deletions {
    /// Oldest first.
    known: Mutex<VecDeque<Deletion>>,
}

struct Deletion {
    topic: TopicName,
    /// Its last epoch.
    epoch: EpochName,
    at: Instant,
}

impl Deletions {
    /// Called by each that finds out; those of one deletion follow one another.
    pub(crate) fn remember(&self, topic: &TopicName, epoch: EpochName) {
        let mut known = self.known.lock();
        if known
            .back()
            .is_some_and(|newest| newest.epoch == epoch && newest.topic == *topic)
        {
            return;
        }
        if known.len() >= MAX_REMEMBERED {
            known.pop_front();
        }
        known.push_back(Deletion {
            topic: topic.clone(),
            epoch,
            at: Instant::now(),
        });
    }

    /// Deletes again what Redis has of these epochs, after a connect.
    pub(crate) fn repeat(&self, shard: &Shard) -> Result<(), Unavailable> {
        let mut known = self.known.lock();
        known.retain(|deletion| deletion.at.elapsed() < DELETION_MEMORY);
        let commands: Vec<_> = known
            .iter()
            .map(|known| topics::delete_command(shard, &known.topic, Some(known.epoch)))
            .collect();
        drop(known);
        shard.lane.call_all(&commands).map(drop)
    }
}
