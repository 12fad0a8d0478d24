//! What a connection asks, done: requests in, replies and fan-out collected until the reader would wait.

use std::borrow::Cow;
use std::time::Instant;

use super::connection::Connection;
use super::outbox::PIECE_BYTES;
use super::pace::PublishRate;
use crate::broker::{
    Batch, Broker, Opened, Outlet, PublishError, SubscribeError, Subscription, Topic,
};
use crate::protocol::{
    Ack, ClientId, ErrorCode, Fault, Message, Request, RequestId, Subscribe, TopicName,
    parse_request, push_ack, push_error, push_gap, push_pong,
};
use crate::sync::{Arc, Weak};

/// Replies are sent at the latest when there are this many bytes of them.
const MAX_HELD_REPLIES_BYTES: usize = 32 << 10;

pub(super) struct Session {
    connection: Arc<Connection>,
    broker: Arc<Broker>,
    max_subscriptions: usize,
    publish_rate: PublishRate,
    /// Finished frames that are not in the outbox yet.
    replies: Vec<u8>,
    /// Topics with events that were not offered to their subscribers yet.
    unflushed: Vec<Unflushed>,
    batch: Batch,
}

struct Unflushed {
    topic: Arc<Topic>,
    events: usize,
    bytes: usize,
}

impl Session {
    pub(super) fn new(
        connection: Arc<Connection>,
        broker: Arc<Broker>,
        max_subscriptions: usize,
        rate: u32,
    ) -> Session {
        Session {
            connection,
            broker,
            max_subscriptions,
            publish_rate: PublishRate::new(rate, Instant::now()),
            replies: Vec::new(),
            unflushed: Vec::new(),
            batch: Batch::default(),
        }
    }

    /// Does what a text message asks. Its reply waits for [`Session::flush`].
    pub(super) fn text(&mut self, text: &str) {
        let (request_id, request) = parse_request(text);
        let request_id = request_id.as_ref().map(RequestId::as_str);
        if let Err(fault) = request.and_then(|request| self.carry_out(request, request_id)) {
            push_error(&mut self.replies, request_id, &fault);
        }
        self.bound_replies();
    }

    /// Only text messages are requests.
    pub(super) fn binary(&mut self) {
        push_error(
            &mut self.replies,
            None,
            &Fault::bad_request("binary messages are not supported; send JSON as text"),
        );
        self.bound_replies();
    }

    /// Adds finished frames to the replies.
    pub(super) fn reply(&mut self, frames: &[u8]) {
        self.replies.extend_from_slice(frames);
        self.bound_replies();
    }

    /// Offers what was published to its subscribers, then sends the replies in one piece.
    pub(super) fn flush(&mut self) {
        for Unflushed { topic, .. } in self.unflushed.drain(..) {
            topic.fan_out(&mut self.batch);
        }
        if !self.replies.is_empty() {
            self.connection.outbox.reply(&mut self.replies);
        }
    }

    /// Gives back memory that only a burst needed.
    pub(super) fn rest(&mut self) {
        if self.replies.capacity() > MAX_HELD_REPLIES_BYTES {
            self.replies = Vec::new();
        }
        self.batch.shrink();
    }

    fn carry_out(&mut self, request: Request<'_>, request_id: Option<&str>) -> Result<(), Fault> {
        match request {
            Request::Ping => push_pong(&mut self.replies, request_id),
            Request::Publish { topic, message } => {
                let seq = self.publish(&topic, &message)?;
                push_ack(
                    &mut self.replies,
                    &Ack {
                        request_id,
                        topic: &topic,
                        seq,
                        epoch: None,
                        recovered: None,
                    },
                );
            }
            Request::Subscribe(subscribe) => self.subscribe(subscribe, request_id)?,
            Request::Unsubscribe { topic, client_id } => {
                let seq = self.unsubscribe(&topic, client_id)?;
                let topic = topic.as_str();
                push_ack(
                    &mut self.replies,
                    &Ack {
                        request_id,
                        topic,
                        seq,
                        epoch: None,
                        recovered: None,
                    },
                );
            }
        }
        Ok(())
    }

    fn publish(&mut self, name: &Cow<'_, str>, message: &Message<'_>) -> Result<u64, Fault> {
        let mut topic = self.topic(name)?;
        if self.publish_rate.is_limited() && !self.publish_rate.allow(Instant::now()) {
            return Err(Fault::new(
                ErrorCode::RateLimited,
                "more publishes per second than allowed",
            ));
        }
        loop {
            match topic.try_publish(message) {
                Ok(seq) => {
                    self.published(topic, message.payload().len());
                    return Ok(seq);
                }
                Err(PublishError::ShuttingDown) => return Err(Fault::shutting_down()),
                // It may have been created anew since; if not, the look-up says so.
                Err(PublishError::Deleted) => topic = self.topic_anew(name)?,
                Err(PublishError::Full { event_bytes }) => {
                    self.flush();
                    topic.wait_for_room(event_bytes);
                }
            }
        }
    }

    /// A topic this session has just published to is not looked up again.
    fn topic(&self, name: &str) -> Result<Arc<Topic>, Fault> {
        match self.unflushed.last() {
            Some(last) if last.topic.name().as_str() == name => Ok(Arc::clone(&last.topic)),
            _ => self.topic_anew(name),
        }
    }

    fn topic_anew(&self, name: &str) -> Result<Arc<Topic>, Fault> {
        self.broker.topic(name).ok_or_else(|| Fault::no_topic(name))
    }

    /// Notes that a topic has an event to offer; offers at once when waiting longer could cost a subscriber an event.
    fn published(&mut self, topic: Arc<Topic>, payload_bytes: usize) {
        let at = match self
            .unflushed
            .iter()
            .position(|unflushed| Arc::ptr_eq(&unflushed.topic, &topic))
        {
            Some(at) => at,
            None => {
                self.unflushed.push(Unflushed {
                    topic,
                    events: 0,
                    bytes: 0,
                });
                self.unflushed.len() - 1
            }
        };
        let unflushed = &mut self.unflushed[at];
        unflushed.events += 1;
        unflushed.bytes += payload_bytes;
        let half_a_queue = unflushed.events >= unflushed.topic.max_queue_size().div_ceil(2);
        if half_a_queue
            || unflushed.bytes >= PIECE_BYTES.min(unflushed.topic.max_history_bytes() / 2)
        {
            let unflushed = self.unflushed.swap_remove(at);
            unflushed.topic.fan_out(&mut self.batch);
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe, request_id: Option<&str>) -> Result<(), Fault> {
        let Subscribe {
            topic: name,
            client_id,
            start_at,
        } = subscribe;
        if self.broker.is_draining() {
            return Err(Fault::shutting_down());
        }
        let topic = self.topic_anew(name.as_str())?;
        let key = (name, client_id);
        self.admit(&key, &topic)?;
        let connection: Weak<Connection> = Arc::downgrade(&self.connection);
        let outlet: Weak<dyn Outlet> = connection;
        let opened = topic
            .subscribe(key.1.clone(), &start_at, Weak::clone(&outlet))
            .map_err(|error| match error {
                SubscribeError::Deleted => Fault::no_topic(key.0.as_str()),
                SubscribeError::AheadOfTopic => {
                    Fault::bad_request("after_seq is ahead of the topic")
                }
            })?;
        self.connection
            .remember(key, Arc::clone(&opened.subscription));
        if let Some(older) = &opened.replaced {
            older.give_way(&outlet);
        }
        self.go_live(&topic, &opened, request_id);
        Ok(())
    }

    /// Whether one more subscription is allowed. One of the same key that reads a deleted topic to its end goes first.
    fn admit(&mut self, key: &(TopicName, ClientId), topic: &Arc<Topic>) -> Result<(), Fault> {
        match self.connection.subscription(key) {
            Some(older) if !Arc::ptr_eq(older.topic(), topic) => {
                self.flush();
                self.connection.outbox.wait_until_ended(&older);
                Ok(())
            }
            Some(_) => Ok(()),
            None if self.connection.subscription_count() < self.max_subscriptions => Ok(()),
            None => {
                let text = format!(
                    "no more than {} subscriptions per connection",
                    self.max_subscriptions
                );
                Err(Fault::new(ErrorCode::LimitReached, text))
            }
        }
    }

    /// The ack is put on its way first; only then may events follow.
    fn go_live(&mut self, topic: &Arc<Topic>, opened: &Opened, request_id: Option<&str>) {
        let Opened {
            subscription,
            seq,
            recovered,
            gap,
            ..
        } = opened;
        let ack = Ack {
            request_id,
            topic: topic.name().as_str(),
            seq: *seq,
            epoch: Some(topic.epoch()),
            recovered: *recovered,
        };
        push_ack(&mut self.replies, &ack);
        if let Some(gap) = gap {
            push_gap(&mut self.replies, topic.name(), gap);
        }
        self.connection.outbox.reply(&mut self.replies);
        subscription.go_live();
        self.batch.reset();
        self.connection.offer(subscription, &mut self.batch);
    }

    fn unsubscribe(&mut self, topic: &TopicName, client_id: ClientId) -> Result<u64, Fault> {
        let key = (topic.clone(), client_id);
        let not_subscribed = || Fault::not_subscribed(topic.as_str());
        let subscription: Arc<Subscription> = self
            .connection
            .subscription(&key)
            .ok_or_else(not_subscribed)?;
        let seq = subscription.end().ok_or_else(not_subscribed)?;
        subscription.topic().unsubscribe(&subscription);
        self.connection.forget(&subscription);
        Ok(seq)
    }

    fn bound_replies(&mut self) {
        if self.replies.len() >= MAX_HELD_REPLIES_BYTES {
            self.flush();
        }
    }
}
