//! The cursors of one connection. Plain data, guarded by the connection's outbox lock.

use slotmap::SlotMap;

use super::chunk::{Chunk, ReadBatch};
use super::cursor::{Cursor, CursorKey, Progress};
use super::subscription::{End, Opened, SubscribeError, SubscriberSink, Subscription};
use super::topic::Topic;
use crate::protocol::{ClientId, Encoding, StartAt};
use crate::sync::{Arc, Weak};

/// One cursor for each subscription that has not ended, and the encoding of their events.
#[derive(Default)]
pub(crate) struct Cursors {
    encoding: Encoding,
    cursors: SlotMap<CursorKey, Cursor>,
}

impl Cursors {
    /// Like [`Cursors::open_in_order`], in an embedded server.
    #[cfg(test)]
    pub(crate) fn open(
        &mut self,
        topic: &Arc<Topic>,
        client_id: ClientId,
        start_at: &StartAt,
        sink: &Weak<dyn SubscriberSink>,
    ) -> Result<Opened, SubscribeError> {
        self.open_in_order(topic, client_id, start_at, sink, 0)
    }

    /// Opens a subscription, with its cursor at the requested position in the topic's log. `order` is its place among the
    /// subscriptions of its client id in the cluster.
    pub(crate) fn open_in_order(
        &mut self,
        topic: &Arc<Topic>,
        client_id: ClientId,
        start_at: &StartAt,
        sink: &Weak<dyn SubscriberSink>,
        order: u64,
    ) -> Result<Opened, SubscribeError> {
        let mut opened = None;
        self.cursors.try_insert_with_key(|key| {
            let (subscription, cursor) = topic.subscribe(client_id, start_at, sink, order, key)?;
            opened = Some(subscription);
            Ok(cursor)
        })?;
        opened.ok_or(SubscribeError::Deleted)
    }

    /// Reads the subscription's next events. Takes the batch if it begins at the cursor; otherwise reads a new chunk into it.
    pub(crate) fn read(
        &mut self,
        subscription: &Subscription,
        batch: &mut ReadBatch,
        limit_bytes: usize,
    ) -> Progress {
        let Some(cursor) = self.cursors.get_mut(subscription.cursor_key()) else {
            batch.clear();
            return Progress::default();
        };
        if batch.encoding == self.encoding
            && let Some(progress) = subscription.take(cursor, batch)
        {
            return progress;
        }
        batch.clear();
        batch.encoding = self.encoding;
        let (after, epoch) = (cursor.after, cursor.epoch);
        let progress = subscription.read(cursor, self.encoding, &mut batch.chunk, limit_bytes);
        let upto = cursor.after;
        let has_notice = progress.ended || progress.epoch_changed;
        let only_events = upto - after == progress.events && !has_notice;
        if only_events {
            (batch.after, batch.upto, batch.more) = (after, upto, progress.more);
            batch.epoch = epoch;
        }
        self.remove_ended(subscription, progress);
        progress
    }

    /// Reads the subscription's next events into a chunk of its own.
    pub(crate) fn read_chunk(
        &mut self,
        subscription: &Subscription,
        limit_bytes: usize,
    ) -> (Chunk, Progress) {
        let mut chunk = Chunk::default();
        let Some(cursor) = self.cursors.get_mut(subscription.cursor_key()) else {
            return (chunk, Progress::default());
        };
        let progress = subscription.read(cursor, self.encoding, &mut chunk, limit_bytes);
        self.remove_ended(subscription, progress);
        (chunk, progress)
    }

    /// Ends the subscription and returns its last position; `None` if it had ended already.
    pub(crate) fn end(&mut self, subscription: &Subscription) -> Option<End> {
        let cursor = self.cursors.remove(subscription.cursor_key())?;
        Some(subscription.end(&cursor))
    }

    /// Events of its topic that the subscription has neither read nor reported as a gap.
    pub(crate) fn pending(&self, subscription: &Subscription) -> u64 {
        let cursor = self.cursors.get(subscription.cursor_key());
        cursor.map_or(0, |cursor| subscription.pending_behind(cursor))
    }

    fn remove_ended(&mut self, subscription: &Subscription, progress: Progress) {
        if progress.ended {
            self.end(subscription);
        }
    }
}
