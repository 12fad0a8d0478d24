//! The cursors of one connection. Plain data, guarded by the connection's outbox lock.

use slotmap::SlotMap;

use super::chunk::{Chunk, EncodedBatch, ReadBatch};
use super::cursor::{Cursor, CursorKey, Progress};
#[cfg(test)]
use super::subscription::SubscriberSink;
use super::subscription::{End, Opened, SubscribeError, Subscriber, Subscription};
use super::topic::Topic;
#[cfg(test)]
use crate::protocol::ClientId;
use crate::protocol::{Encoding, StartAt};
use crate::sync::Arc;
#[cfg(test)]
use crate::sync::Weak;

/// One cursor for each subscription that has not ended, and the encoding of their events.
#[derive(Default)]
pub(crate) struct Cursors {
    encoding: Encoding,
    cursors: SlotMap<CursorKey, Cursor>,
}

impl Cursors {
    pub(crate) fn new(encoding: Encoding) -> Cursors {
        Cursors {
            encoding,
            cursors: SlotMap::default(),
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Like [`Cursors::open_for`], by name in an embedded server.
    #[cfg(test)]
    pub(crate) fn open(
        &mut self,
        topic: &Arc<Topic>,
        client_id: ClientId,
        start_at: &StartAt,
        sink: &Weak<dyn SubscriberSink>,
    ) -> Result<Opened, SubscribeError> {
        let subscriber = Subscriber {
            client_id,
            sink,
            order: 0,
            pattern: None,
            watches: false,
        };
        self.open_for(subscriber, topic, start_at)
    }

    /// Opens a subscription, with its cursor at the requested position in the topic's log.
    pub(crate) fn open_for(
        &mut self,
        subscriber: Subscriber<'_>,
        topic: &Arc<Topic>,
        start_at: &StartAt,
    ) -> Result<Opened, SubscribeError> {
        let mut opened = None;
        self.cursors.try_insert_with_key(|key| {
            let (subscription, cursor) = topic.subscribe(subscriber, start_at, key)?;
            opened = Some(subscription);
            Ok(cursor)
        })?;
        opened.ok_or(SubscribeError::Deleted)
    }

    /// Reads the subscription's next events. Takes the batch if it begins at the cursor; otherwise reads a new chunk into it.
    pub(crate) fn read<'a>(
        &mut self,
        subscription: &Subscription,
        batch: &'a mut ReadBatch,
        limit_bytes: usize,
    ) -> (&'a Chunk, Progress) {
        let batch = batch.of(self.encoding);
        let progress = self.read_into(subscription, batch, limit_bytes);
        (&batch.chunk, progress)
    }

    fn read_into(
        &mut self,
        subscription: &Subscription,
        batch: &mut EncodedBatch,
        limit_bytes: usize,
    ) -> Progress {
        let encoding = self.encoding;
        let Some(cursor) = self.readable(subscription) else {
            batch.clear();
            return Progress::default();
        };
        if let Some(progress) = subscription.take(cursor, batch) {
            return progress;
        }
        batch.clear();
        let (after, epoch) = (cursor.after, cursor.epoch);
        let progress = subscription.read(cursor, encoding, &mut batch.chunk, limit_bytes);
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
        let encoding = self.encoding;
        let Some(cursor) = self.readable(subscription) else {
            return (chunk, Progress::default());
        };
        let progress = subscription.read(cursor, encoding, &mut chunk, limit_bytes);
        self.remove_ended(subscription, progress);
        (chunk, progress)
    }

    /// Ends the subscription and returns its last position; `None` if it had ended already.
    pub(crate) fn end(&mut self, subscription: &Subscription) -> Option<End> {
        let cursor = self.cursors.remove(subscription.cursor_key())?;
        Some(subscription.end(&cursor))
    }

    /// Whether the subscription has events to replay.
    pub(crate) fn replays(&self, subscription: &Subscription) -> bool {
        let cursor = self.cursors.get(subscription.cursor_key());
        cursor.is_some_and(Cursor::replays)
    }

    /// Events of its topic that the subscription has neither read nor reported as a gap.
    pub(crate) fn pending(&self, subscription: &Subscription) -> u64 {
        let cursor = self.cursors.get(subscription.cursor_key());
        cursor.map_or(0, |cursor| subscription.pending_behind(cursor))
    }

    /// The cursor of a subscription that has begun and not ended.
    fn readable(&mut self, subscription: &Subscription) -> Option<&mut Cursor> {
        let cursor = self.cursors.get_mut(subscription.cursor_key());
        cursor.filter(|_| !subscription.waits())
    }

    fn remove_ended(&mut self, subscription: &Subscription, progress: Progress) {
        if progress.ended {
            self.end(subscription);
        }
    }
}
