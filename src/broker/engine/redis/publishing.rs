//! Publishes batches: each to the Redis that has its topic, which is created if it is missing, and again what got no answer.

use std::time::{Duration, Instant};

use super::Redis;
use super::mirroring::receipts::{BatchError, Receipt};
use super::shard::Shard;
use crate::broker::ReadBatch;
use crate::broker::mirror::Batch;
use crate::broker::registry::CreateError;
use crate::broker::topic::{PublishError, Published};
use crate::protocol::{Message, Timestamp, TopicName};
use crate::sync::Arc;

/// How often a topic is created for a batch, if it is deleted again each time.
const MAX_CREATIONS: usize = 5;
/// How long after a publish it may be repeated. With the time that Redis has for an answer, it takes less than two seconds.
const REPEAT_WITHIN: Duration = Duration::from_millis(900);

impl Redis {
    /// Publishes batches of different topics, and appends them to the mirrors on this node, which the caller must fan out.
    /// Returns a result for each. Creates a topic that does not exist, if topics are created by their first use.
    pub(crate) fn publish(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        if self.auto_create.is_none() {
            return self.publish_to_existing(batches);
        }
        let mut results = self.publish_to_existing(batches.clone());
        for _ in 0..MAX_CREATIONS {
            let is_missing = |at: &usize| matches!(results[*at], Err(BatchError::NotFound));
            let missing: Vec<usize> = (0..batches.len()).filter(is_missing).collect();
            let mut again = Vec::new();
            for at in missing {
                match self.create_for_use(batches[at].topic()) {
                    Ok(()) => again.push(at),
                    Err(CreateError::LimitReached) => results[at] = Err(BatchError::LimitReached),
                    Err(_) => results[at] = Err(BatchError::Unavailable),
                }
            }
            if again.is_empty() {
                break;
            }
            let those = again.iter().map(|at| batches[*at].clone()).collect();
            for (at, result) in again.iter().zip(self.publish_to_existing(those)) {
                results[*at] = result;
            }
        }
        results
    }

    fn publish_to_existing(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        let mut results = vec![Err(BatchError::Unavailable); batches.len()];
        let mut by_shard: Vec<(Vec<usize>, Vec<Batch>)> =
            vec![Default::default(); self.shards.len()];
        for (at, batch) in batches.into_iter().enumerate() {
            let Some(shard) = self.ring.shard_of(batch.topic()) else {
                continue;
            };
            let (places, batches) = &mut by_shard[shard];
            places.push(at);
            batches.push(batch);
        }
        for (shard, (places, batches)) in self.shards.iter().zip(by_shard) {
            if batches.is_empty() || shard.check_up().is_err() {
                continue;
            }
            for (at, result) in places.iter().zip(self.publish_on(shard, batches)) {
                if let Ok(receipt) = &result
                    && let Some(mirror) = receipt.mirror.as_ref().filter(|_| receipt.is_late)
                {
                    self.appliers.late(shard, Arc::clone(mirror));
                }
                results[*at] = result;
            }
        }
        results
    }

    /// Publishes to one Redis. If the connection breaks before the answer, and the node connects again soon, batches of
    /// idempotent messages are published again, once.
    fn publish_on(&self, shard: &Shard, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        let deadline = Instant::now() + REPEAT_WITHIN;
        let opened = shard.publishes.lane.opened();
        let numbered = batches.iter().enumerate();
        let repeatable: Vec<(usize, Batch)> = numbered
            .filter(|(_, batch)| batch.is_idempotent())
            .map(|(at, batch)| (at, batch.clone()))
            .collect();
        let mut results = shard.publishes.publish(batches);
        let is_unanswered =
            |(at, _): &(usize, Batch)| matches!(results[*at], Err(BatchError::Unanswered));
        let (places, again): (Vec<_>, Vec<_>) =
            repeatable.into_iter().filter(is_unanswered).unzip();
        let is_back = || shard.publishes.lane.opened() != opened && shard.check_up().is_ok();
        if !again.is_empty() {
            self.changes.wait_until(deadline, is_back);
        }
        if !again.is_empty() && is_back() {
            for (at, result) in places.into_iter().zip(shard.publishes.publish(again)) {
                results[at] = result;
            }
        }
        results
    }

    /// Publishes one message, and fans it out on this node.
    pub(crate) fn publish_one(
        &self,
        name: &str,
        message: &Message<'_>,
        arrived: Timestamp,
        scratch: &mut ReadBatch,
    ) -> Result<Published, PublishError> {
        let name = TopicName::new(name).map_err(|_| PublishError::NotFound)?;
        let mut batch = Batch::new(name);
        batch.push(message, arrived);
        let event_bytes = batch.bytes().len();
        let receipt = match self.publish(vec![batch]).pop() {
            Some(Ok(receipt)) => receipt,
            Some(Err(BatchError::NotFound)) => return Err(PublishError::NotFound),
            Some(Err(BatchError::LimitReached)) => return Err(PublishError::LimitReached),
            Some(Err(BatchError::Unavailable | BatchError::Unanswered)) | None => {
                return Err(PublishError::Unavailable);
            }
        };
        if let Some(mirror) = &receipt.mirror {
            mirror.fan_out(scratch);
        }
        let number = receipt.number(0, arrived.micros());
        Ok(Published {
            epoch: number.epoch,
            seq: number.seq,
            ts: Timestamp::from_micros(number.micros),
            event_bytes,
            is_duplicate: number.is_duplicate,
        })
    }
}
