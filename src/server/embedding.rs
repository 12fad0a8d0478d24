//! Topics, publishing and figures for the program that embeds the server, without a socket.
//!
//! Calls the same functions of the broker as the REST handlers. Rights and publish rates belong to connections and do not apply.

mod errors;
mod figures;

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::broker::{self, Broker, ChangeError, CreateError, Place, ReadBatch, TopicOptions};
use crate::config::{Config, InvalidConfig, ranges, within};
use crate::protocol::{Message, Timestamp, TopicName};
use crate::sync::{Arc, AtomicUsize, Ordering};

pub use errors::{ChangeTopicError, CreateTopicError, DeleteTopicError, PublishError};
pub use figures::{Published, Stats, SubscriberInfo, SubscriberList, TopicInfo};

/// What a program does with the topics of the server that it runs: a [`Server`](crate::Server) has these methods, too.
///
/// A handle is for other threads: it can be cloned, and does not keep the server running. After the shutdown nothing can be
/// changed or published any more; the memory of the topics is freed when the last handle is dropped.
///
/// ```
/// use std::thread;
/// use threadcast::{Config, PublishError, Server, TopicOptions};
///
/// let server = Server::bind(Config { port: 0, ..Config::default() })?;
/// server.create_topic("orders", &TopicOptions::default())?;
///
/// let handle = server.handle();
/// let publisher = thread::spawn(move || {
///     loop {
///         if let Err(error) = handle.publish("orders", "another") {
///             return error;
///         }
///     }
/// });
/// server.shutdown();
/// let error = publisher.join().expect("no panic");
/// assert!(matches!(error, PublishError::ShuttingDown));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ServerHandle {
    broker: Arc<Broker>,
    connections: Arc<AtomicUsize>,
    max_topics: usize,
    max_message_bytes: usize,
    started: Instant,
}

impl ServerHandle {
    pub(super) fn new(
        broker: &Arc<Broker>,
        connections: Arc<AtomicUsize>,
        config: &Config,
    ) -> ServerHandle {
        ServerHandle {
            broker: Arc::clone(broker),
            connections,
            max_topics: config.max_topics,
            max_message_bytes: config.max_message_bytes,
            started: Instant::now(),
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`CreateTopicError`]; then there is no new topic.
    pub fn create_topic(&self, name: &str, options: &TopicOptions) -> Result<(), CreateTopicError> {
        let topic = TopicName::new(name).map_err(|_| CreateTopicError::InvalidName)?;
        check(options).map_err(CreateTopicError::InvalidOption)?;
        match self.broker.create_topic(&topic, options) {
            Ok(()) => Ok(()),
            Err(CreateError::Exists) => Err(CreateTopicError::Exists {
                topic: name.to_owned(),
            }),
            Err(CreateError::LimitReached) => Err(CreateTopicError::LimitReached {
                max_topics: self.max_topics,
            }),
            Err(CreateError::ShuttingDown) => Err(CreateTopicError::ShuttingDown),
            Err(CreateError::NoBlockInCluster) => Err(CreateTopicError::NoBlockInCluster),
            Err(CreateError::Unavailable) => Err(CreateTopicError::Unavailable),
        }
    }

    /// Changes settings of a topic; an option that is `None` stays as it is. A smaller history or queue acts at once, and what it
    /// skips is reported to subscribers as a gap.
    ///
    /// # Errors
    /// [`ChangeTopicError`]; then nothing was changed.
    pub fn change_topic(&self, name: &str, options: &TopicOptions) -> Result<(), ChangeTopicError> {
        let unknown = || ChangeTopicError::UnknownTopic {
            topic: name.to_owned(),
        };
        if self.broker.is_draining() {
            return Err(ChangeTopicError::ShuttingDown);
        }
        check(options).map_err(ChangeTopicError::InvalidOption)?;
        let topic = TopicName::new(name).map_err(|_| unknown())?;
        let changed = self.broker.change_topic(&topic, options);
        changed.map(drop).map_err(|error| match error {
            ChangeError::NotFound => unknown(),
            ChangeError::NoBlockInCluster => ChangeTopicError::NoBlockInCluster,
            ChangeError::Unavailable => ChangeTopicError::Unavailable,
        })
    }

    /// Deletes a topic. Its subscribers get what was published before, then `topic_deleted`, and their subscriptions end.
    ///
    /// # Errors
    /// [`DeleteTopicError`]; then nothing was deleted.
    pub fn delete_topic(&self, name: &str) -> Result<(), DeleteTopicError> {
        if self.broker.is_draining() {
            return Err(DeleteTopicError::ShuttingDown);
        }
        let deleted = TopicName::new(name).map(|topic| self.broker.delete_topic(&topic));
        match deleted {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(_)) => Err(DeleteTopicError::Unavailable),
            Ok(Ok(false)) | Err(_) => Err(DeleteTopicError::UnknownTopic {
                topic: name.to_owned(),
            }),
        }
    }

    /// All topics, in the order of their names; on a node of a cluster none while Redis is away.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo> {
        let topics = self.broker.all_stats();
        let infos = topics.map(|topics| {
            let infos = topics
                .iter()
                .map(|(name, stats)| TopicInfo::of(name, &stats));
            infos.collect()
        });
        infos.unwrap_or_default()
    }

    /// The topic of this name, if there is one; on a node of a cluster none while Redis is away.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicInfo> {
        let name = TopicName::new(name).ok()?;
        let stats = self.broker.topic_stats(&name).ok()?;
        Some(TopicInfo::of(&name, &stats))
    }

    /// Who is subscribed to a topic: at most `limit` of them, by client id. `None` if there is no such topic, and on a node of a
    /// cluster, where those of all nodes are listed, while Redis is away.
    #[must_use]
    pub fn subscribers(&self, topic: &str, limit: usize) -> Option<SubscriberList> {
        let topic = TopicName::new(topic).ok()?;
        let list = self.broker.list_subscribers(&topic, limit).ok()?;
        Some(list.into())
    }

    /// Publishes a message with this payload and a new id. When it returns, the message is in the topic and has been offered
    /// to every subscriber, unless another thread that publishes to the topic at this moment does that.
    ///
    /// A [`RawValue`](serde_json::value::RawValue) as the payload is passed on byte for byte.
    ///
    /// Waits as a publish over REST does: for subscribers only under
    /// [`OverflowPolicy::Block`](crate::OverflowPolicy::Block), and then at most [`Config::block_timeout`]; under every policy
    /// for a moment while other threads have published faster than events can be sent. A shutdown ends the wait.
    ///
    /// # Errors
    /// [`PublishError`]; then the message is not in the topic.
    pub fn publish<P>(&self, topic: &str, payload: &P) -> Result<Published, PublishError>
    where
        P: Serialize + ?Sized,
    {
        let arrived = Timestamp::now();
        let payload = to_raw_value(payload).map_err(PublishError::Payload)?;
        let bytes = payload.get().len();
        if bytes > self.max_message_bytes {
            return Err(PublishError::TooLarge {
                bytes,
                max_bytes: self.max_message_bytes,
            });
        }
        let id = Uuid::new_v4().to_string();
        let message = Message::new(&*id, &payload).map_err(|_| PublishError::TooDeep)?;
        let published = self.publish_message(topic, &message, arrived)?;
        Ok(Published {
            seq: published.seq,
            ts: published.ts.as_str().to_owned(),
            id,
        })
    }

    fn publish_message(
        &self,
        name: &str,
        message: &Message<'_>,
        arrived: Timestamp,
    ) -> Result<broker::Published, PublishError> {
        let unknown = || PublishError::UnknownTopic {
            topic: name.to_owned(),
        };
        let mut batch = ReadBatch::default();
        let mut place: Option<Place> = None;
        loop {
            let ticket = place.as_ref().map(Place::ticket);
            match self
                .broker
                .publish(name, message, arrived, ticket, &mut batch)
            {
                Ok(published) => return Ok(published),
                Err(broker::PublishError::Full { event_bytes }) => {
                    let topic = self.broker.topic(name).ok_or_else(unknown)?;
                    place = place.filter(|place| place.is_of(&topic));
                    let place = place.get_or_insert_with(|| topic.join_line());
                    let waited = place.wait(event_bytes, &mut batch, || false);
                    waited.map_err(|_| PublishError::NoRoom {
                        topic: name.to_owned(),
                    })?;
                }
                // A topic of the same name may exist again.
                Err(broker::PublishError::Deleted) => place = None,
                Err(broker::PublishError::NotFound) => return Err(unknown()),
                Err(broker::PublishError::LimitReached) => {
                    let max_topics = self.max_topics;
                    return Err(PublishError::TooManyTopics { max_topics });
                }
                Err(broker::PublishError::Unavailable) => return Err(PublishError::Unavailable),
                Err(broker::PublishError::ShuttingDown) => return Err(PublishError::ShuttingDown),
            }
        }
    }

    /// Whether the server takes new topics, messages and subscriptions: what `GET /readyz` says. An embedded server does from
    /// the start, a node of a cluster while it has its Redis; neither does after the shutdown.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.broker.is_ready()
    }

    /// Waits until the server is [ready](ServerHandle::is_ready), at most so long; a shutdown ends the wait. Returns whether
    /// it is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadcast::{Config, Server};
    ///
    /// let server = Server::bind(Config { port: 0, ..Config::default() })?;
    /// assert!(server.wait_until_ready(Duration::from_secs(10)), "Redis is away, if there is one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_until_ready(&self, timeout: Duration) -> bool {
        // What cannot be added is as good as for ever.
        let deadline = Instant::now().checked_add(timeout);
        let deadline =
            deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(u32::MAX.into()));
        self.broker.wait_until_ready(deadline);
        self.is_ready()
    }

    /// The figures of the whole server.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = self.broker.counts();
        Stats {
            uptime: self.started.elapsed(),
            topics: counts.topics,
            subscribers: counts.subscriptions,
            connections: self.connections.load(Ordering::Relaxed),
            delivered: self.broker.metrics().delivered_total(),
            retained_bytes: self.broker.retained_bytes(),
            memory_bytes: self.broker.held_bytes(),
        }
    }
}

fn check(options: &TopicOptions) -> Result<(), InvalidConfig> {
    if let Some(size) = options.history_size {
        within("history_size", &size, &ranges::HISTORY_SIZE)?;
    }
    if let Some(size) = options.max_queue_size {
        within("max_queue_size", &size, &ranges::MAX_QUEUE_SIZE)?;
    }
    if let Some(ttl) = options.history_ttl {
        within("history_ttl", &ttl, &ranges::HISTORY_TTL)?;
    }
    if let Some(idle) = options.idle {
        within("idle", &idle, &ranges::TOPIC_IDLE)?;
    }
    Ok(())
}
