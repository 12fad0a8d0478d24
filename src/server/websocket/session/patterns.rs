//! How a session subscribes to all topics that match a pattern, and ends that.

use std::collections::HashSet;

use super::Session;
use super::subscribing::MAX_JOINS;
use crate::broker::{
    BegunPattern, End, Engine, Joined, PatternSubscription, SubscribeError, SubscriberSink,
    TopicError,
};
use crate::protocol::{
    ClientId, EpochName, ErrorReply, NotJoined, Notice, PatternStart, StartAt, SubscribePattern,
    TopicName, TopicPattern, push_notice, push_pattern_ack, push_pattern_end,
};
use crate::server::websocket::connection::Connection;
use crate::server::websocket::opening::{By, NewSubscription};
use crate::server::websocket::subscriptions::SubscriptionKey;
use crate::sync::{Arc, Weak};

impl Session {
    pub(super) fn subscribe_pattern(
        &mut self,
        subscribe: SubscribePattern,
        request_id: Option<&str>,
    ) -> Result<(), ErrorReply> {
        let SubscribePattern {
            pattern,
            client_id,
            start_at,
            presence,
        } = subscribe;
        if !self.principal.may_subscribe_to_all(&pattern) {
            return Err(ErrorReply::may_not_subscribe(pattern.as_str()));
        }
        if self.broker.is_draining() {
            return Err(ErrorReply::shutting_down());
        }
        self.check_positions(&start_at)?;
        let subscriptions = &self.connection.subscriptions;
        if !subscriptions.has_room_for_pattern(&pattern, &client_id) {
            return Err(self.connection.too_many());
        }
        // Earlier replies are sent before the ack, and earlier events of this session are fanned out.
        self.flush();
        self.connection.outbox.wait_until_read();
        let begun = self.begin_pattern(&pattern, &client_id, presence)?;
        let found = begun.topics.iter().map(|name| (name, start_at.of(name)));
        let mut not_joined = 0;
        for (name, start_at) in found {
            not_joined += usize::from(!self.join_matching(&begun.subscription, name, start_at));
        }
        self.start_pattern(&begun, &start_at, request_id);
        if not_joined > 0 {
            self.connection
                .send_not_joined(&begun.subscription, NotJoined::Found(not_joined));
        }
        self.join_appeared(&begun.subscription);
        Ok(())
    }

    /// Lets the topics of the cluster join that have appeared meanwhile.
    fn join_appeared(&mut self, pattern: &Arc<PatternSubscription>) {
        loop {
            let appeared = self.broker.patterns().take_appeared(pattern);
            if appeared.is_empty() {
                return;
            }
            for (name, epoch) in appeared {
                let connection = &self.connection;
                if connection.may_join_now(pattern, &name, Some(epoch))
                    && !self.join_matching(pattern, &name, StartAt::First)
                {
                    self.connection
                        .send_not_joined(pattern, NotJoined::Topic(&name));
                }
            }
        }
    }

    /// No position may be ahead of its topic, and none can come to be so afterwards. In a cluster Redis may have lost events, so
    /// that such a position is a foreign one.
    fn check_positions(&self, start_at: &PatternStart) -> Result<(), ErrorReply> {
        if matches!(self.broker.engine(), Engine::Redis(_)) {
            return Ok(());
        }
        for (name, position) in start_at.positions() {
            let topic = self.broker.topic(name.as_str());
            if topic.is_some_and(|topic| topic.has_not_reached(position.seq, &position.epoch)) {
                let text = format!("positions: that of '{name}' is ahead of the topic");
                return Err(ErrorReply::bad_request(text));
            }
        }
        Ok(())
    }

    /// Queues the ack when all topics have joined that were found: whatever is published after it, the client gets. Then what has become of
    /// topics that do not exist any more, and what each topic sends.
    fn start_pattern(
        &mut self,
        begun: &BegunPattern,
        start_at: &PatternStart,
        request_id: Option<&str>,
    ) {
        let pattern = &begun.subscription;
        let names: HashSet<&TopicName> = begun.topics.iter().collect();
        let positions = start_at.positions().map(|(name, _)| name);
        let deleted = positions.filter(|name| !names.contains(name));
        self.connection
            .start_pattern(pattern, &mut self.batch, |frames| {
                push_pattern_ack(frames, request_id, pattern.pattern(), begun.topics.len());
                deleted.for_each(|name| push_deleted(frames, name, pattern));
            });
    }

    /// Begins a pattern: topics that appear from now on join it, and wait for its ack.
    fn begin_pattern(
        &self,
        pattern: &TopicPattern,
        client_id: &ClientId,
        presence: bool,
    ) -> Result<BegunPattern, ErrorReply> {
        let connection: Weak<Connection> = Arc::downgrade(&self.connection);
        let sink: Weak<dyn SubscriberSink> = connection;
        let number = self.connection.info.id;
        let prepared = self
            .broker
            .prepare_pattern(pattern, client_id, sink, number, presence)
            .map_err(|_| ErrorReply::engine_away())?;
        if let Some(older) = self.connection.subscriptions.pattern(pattern, client_id) {
            self.broker.patterns().end(&older);
            self.end_subscriptions_of(&older);
        }
        let begun = self.broker.begin_pattern(prepared, |begun| {
            self.connection.subscriptions.insert_pattern(begun);
        });
        if !self.connection.is_open() {
            // It was just ended, perhaps before the pattern was in the list.
            self.connection.end_subscriptions();
        }
        Ok(begun)
    }

    /// Opens the subscription of a topic that matches, now or as soon as it can be. Returns `false` if it would be one too many.
    fn join_matching(
        &mut self,
        pattern: &Arc<PatternSubscription>,
        name: &TopicName,
        start_at: StartAt,
    ) -> bool {
        let key = (name.clone(), pattern.client_id().clone());
        for _ in 0..MAX_JOINS {
            let caller = self.connection.caller();
            let Joined { topic, order } = match self.broker.join_existing(name, &key.1, caller) {
                Ok(joined) => joined,
                Err(TopicError::NotFound) => {
                    // Of one that appeared meanwhile the client does not know.
                    if start_at != StartAt::First {
                        self.send_deleted(&key, pattern);
                    }
                    return true;
                }
                Err(_) => break,
            };
            if pattern.watches() && self.broker.follow_presence(&topic).is_err() {
                self.broker.leave(name, &key.1, order);
                break;
            }
            let opened = self.open(&NewSubscription {
                key: &key,
                topic: &topic,
                start_at: &start_at,
                order,
                by: By::Pattern(pattern),
            });
            let Err(error) = opened else { return true };
            self.broker.leave(name, &key.1, order);
            match error {
                SubscribeError::Deleted | SubscribeError::PresenceUnknown => {}
                SubscribeError::LimitReached => return false,
                // The positions were checked.
                SubscribeError::AheadOfTopic
                // It was created again meanwhile, and has joined by itself.
                | SubscribeError::AlreadyOpen
                | SubscribeError::PatternEnded
                | SubscribeError::ConnectionEnding => return true,
            }
        }
        self.broker.join_later(pattern, name, start_at);
        true
    }

    /// A topic that matched was deleted before it joined.
    fn send_deleted(&self, key: &SubscriptionKey, pattern: &PatternSubscription) {
        let connection = &self.connection;
        connection.outbox.notify(|_, frames| {
            // If it was created again, that topic has joined already.
            if !connection.subscriptions.has_any(key) {
                connection.push_of_pattern(pattern, frames, |frames| {
                    push_deleted(frames, &key.0, pattern);
                });
            }
        });
    }

    pub(super) fn unsubscribe_pattern(
        &mut self,
        pattern: &TopicPattern,
        client_id: &ClientId,
        request_id: Option<&str>,
    ) -> Result<(), ErrorReply> {
        let not_subscribed = || ErrorReply::not_subscribed(pattern.as_str());
        let held = self.connection.subscriptions.pattern(pattern, client_id);
        let held = held.ok_or_else(not_subscribed)?;
        if !self.broker.patterns().end(&held) {
            // The newer one is acknowledged, and this connection has not ended its own yet.
            self.connection.pattern_replaced(&held);
            return Err(not_subscribed());
        }
        let positions = self.end_subscriptions_of(&held);
        push_pattern_end(&mut self.replies, request_id, pattern, &positions);
        Ok(())
    }

    /// Ends what came from a pattern. Returns where the client is in each topic.
    pub(super) fn end_subscriptions_of(
        &self,
        pattern: &Arc<PatternSubscription>,
    ) -> Vec<(TopicName, u64, EpochName)> {
        let subscriptions = self.connection.subscriptions.remove_pattern(pattern);
        let mut positions = Vec::new();
        for subscription in subscriptions.into_iter().flatten() {
            if subscription.is_superseded() {
                // The newer one is acknowledged, and this connection has not ended its own yet.
                self.connection.replaced(&subscription);
                continue;
            }
            let end = self.connection.end_cursor(&subscription);
            subscription.topic().unsubscribe(&subscription);
            self.connection.remove_subscription(&subscription);
            if let Some(End { seq, epoch, .. }) = end.filter(|_| !subscription.waits()) {
                positions.push((subscription.topic().name().clone(), seq, epoch));
            }
        }
        positions
    }
}

fn push_deleted(frames: &mut Vec<u8>, topic: &TopicName, pattern: &PatternSubscription) {
    let pattern = Some(pattern.pattern());
    push_notice(frames, Notice::TopicDeleted { topic, pattern });
}
