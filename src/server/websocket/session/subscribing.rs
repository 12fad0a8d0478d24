//! How a session opens and ends subscriptions.

use super::Session;
use crate::broker::{
    Joined, Opened, SubscribeError, SubscriberSink, Subscription, Topic, TopicError,
};
use crate::protocol::{
    Ack, ClientId, ErrorCode, ErrorReply, StartAt, Subscribe, Timestamp, TopicName, push_ack,
    push_gap,
};
use crate::server::websocket::connection::Connection;
use crate::sync::{Arc, Weak};

/// How often a subscribe is tried again whose topic was closed meanwhile.
const MAX_JOINS: usize = 5;

impl Session {
    pub(super) fn subscribe(
        &mut self,
        subscribe: Subscribe,
        request_id: Option<&str>,
    ) -> Result<(), ErrorReply> {
        let Subscribe {
            topic: name,
            client_id,
            start_at,
        } = subscribe;
        if !self.connection.principal.may_subscribe(name.as_str()) {
            return Err(ErrorReply::may_not_subscribe(name.as_str()));
        }
        if self.broker.is_draining() {
            return Err(ErrorReply::shutting_down());
        }
        let key = (name, client_id);
        self.check_limit(&key)?;
        // Earlier replies are sent before the ack, and earlier events of this session are fanned out.
        self.flush();
        for _ in 0..MAX_JOINS {
            let Joined { topic, order } = self.join(&key)?;
            self.await_end_of_older(&key, &topic);
            let Err(error) = self.open(&key, &topic, order, &start_at, request_id) else {
                return Ok(());
            };
            self.broker.leave(&key.0, &key.1, order);
            match error {
                SubscribeError::Deleted if order > 0 => {}
                SubscribeError::Deleted => return Err(ErrorReply::no_topic(key.0.as_str())),
                SubscribeError::AheadOfTopic => {
                    return Err(ErrorReply::bad_request("after_seq is ahead of the topic"));
                }
                // Another thread ended the connection while this request waited: no reply can be sent.
                SubscribeError::ConnectionEnding => return Ok(()),
            }
        }
        Err(ErrorReply::engine_away())
    }

    /// Makes the topic ready for a subscription.
    fn join(&self, key: &(TopicName, ClientId)) -> Result<Joined, ErrorReply> {
        let joined = self.broker.join(&key.0, &key.1, self.connection.info.id);
        joined.map_err(|error| match error {
            TopicError::NotFound => ErrorReply::no_topic(key.0.as_str()),
            TopicError::Unavailable => ErrorReply::engine_away(),
        })
    }

    /// Opens a subscription: the ack, the replay, and what comes from now on.
    fn open(
        &mut self,
        key: &(TopicName, ClientId),
        topic: &Arc<Topic>,
        order: u64,
        start_at: &StartAt,
        request_id: Option<&str>,
    ) -> Result<(), SubscribeError> {
        let connection: Weak<Connection> = Arc::downgrade(&self.connection);
        let sink: Weak<dyn SubscriberSink> = connection;
        let outbox = &self.connection.outbox;
        if let Some(block_timeout) = topic.block_timeout() {
            outbox.may_hold_publishers(block_timeout);
        }
        let opened = outbox.reply_with(|cursors, frames| {
            let client_id = key.1.clone();
            let opened = cursors.open_in_order(topic, client_id, start_at, &sink, order)?;
            let own_older = self
                .connection
                .insert_subscription(key.clone(), Arc::clone(&opened.subscription));
            if let Some(older) = own_older {
                // Even if another connection is taking it over: its notice must not follow the new ack.
                cursors.end(&older);
            }
            push_opened(frames, topic, &opened, request_id);
            Ok(opened)
        })?;
        if !self.connection.is_open() {
            // It was just ended, perhaps before this subscription was in the list.
            self.connection.end_subscriptions();
        }
        // An older subscription of this connection may have ended, so publishers may have room.
        topic.cursor_moved();
        if let Some(takeover) = opened.takeover {
            takeover.end_older();
        }
        self.batch.clear();
        opened.subscription.deliver_one(&mut self.batch);
        if self.broker.was_replaced(&key.0, &key.1, order) {
            topic.supersede(&key.1, u64::MAX);
        }
        Ok(())
    }

    /// Checks the limit of subscriptions, before anybody hears of this one.
    fn check_limit(&self, key: &(TopicName, ClientId)) -> Result<(), ErrorReply> {
        let is_own = self.connection.subscription(key).is_some();
        if is_own || self.connection.subscription_count() < self.max_subscriptions {
            return Ok(());
        }
        let text = format!(
            "no more than {} subscriptions per connection",
            self.max_subscriptions
        );
        Err(ErrorReply::new(ErrorCode::LimitReached, text))
    }

    /// Waits for the end of an older subscription of the same key that still reads a deleted topic.
    fn await_end_of_older(&mut self, key: &(TopicName, ClientId), topic: &Arc<Topic>) {
        if let Some(older) = self.connection.subscription(key)
            && !Arc::ptr_eq(older.topic(), topic)
        {
            self.flush();
            self.connection.outbox.wait_until_ended(&older);
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        topic: &TopicName,
        client_id: ClientId,
    ) -> Result<u64, ErrorReply> {
        let key = (topic.clone(), client_id);
        let not_subscribed = || ErrorReply::not_subscribed(topic.as_str());
        let subscription: Arc<Subscription> = self
            .connection
            .subscription(&key)
            .ok_or_else(not_subscribed)?;
        if subscription.is_superseded() {
            // The newer subscription is acknowledged, and this connection has not ended its own yet.
            self.connection.replaced(&subscription);
            return Err(not_subscribed());
        }
        let end = self.connection.end_cursor(&subscription);
        let seq = end.ok_or_else(not_subscribed)?.seq;
        subscription.topic().unsubscribe(&subscription);
        self.connection.remove_subscription(&subscription);
        Ok(seq)
    }
}

/// Appends the ack of a subscribe, and the gap before the replay if there is one.
fn push_opened(frames: &mut Vec<u8>, topic: &Topic, opened: &Opened, request_id: Option<&str>) {
    let ack = Ack {
        request_id,
        topic: topic.name().as_str(),
        seq: opened.seq,
        epoch: Some(opened.epoch.as_str()),
        recovered: opened.recovered,
        ts: Timestamp::now(),
    };
    push_ack(frames, &ack);
    if let Some(gap) = &opened.gap {
        push_gap(frames, topic.name(), gap);
    }
}
