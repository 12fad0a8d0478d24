//! A session carries out the requests of a connection. It collects replies and dirty topics until the reader would wait.

mod patterns;
mod renewal;
mod subscribing;

use std::time::Instant;

use super::connection::Connection;
use super::dirty_topics::DirtyTopics;
use super::held_publishes::HeldPublishes;
use super::token_timer::TokenTimer;
use crate::access::Principal;
use crate::broker::{
    Broker, Engine, Place, PublishError, Published, ReadBatch, Topic, TopicError, WaitError,
};
use crate::protocol::{
    Ack, ErrorCode, ErrorReply, Message, Request, RequestId, Timestamp, TopicFilter, TopicName,
    parse_request, push_ack, push_error, push_pong,
};
use crate::server::authorization::Authorization;
use crate::server::token_bucket::TokenBucket;
use crate::sync::Arc;

/// Replies are sent once there are this many bytes of them, or earlier.
const MAX_HELD_REPLIES_BYTES: usize = 32 << 10;

/// Why a topic cannot be used.
fn topic_refused(name: &str, error: TopicError) -> ErrorReply {
    match error {
        TopicError::NotFound => ErrorReply::no_topic(name),
        TopicError::LimitReached => ErrorReply::too_many_topics(),
        TopicError::ShuttingDown => ErrorReply::shutting_down(),
        TopicError::Unavailable => ErrorReply::engine_away(),
    }
}

pub(in crate::server) struct Session {
    connection: Arc<Connection>,
    broker: Arc<Broker>,
    /// Who uses the connection now. Its own copy, so that no request takes a lock for it; others read that of the
    /// [`ConnectionInfo`](crate::server::connection_info::ConnectionInfo).
    principal: Principal,
    /// If the principal has a token.
    token_timer: Option<TokenTimer>,
    /// Checks further tokens; `None` where none can be presented.
    authorization: Option<Arc<Authorization>>,
    publish_rate: TokenBucket,
    /// Finished frames that are not in the outbox yet.
    replies: Vec<u8>,
    /// How many bytes of `replies` belong to completed requests.
    replied: usize,
    held: HeldPublishes,
    dirty: DirtyTopics,
    batch: ReadBatch,
    /// The place in the line of a topic without room. Dropped before the session waits for anything else.
    place: Option<Place>,
    /// When the bytes of the current requests arrived.
    arrived: Timestamp,
}

impl Session {
    pub(in crate::server) fn new(
        connection: Arc<Connection>,
        broker: Arc<Broker>,
        principal: Principal,
        rate: u32,
    ) -> Session {
        Session {
            connection,
            broker,
            token_timer: renewal::timer_of(&principal),
            principal,
            authorization: None,
            publish_rate: TokenBucket::new(rate, Instant::now()),
            replies: Vec::new(),
            replied: 0,
            held: HeldPublishes::default(),
            dirty: DirtyTopics::default(),
            batch: ReadBatch::default(),
            place: None,
            arrived: Timestamp::now(),
        }
    }

    /// Carries out the request in a text message. The reply is sent by [`Session::flush`]. A publish that waits for room is
    /// cancelled once `is_leaving` returns true.
    pub(super) fn text(&mut self, text: &str, is_leaving: &dyn Fn() -> bool) {
        let (request_id, request) = parse_request(text);
        let request_id = request_id.as_ref().map(RequestId::as_str);
        if let Err(error) =
            request.and_then(|request| self.carry_out(request, request_id, is_leaving))
        {
            push_error(&mut self.replies, request_id, &error);
        }
        self.bound_replies();
    }

    /// Notes the arrival time of the following requests.
    pub(super) fn bytes_arrived(&mut self) {
        self.arrived = Timestamp::now();
    }

    /// Refuses a binary message, since only text messages are requests.
    pub(super) fn binary(&mut self) {
        push_error(
            &mut self.replies,
            None,
            &ErrorReply::bad_request("binary messages are not supported; send JSON as text"),
        );
        self.bound_replies();
    }

    /// Adds finished frames to the replies.
    pub(super) fn reply(&mut self, frames: &[u8]) {
        self.replies.extend_from_slice(frames);
        self.bound_replies();
    }

    /// Fans out the dirty topics, then sends all replies at once. The thread may wait after that.
    pub(super) fn flush(&mut self) {
        self.flush_until(|| false);
    }

    /// Like [`Session::flush`], but makes no further rounds once `is_work` returns true. They are left to the next flush. The
    /// thread must then do that work, which may publish to the same subscribers, and must not wait.
    pub(super) fn flush_until(&mut self, is_work: impl Fn() -> bool) {
        self.place = None;
        self.publish_held();
        let has_published = self.dirty.has_events();
        self.dirty.fan_out(&mut self.batch);
        self.send_replies();
        if has_published {
            let latency = &self.broker.metrics().publish_latency;
            latency.observe_since(self.arrived.micros());
        }
        self.dirty.finish(&mut self.batch, is_work);
    }

    fn publish_held(&mut self) {
        if let Engine::Redis(redis) = self.broker.engine() {
            self.held.publish(redis, &mut self.replies, &mut self.dirty);
            self.replied = self.replies.len();
        }
    }

    fn send_replies(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        self.replied = 0;
        while !self.connection.outbox.reply(&mut self.replies) {
            self.dirty.finish(&mut self.batch, || false);
            self.connection.outbox.wait_until_read();
        }
    }

    /// Flushes the requests completed before the one that panicked.
    pub(super) fn flush_after_panic(&mut self) {
        self.replies.truncate(self.replied);
        self.held.truncate(self.replied);
        self.dirty.mark_all_published_to();
        self.flush();
    }

    /// Frees memory that only a burst needed.
    pub(super) fn release_memory(&mut self) {
        if self.replies.capacity() > MAX_HELD_REPLIES_BYTES {
            self.replies = Vec::new();
        }
        self.batch.shrink();
    }

    fn carry_out(
        &mut self,
        request: Request<'_>,
        request_id: Option<&str>,
        is_leaving: &dyn Fn() -> bool,
    ) -> Result<(), ErrorReply> {
        match request {
            Request::Ping => push_pong(&mut self.replies, request_id),
            Request::Authenticate(token) => self.authenticate(&token, request_id)?,
            Request::Publish { topic, message } => {
                if matches!(self.broker.engine(), Engine::Redis(_)) {
                    return self.hold(&topic, &message, request_id, is_leaving);
                }
                let Published {
                    epoch,
                    seq,
                    ts,
                    is_duplicate,
                    ..
                } = self.publish(&topic, &message, is_leaving)?;
                push_ack(
                    &mut self.replies,
                    &Ack {
                        request_id,
                        topic: &topic,
                        seq,
                        epoch: Some(epoch.as_str()),
                        recovered: None,
                        duplicate: is_duplicate,
                        ts,
                    },
                );
            }
            Request::Subscribe(subscribe) => self.subscribe(subscribe, request_id)?,
            Request::SubscribePattern(subscribe) => {
                self.subscribe_pattern(subscribe, request_id)?;
            }
            Request::Unsubscribe {
                filter: TopicFilter::Pattern(pattern),
                client_id,
            } => self.unsubscribe_pattern(&pattern, &client_id, request_id)?,
            Request::Unsubscribe {
                filter: TopicFilter::Topic(topic),
                client_id,
            } => {
                let seq = self.unsubscribe(&topic, client_id)?;
                let (topic, ts) = (topic.as_str(), Timestamp::now());
                push_ack(
                    &mut self.replies,
                    &Ack {
                        request_id,
                        topic,
                        seq,
                        epoch: None,
                        recovered: None,
                        duplicate: false,
                        ts,
                    },
                );
            }
        }
        Ok(())
    }

    fn publish(
        &mut self,
        name: &str,
        message: &Message<'_>,
        is_leaving: &dyn Fn() -> bool,
    ) -> Result<Published, ErrorReply> {
        self.check_right_to_publish(name)?;
        if self.broker.creates_topics(None) {
            // A publish that is refused creates nothing.
            self.check_publish_rate()?;
            self.dirty_topic(name)?;
        } else {
            self.dirty_topic(name)?;
            self.check_publish_rate()?;
        }
        loop {
            let Some(dirty) = self.dirty.get(name) else {
                // It was flushed or deleted. A topic of the same name may exist again.
                self.dirty_topic(name)?;
                continue;
            };
            let topic = &dirty.topic;
            let place = self.place.as_ref().filter(|place| place.is_of(topic));
            match topic.try_publish(message, self.arrived, place.map(Place::ticket)) {
                Ok(published) => {
                    tracing::trace!(topic = name, seq = published.seq, "published");
                    let is_due = !published.is_duplicate && dirty.published(published.event_bytes);
                    self.place = self.place.take().filter(Place::is_for_many);
                    if is_due {
                        // More requests may have been received already.
                        self.flush_until(|| true);
                    }
                    return Ok(published);
                }
                Err(PublishError::ShuttingDown) => return Err(ErrorReply::shutting_down()),
                Err(PublishError::Deleted | PublishError::NotFound) => self.dirty.remove(name),
                Err(PublishError::Unavailable) => return Err(ErrorReply::engine_away()),
                Err(PublishError::LimitReached) => return Err(ErrorReply::too_many_topics()),
                Err(PublishError::Full { event_bytes }) => {
                    let topic = Arc::clone(topic);
                    self.wait_for_room(&topic, event_bytes, is_leaving)?;
                }
            }
        }
    }

    fn check_right_to_publish(&self, name: &str) -> Result<(), ErrorReply> {
        match self.principal.may_publish(name) {
            true => Ok(()),
            false => Err(ErrorReply::may_not_publish(name)),
        }
    }

    fn check_publish_rate(&mut self) -> Result<(), ErrorReply> {
        if self.publish_rate.is_limited() && !self.publish_rate.allow(Instant::now()) {
            return Err(ErrorReply::new(
                ErrorCode::RateLimited,
                "more publishes per second than allowed",
            ));
        }
        Ok(())
    }

    /// On a node of a cluster: holds a message until the session flushes. Its ack follows then, in its place.
    fn hold(
        &mut self,
        name: &str,
        message: &Message<'_>,
        request_id: Option<&str>,
        is_leaving: &dyn Fn() -> bool,
    ) -> Result<(), ErrorReply> {
        self.check_right_to_publish(name)?;
        let topic = TopicName::new(name).map_err(|_| ErrorReply::no_topic(name))?;
        self.check_publish_rate()?;
        if self.broker.is_draining() {
            return Err(ErrorReply::shutting_down());
        }
        let bytes = message.payload().len();
        if !self.held.has(&topic)
            && let Some(mirror) = self.broker.topic(name)
            && !mirror.has_window(bytes)
        {
            self.wait_for_room(&mirror, bytes, is_leaving)?;
        }
        let replied = self.replies.len();
        self.held
            .add(topic, message, self.arrived, request_id, replied);
        if self.held.is_due() {
            // More requests may have been received already.
            self.flush_until(|| true);
        }
        Ok(())
    }

    /// Waits in the topic's line until there is room for an event of this size. Flushes everything first, so that no other
    /// thread waits for this one meanwhile.
    fn wait_for_room(
        &mut self,
        topic: &Arc<Topic>,
        event_bytes: usize,
        is_leaving: &dyn Fn() -> bool,
    ) -> Result<(), ErrorReply> {
        let place = match self.place.take().filter(|place| place.is_of(topic)) {
            Some(place) => place,
            None => {
                self.flush();
                topic.join_line()
            }
        };
        // A wait for a fan-out is short, so a client that is leaving still gets its publish done.
        let may_take_long = place.waits_for_subscribers();
        let (connection, principal) = (&self.connection, &self.principal);
        let may_go_on = || connection.is_open() && !principal.has_expired();
        let is_cancelled = || !may_go_on() || (may_take_long && is_leaving());
        let waited = place.wait(event_bytes, &mut self.batch, is_cancelled);
        // The connection or its token may have ended since the last check for cancellation.
        let waited = waited.and_then(|()| match may_go_on() {
            true => Ok(()),
            false => Err(WaitError::Cancelled),
        });
        self.place = Some(place);
        waited.map_err(|error| {
            self.place = None;
            match error {
                WaitError::TimedOut => ErrorReply::no_room(topic.name().as_str()),
                WaitError::Cancelled if self.has_expired() => ErrorReply::token_expired(),
                WaitError::Cancelled => ErrorReply::called_off(),
            }
        })
    }

    /// Makes sure that the topic is in the list of dirty topics. A topic that is already in it is not looked up again.
    fn dirty_topic(&mut self, name: &str) -> Result<(), ErrorReply> {
        if self.dirty.get(name).is_none() {
            let topic = self.topic(name)?;
            if self.dirty.is_full() {
                self.flush();
            }
            self.dirty.add(topic);
        }
        Ok(())
    }

    /// The topic to publish to. It may be created for that.
    fn topic(&self, name: &str) -> Result<Arc<Topic>, ErrorReply> {
        let topic = self.broker.topic_or_new(name);
        topic.map_err(|error| topic_refused(name, error))
    }

    fn bound_replies(&mut self) {
        self.replied = self.replies.len();
        if self.replies.len() >= MAX_HELD_REPLIES_BYTES {
            self.flush();
        }
    }
}
