//! The messages of a session that the engine has not numbered yet, and where their acks belong among the replies.
//!
//! On a node of a cluster a session collects what it receives, and publishes it when it flushes. An embedded server numbers
//! each message at once, so that nothing is held.

use super::dirty_topics::DirtyTopics;
use crate::broker::Batch;
use crate::broker::redis::{BatchError, Receipt, Redis};
use crate::protocol::{Ack, ErrorReply, Message, Timestamp, TopicName, push_ack, push_error};

/// A session publishes at the latest when it holds so much.
const MAX_EVENTS: usize = 512;
const MAX_BYTES: usize = 128 << 10;
const MAX_TOPICS: usize = 64;

#[derive(Default)]
pub(super) struct HeldPublishes {
    batches: Vec<Batch>,
    acks: Vec<HeldAck>,
    bytes: usize,
}

struct HeldAck {
    /// Its place: how many bytes of replies come before it.
    at: usize,
    request_id: Option<Box<str>>,
    batch: usize,
    /// Events before it in its batch.
    event: u64,
    /// When the message arrived, but not before the one before it in its batch.
    micros: u64,
}

impl HeldPublishes {
    pub(super) fn has(&self, topic: &TopicName) -> bool {
        self.batches.iter().any(|batch| batch.topic() == topic)
    }

    /// Holds a message. Its ack belongs after `replied` bytes of replies.
    pub(super) fn add(
        &mut self,
        topic: TopicName,
        message: &Message<'_>,
        arrived: Timestamp,
        request_id: Option<&str>,
        replied: usize,
    ) {
        let held = self
            .batches
            .iter()
            .position(|batch| *batch.topic() == topic);
        let at = held.unwrap_or_else(|| {
            self.batches.push(Batch::new(topic));
            self.batches.len() - 1
        });
        let batch = &mut self.batches[at];
        let (events, bytes) = (batch.len(), batch.bytes().len());
        batch.push(message, arrived);
        self.bytes += batch.bytes().len() - bytes;
        self.acks.push(HeldAck {
            at: replied,
            request_id: request_id.map(Box::from),
            batch: at,
            event: events,
            micros: batch.newest_micros(),
        });
    }

    /// Whether so much is held that it should be published.
    pub(super) fn is_due(&self) -> bool {
        self.acks.len() >= MAX_EVENTS || self.bytes >= MAX_BYTES || self.batches.len() >= MAX_TOPICS
    }

    /// Forgets the acks that belong after so many bytes of replies.
    pub(super) fn truncate(&mut self, replied: usize) {
        self.acks.retain(|ack| ack.at <= replied);
    }

    /// Publishes what is held, puts the acks among the replies, and notes the mirrors that must be fanned out.
    pub(super) fn publish(
        &mut self,
        redis: &Redis,
        replies: &mut Vec<u8>,
        dirty: &mut DirtyTopics,
    ) {
        if self.batches.is_empty() {
            return;
        }
        let batches = std::mem::take(&mut self.batches);
        let acks = std::mem::take(&mut self.acks);
        self.bytes = 0;
        let topics: Vec<_> = batches.iter().map(|batch| batch.topic().clone()).collect();
        let results = redis.publish(batches);
        let mut all = Vec::with_capacity(replies.len() + acks.len() * 160);
        let mut copied = 0;
        for ack in &acks {
            all.extend_from_slice(&replies[copied..ack.at]);
            copied = ack.at;
            ack.push(&mut all, &topics[ack.batch], &results[ack.batch]);
        }
        all.extend_from_slice(&replies[copied..]);
        *replies = all;
        for receipt in results.into_iter().flatten() {
            if let Some(mirror) = receipt.mirror {
                dirty.add_published(mirror);
            }
        }
    }
}

impl HeldAck {
    fn push(&self, out: &mut Vec<u8>, topic: &TopicName, result: &Result<Receipt, BatchError>) {
        let request_id = self.request_id.as_deref();
        let topic = topic.as_str();
        match result {
            Ok(receipt) => {
                let number = receipt.number(self.event, self.micros);
                push_ack(
                    out,
                    &Ack {
                        request_id,
                        topic,
                        seq: number.seq,
                        epoch: Some(number.epoch.as_str()),
                        recovered: None,
                        duplicate: number.is_duplicate,
                        ts: Timestamp::from_micros(number.micros),
                    },
                );
            }
            Err(BatchError::NotFound) => push_error(out, request_id, &ErrorReply::no_topic(topic)),
            Err(BatchError::LimitReached) => {
                push_error(out, request_id, &ErrorReply::too_many_topics());
            }
            Err(BatchError::Unavailable | BatchError::Unanswered) => {
                push_error(out, request_id, &ErrorReply::engine_away());
            }
        }
    }
}
