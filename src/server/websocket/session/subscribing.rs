//! How a session opens and ends subscriptions.

use super::{Session, topic_refused};
use crate::broker::{Engine, Joined, SubscribeError, SubscriberSink, Subscription, Topic};
use crate::protocol::{ClientId, ErrorReply, StartAt, Subscribe, TopicName};
use crate::server::websocket::connection::Connection;
use crate::server::websocket::opening::{By, NewSubscription};
use crate::server::websocket::subscriptions::SubscriptionKey;
use crate::sync::{Arc, Weak};

/// How often a subscribe is tried again whose topic was closed meanwhile.
pub(super) const MAX_JOINS: usize = 5;

impl Session {
    pub(in crate::server) fn subscribe(
        &mut self,
        subscribe: Subscribe,
        request_id: Option<&str>,
    ) -> Result<(), ErrorReply> {
        let Subscribe {
            topic: name,
            client_id,
            start_at,
            presence,
        } = subscribe;
        if !self.principal.may_subscribe(name.as_str()) {
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
            let Joined { topic, order } = self.join(&key, &start_at)?;
            if presence && self.broker.follow_presence(&topic).is_err() {
                self.broker.leave(&key.0, &key.1, order);
                return Err(ErrorReply::engine_away());
            }
            self.await_end_of_older(&key, &topic);
            let opened = self.open(&NewSubscription {
                key: &key,
                topic: &topic,
                start_at: &start_at,
                order,
                by: By::Name {
                    request_id,
                    watches: presence,
                },
            });
            let Err(error) = opened else {
                return Ok(());
            };
            self.broker.leave(&key.0, &key.1, order);
            match error {
                SubscribeError::PresenceUnknown => {}
                SubscribeError::Deleted if order > 0 => {}
                SubscribeError::Deleted if self.broker.creates_topics(Some(&start_at)) => {}
                SubscribeError::Deleted => return Err(ErrorReply::no_topic(key.0.as_str())),
                SubscribeError::AheadOfTopic => {
                    return Err(ErrorReply::bad_request("after_seq is ahead of the topic"));
                }
                SubscribeError::LimitReached => return Err(self.connection.too_many()),
                // Another thread ended the connection while this request waited: no reply can be sent.
                SubscribeError::ConnectionEnding
                | SubscribeError::PatternEnded
                | SubscribeError::AlreadyOpen => return Ok(()),
            }
        }
        Err(match self.broker.engine() {
            Engine::Embedded => ErrorReply::no_topic(key.0.as_str()),
            Engine::Redis(_) => ErrorReply::engine_away(),
        })
    }

    /// Makes the topic ready for a subscription.
    fn join(&self, key: &SubscriptionKey, start_at: &StartAt) -> Result<Joined, ErrorReply> {
        let (topic, client_id) = key;
        let joined = self
            .broker
            .join(topic, client_id, self.connection.caller(), start_at);
        joined.map_err(|error| topic_refused(topic.as_str(), error))
    }

    /// Opens a subscription: its first frames, the replay, and what comes from now on.
    pub(super) fn open(&mut self, new: &NewSubscription<'_>) -> Result<(), SubscribeError> {
        let connection: Weak<Connection> = Arc::downgrade(&self.connection);
        let sink: Weak<dyn SubscriberSink> = connection;
        let outbox = &self.connection.outbox;
        if let Some(block_timeout) = new.topic.block_timeout() {
            outbox.may_hold_publishers(block_timeout);
        }
        let opened = outbox
            .reply_with(|cursors, frames| self.connection.open(cursors, frames, &sink, new))?;
        self.connection.opened(opened, &mut self.batch);
        let (name, client_id) = new.key;
        if self.broker.was_replaced(name, client_id, new.order) {
            new.topic.supersede(client_id, u64::MAX);
        }
        Ok(())
    }

    /// Checks the limit of subscriptions, before anybody hears of this one.
    fn check_limit(&self, key: &SubscriptionKey) -> Result<(), ErrorReply> {
        match self.connection.subscriptions.has_room(key) {
            true => Ok(()),
            false => Err(self.connection.too_many()),
        }
    }

    /// Waits for the end of an older subscription of the same key that still reads a deleted topic.
    fn await_end_of_older(&mut self, key: &SubscriptionKey, topic: &Arc<Topic>) {
        while let Some(older) = self.connection.subscriptions.of_deleted(key, topic) {
            self.flush();
            self.connection.outbox.wait_until_ended(&older);
            if !self.connection.is_open() {
                return;
            }
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
            .subscriptions
            .get(&key)
            .filter(|subscription| subscription.pattern().is_none())
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
