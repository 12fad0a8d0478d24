//! How a connection opens a subscription: for its session, or for a thread that creates a topic which matches a pattern.

use super::connection::Connection;
use super::subscriptions::{SubscriptionKey, Waiting};
use crate::broker::{
    Cursors, Opened, PatternSubscription, PresenceBatch, PresenceList, ReadBatch, SubscribeError,
    Subscriber, SubscriberSink, Subscription, Topic,
};
use crate::protocol::{
    Ack, Encoding, EpochName, ErrorCode, ErrorReply, EventId, NotJoined, Notice, StartAt,
    Timestamp, TopicName, push_not_joined, push_presence_list,
};
use crate::server::websocket::end::EndReason;
use crate::sync::{Arc, Weak};

/// A connection that takes so few bytes ends when a topic appears: the notice would be one too many.
const MAX_UNSENT_NOTICES_BYTES: usize = 1 << 20;

/// A subscription to open.
pub(super) struct NewSubscription<'a> {
    pub(super) key: &'a SubscriptionKey,
    pub(super) topic: &'a Arc<Topic>,
    pub(super) start_at: &'a StartAt,
    /// Its place among the subscriptions of its client id in the cluster.
    pub(super) order: u64,
    pub(super) by: By<'a>,
}

/// How a client asked for a subscription, and what says that the subscription begins.
pub(super) enum By<'a> {
    /// By name: the ack of this request. Whether the client hears who else is subscribed, the request says.
    Name {
        request_id: Option<&'a str>,
        watches: bool,
    },
    /// By a pattern: a notice.
    Pattern(&'a Arc<PatternSubscription>),
}

impl NewSubscription<'_> {
    /// Whether the ack of its pattern is not queued yet.
    fn is_starting(&self) -> bool {
        match self.by {
            By::Name { .. } => false,
            By::Pattern(pattern) => pattern.is_starting(),
        }
    }

    fn watches(&self) -> bool {
        match self.by {
            By::Name { watches, .. } => watches,
            By::Pattern(pattern) => pattern.watches(),
        }
    }
}

impl Connection {
    /// Opens a subscription, and appends what the client gets first. Called under the outbox lock.
    pub(super) fn open(
        &self,
        cursors: &mut Cursors,
        frames: &mut Vec<u8>,
        sink: &Weak<dyn SubscriberSink>,
        new: &NewSubscription<'_>,
    ) -> Result<Opened, SubscribeError> {
        if !self.subscriptions.has_room_for(new.key, new.topic) {
            return Err(SubscribeError::LimitReached);
        }
        if let By::Pattern(pattern) = new.by
            && self
                .subscriptions
                .has_of_pattern(new.key, new.topic, pattern)
        {
            return Err(SubscribeError::AlreadyOpen);
        }
        let subscriber = Subscriber {
            client_id: new.key.1.clone(),
            sink,
            order: new.order,
            watches: new.watches(),
            pattern: match new.by {
                By::Name { .. } => None,
                By::Pattern(pattern) => Some(Arc::clone(pattern)),
            },
        };
        let opened = cursors.open_for(subscriber, new.topic, new.start_at)?;
        // Even if another connection is taking an older one over: its notice must not follow these frames.
        for older in self.subscriptions.remove_waiting(new.key, new.topic) {
            cursors.end(&older);
        }
        let subscription = Arc::clone(&opened.subscription);
        let older =
            if new.is_starting() || self.subscriptions.of_deleted(new.key, new.topic).is_some() {
                subscription.wait();
                let mut frames = Vec::new();
                self.push_first(&mut frames, cursors, new, &opened);
                self.subscriptions.insert_waiting(Waiting {
                    subscription,
                    frames,
                })
            } else {
                self.push_first(frames, cursors, new, &opened);
                self.subscriptions.insert(subscription)
            };
        if let Some(older) = older {
            lose_to(&older, new);
            cursors.end(&older);
        }
        Ok(opened)
    }

    /// Queues the ack of a pattern, and lets all subscriptions begin that have waited for it. Only on the connection's own thread,
    /// which waits for the peer meanwhile.
    pub(super) fn start_pattern(
        &self,
        pattern: &Arc<PatternSubscription>,
        batch: &mut ReadBatch,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.outbox.reply_with(|_, frames| {
            write(frames);
            frames.append(&mut self.subscriptions.take_behind_ack(pattern));
            pattern.started();
        });
        for key in self.subscriptions.waiting_keys() {
            let Some(next) = self.subscriptions.take_its_place(&key) else {
                continue;
            };
            self.outbox.reply_with(|_, frames| next.begin(frames));
            let subscription = next.subscription;
            batch.clear();
            subscription.deliver_one(batch);
            if subscription.watches() {
                // A round may have ended while it waited.
                self.presence_changed(&subscription, &mut PresenceBatch::default());
            }
        }
    }

    /// Appends what a client gets of a pattern, or keeps it until the ack. Called under the outbox lock.
    pub(super) fn push_of_pattern(
        &self,
        pattern: &PatternSubscription,
        frames: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        match pattern.is_starting() {
            true => self.subscriptions.keep_behind_ack(pattern, write),
            false => write(frames),
        }
    }

    /// Appends the ack or the notice, and the gap before the replay if there is one.
    fn push_first(
        &self,
        frames: &mut Vec<u8>,
        cursors: &Cursors,
        new: &NewSubscription<'_>,
        opened: &Opened,
    ) {
        let (topic, encoding) = (new.topic.name(), self.encoding());
        let Opened {
            epoch,
            seq,
            recovered,
            ..
        } = *opened;
        match new.by {
            By::Name { request_id, .. } => {
                let ack = Ack {
                    request_id,
                    topic: topic.as_str(),
                    seq,
                    epoch: Some(epoch.as_str()),
                    recovered,
                    duplicate: false,
                    ts: Timestamp::now(),
                };
                let replays = cursors.replays(&opened.subscription);
                let id = (!replays).then_some(EventId { epoch, seq });
                encoding.push_ack(frames, &ack, id);
            }
            By::Pattern(pattern) => {
                let notice = Notice::Subscribed {
                    topic,
                    pattern: pattern.pattern(),
                    seq,
                    epoch,
                    recovered,
                };
                encoding.push_notice(frames, notice);
            }
        }
        if let Some(PresenceList { total, names }) = &opened.presence {
            debug_assert_eq!(encoding, Encoding::WebSocket, "a stream does not watch");
            push_presence_list(frames, topic, *total, names);
        }
        if let Some(gap) = &opened.gap {
            encoding.push_gap(frames, topic, gap, || Some(epoch));
        }
    }

    /// Joins a topic that appears, on a thread that does not belong to this connection.
    pub(super) fn join_appeared(
        &self,
        pattern: &Arc<PatternSubscription>,
        topic: &Arc<Topic>,
        order: u64,
        start_at: &StartAt,
    ) -> Result<(), SubscribeError> {
        if self.pending_bytes() > MAX_UNSENT_NOTICES_BYTES {
            let reason = EndReason::SlowConsumer(topic.name().clone(), topic.overflow());
            self.end(reason);
            return Err(SubscribeError::ConnectionEnding);
        }
        if let Some(block_timeout) = topic.block_timeout() {
            self.outbox.may_hold_publishers(block_timeout);
        }
        let key = (topic.name().clone(), pattern.client_id().clone());
        let new = NewSubscription {
            key: &key,
            topic,
            start_at,
            order,
            by: By::Pattern(pattern),
        };
        let mut opened = Err(SubscribeError::ConnectionEnding);
        self.outbox.notify(|cursors, frames| {
            opened = self.open(cursors, frames, pattern.sink(), &new);
            if matches!(opened, Err(SubscribeError::LimitReached)) {
                let what = NotJoined::Topic(topic.name());
                self.push_not_joined(frames, pattern, what);
            }
        });
        self.opened(opened?, &mut ReadBatch::default());
        Ok(())
    }

    /// Completes what [`Connection::open`] has begun, with the outbox lock free: an older subscription on another connection ends,
    /// and the replay begins.
    pub(super) fn opened(&self, opened: Opened, batch: &mut ReadBatch) {
        let subscription = opened.subscription;
        self.check_open(&subscription);
        // An older subscription of this connection may have ended, so publishers may have room.
        subscription.topic().cursor_moved();
        if let Some(takeover) = opened.takeover {
            takeover.end_older();
        }
        batch.clear();
        subscription.deliver_one(batch);
    }

    /// See [`SubscriberSink::may_join`].
    pub(super) fn may_join_now(
        &self,
        pattern: &PatternSubscription,
        topic: &TopicName,
        epoch: Option<EpochName>,
    ) -> bool {
        let key = (topic.clone(), pattern.client_id().clone());
        if self.subscriptions.has_live(&key, epoch) {
            return false;
        }
        let has_room = self.subscriptions.has_room(&key);
        if !has_room {
            self.send_not_joined(pattern, NotJoined::Topic(topic));
        }
        has_room
    }

    /// Sends the error for topics that would be subscriptions too many.
    pub(super) fn send_not_joined(&self, pattern: &PatternSubscription, what: NotJoined<'_>) {
        self.outbox
            .notify(|_, frames| self.push_not_joined(frames, pattern, what));
    }

    /// Appends the error for topics that would be subscriptions too many.
    fn push_not_joined(
        &self,
        frames: &mut Vec<u8>,
        pattern: &PatternSubscription,
        what: NotJoined<'_>,
    ) {
        debug_assert_eq!(
            self.encoding(),
            Encoding::WebSocket,
            "a stream has no patterns"
        );
        self.push_of_pattern(pattern, frames, |frames| {
            push_not_joined(frames, pattern.pattern(), what, &self.too_many());
        });
    }

    pub(super) fn too_many(&self) -> ErrorReply {
        let max = self.subscriptions.max();
        let text = format!("no more than {max} subscriptions per connection");
        ErrorReply::new(ErrorCode::LimitReached, text)
    }

    /// Ends a subscription that was opened while its connection or its pattern ended, perhaps before it was in the list.
    fn check_open(&self, subscription: &Arc<Subscription>) {
        if !self.is_open() {
            self.end_subscriptions();
        } else if let Some(pattern) = subscription.pattern()
            && !self.subscriptions.has_pattern(pattern)
        {
            self.end_replaced(subscription);
        }
    }

    /// Ends a subscription whose pattern was taken over, and removes it from its topic.
    pub(super) fn end_replaced(&self, subscription: &Arc<Subscription>) {
        self.replaced(subscription);
        subscription.topic().unsubscribe(subscription);
    }
}

/// What a pattern had is taken over by name, or by another pattern.
fn lose_to(older: &Subscription, new: &NewSubscription<'_>) {
    let is_its_own = match new.by {
        By::Name { .. } => false,
        By::Pattern(pattern) => older.came_from(pattern),
    };
    if let Some(from) = older.pattern().filter(|_| !is_its_own) {
        from.lose(older.topic());
    }
}
