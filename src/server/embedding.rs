//! Topics, publishing and figures for the program that embeds the server, without a socket.
//!
//! Calls the same functions of the broker as the REST handlers. Rights and publish rates belong to connections and do not apply.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::to_raw_value;
use uuid::Uuid;

use crate::broker::{self, Broker, CreateError, Place, ReadBatch, TopicOptions, TopicStats};
use crate::config::{Config, InvalidConfig, OverflowPolicy, ranges, within};
use crate::protocol::{
    ErrorReply, InvalidName, Message, NO_BLOCK_IN_CLUSTER, Timestamp, TopicName,
};
use crate::sync::{Arc, AtomicUsize, Ordering};

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

/// The receipt for a message: it is in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number it got in its topic; the first is 1.
    pub seq: u64,
    /// Its id: a new UUID.
    pub id: String,
    /// The time of the event: RFC 3339, UTC, microseconds.
    pub ts: String,
}

/// A topic at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Which life of the topic this is: opaque, and another one after it was deleted and created anew.
    pub epoch: String,
    /// The number of the newest event, which is how many were published; 0 when there is none.
    pub seq: u64,
    /// Its subscriptions.
    pub subscribers: usize,
    /// Events skipped for slow subscribers, counted once for each of them.
    pub dropped: u64,
    /// Events kept for replay.
    pub history_count: usize,
    /// Bytes of the events kept for replay.
    pub history_bytes: usize,
    /// The number of the oldest event kept for replay, if there is one.
    pub history_first_seq: Option<u64>,
    /// What happens to a subscription that would hold more than its queue.
    pub overflow: OverflowPolicy,
    /// Events that may be kept for replay.
    pub max_history_size: usize,
    /// Bytes that may be kept for replay.
    pub max_history_bytes: usize,
    /// Undelivered events a subscription may hold.
    pub max_queue_size: usize,
}

/// The whole server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Since the start.
    pub uptime: Duration,
    /// Topics.
    pub topics: usize,
    /// Subscriptions, all topics together.
    pub subscribers: usize,
    /// Open connections, HTTP too.
    pub connections: usize,
    /// Events given to subscribers since the start, once for each subscription.
    pub delivered: u64,
    /// Bytes of retained events, all topics together.
    pub retained_bytes: usize,
    /// Memory that retained events take, in bytes: what [`Config::max_memory_bytes`] bounds.
    pub memory_bytes: usize,
}

/// Why a topic was not created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateTopicError {
    /// The name breaks the rule, which is in the text.
    InvalidName,
    /// An option is outside of its range.
    InvalidOption(InvalidConfig),
    /// There is a topic of this name.
    Exists {
        /// The name.
        topic: String,
    },
    /// There are as many topics as [`Config::max_topics`] allows.
    LimitReached {
        /// How many that is.
        max_topics: usize,
    },
    /// On a node of a cluster no topic may have the policy `block`.
    NoBlockInCluster,
    /// On a node of a cluster: Redis cannot be reached. The topic may have been created or not.
    Unavailable,
    /// The server takes nothing new any more.
    ShuttingDown,
}

/// Why a topic was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeleteTopicError {
    /// There is no topic of this name.
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// On a node of a cluster: Redis cannot be reached. The topic may have been deleted or not.
    Unavailable,
    /// The server takes no changes any more.
    ShuttingDown,
}

/// Why a message was not published.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishError {
    /// The payload cannot be written as JSON.
    Payload(serde_json::Error),
    /// The payload is nested deeper than 128 levels.
    TooDeep,
    /// The JSON text of the payload is longer than [`Config::max_message_bytes`].
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max_bytes: usize,
    },
    /// There is no topic of this name, or it was deleted while the message waited.
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// Under [`OverflowPolicy::Block`]: a slow subscriber has left no room for [`Config::block_timeout`]. It may later.
    NoRoom {
        /// The name.
        topic: String,
    },
    /// On a node of a cluster: Redis cannot be reached. The message may have been taken or not.
    Unavailable,
    /// The server takes nothing new any more.
    ShuttingDown,
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

    /// Publishes a message with this payload and a new id. When it returns, the message is in the topic and has been offered
    /// to every subscriber, unless another thread that publishes to the topic at this moment does that.
    ///
    /// A [`RawValue`](serde_json::value::RawValue) as the payload is passed on byte for byte.
    ///
    /// Waits as a publish over REST does: for subscribers only under [`OverflowPolicy::Block`], and then at most
    /// [`Config::block_timeout`]; under every policy for a moment while other threads have published faster than events can
    /// be sent. A shutdown ends the wait.
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
            ts: String::from_utf8_lossy(published.ts.as_bytes()).into_owned(),
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
                Err(broker::PublishError::Unavailable) => return Err(PublishError::Unavailable),
                Err(broker::PublishError::ShuttingDown) => return Err(PublishError::ShuttingDown),
            }
        }
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
    Ok(())
}

impl TopicInfo {
    fn of(name: &TopicName, stats: &TopicStats) -> TopicInfo {
        TopicInfo {
            name: name.to_string(),
            epoch: stats.epoch.to_string(),
            seq: stats.seq,
            subscribers: stats.subscribers,
            dropped: stats.dropped,
            history_count: stats.history_count,
            history_bytes: stats.history_bytes,
            history_first_seq: stats.history_first_seq,
            overflow: stats.overflow,
            max_history_size: stats.history_size,
            max_history_bytes: stats.max_history_bytes,
            max_queue_size: stats.max_queue_size,
        }
    }
}

impl fmt::Display for CreateTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateTopicError::InvalidName => InvalidName::Topic.fmt(f),
            CreateTopicError::InvalidOption(invalid) => invalid.fmt(f),
            CreateTopicError::Exists { topic } => write!(f, "topic '{topic}' already exists"),
            CreateTopicError::LimitReached { max_topics } => {
                write!(
                    f,
                    "there are {max_topics} topics, as many as max_topics allows"
                )
            }
            CreateTopicError::NoBlockInCluster => f.write_str(NO_BLOCK_IN_CLUSTER),
            CreateTopicError::Unavailable => f.write_str(&ErrorReply::engine_away().message),
            CreateTopicError::ShuttingDown => f.write_str(&ErrorReply::shutting_down().message),
        }
    }
}

impl fmt::Display for DeleteTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeleteTopicError::UnknownTopic { topic } => {
                f.write_str(&ErrorReply::no_topic(topic).message)
            }
            DeleteTopicError::Unavailable => f.write_str(&ErrorReply::engine_away().message),
            DeleteTopicError::ShuttingDown => f.write_str(&ErrorReply::shutting_down().message),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Payload(error) => {
                write!(f, "the payload cannot be written as JSON: {error}")
            }
            PublishError::TooDeep => f.write_str("the payload is nested deeper than 128 levels"),
            PublishError::TooLarge { bytes, max_bytes } => {
                write!(
                    f,
                    "the payload has {bytes} bytes; max_message_bytes allows {max_bytes}"
                )
            }
            PublishError::UnknownTopic { topic } => {
                f.write_str(&ErrorReply::no_topic(topic).message)
            }
            PublishError::NoRoom { topic } => f.write_str(&ErrorReply::no_room(topic).message),
            PublishError::Unavailable => f.write_str(&ErrorReply::engine_away().message),
            PublishError::ShuttingDown => f.write_str(&ErrorReply::shutting_down().message),
        }
    }
}

impl Error for CreateTopicError {}

impl Error for DeleteTopicError {}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PublishError::Payload(error) => Some(error),
            _ => None,
        }
    }
}
