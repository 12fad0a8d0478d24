//! The broker: creates, finds, lists and deletes topics, and publishes to them. Whether a topic lives in this process or in
//! a cluster is decided here, by the [`Engine`].

use std::io;

use super::engine::redis::{NodeOptions, Redis, TlsFiles};
use super::engine::{Counts, Engine, Unavailable};
use super::history::{HistoryError, HistoryPage};
use super::local_topics::{LocalTopics, NotAdded, SortedTopics};
use super::log::LogBounds;
use super::topic::{Content, PublishError, Published, TopicSettings, TopicStats};
use super::{ReadBatch, Topic};
use crate::config::{Config, OverflowPolicy};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::protocol::{ClientId, Message, StartAt, Timestamp, TopicName};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// All topics of a server.
pub(crate) struct Broker {
    topics: Arc<LocalTopics>,
    engine: Engine,
    max_topics: usize,
    defaults: TopicSettings,
    created_log: LimitedLog,
    deleted_log: LimitedLog,
}

/// Settings of a new topic; `None` means the server's setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// Events kept for replay; 0 keeps none. The range is that of [`Config::history_size`].
    pub history_size: Option<usize>,
    /// Undelivered events a subscription may hold. The range is that of [`Config::max_queue_size`].
    pub max_queue_size: Option<usize>,
    /// What happens to a subscription that would hold more than its queue.
    pub overflow: Option<OverflowPolicy>,
}

/// Why a topic was not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateError {
    Exists,
    LimitReached,
    ShuttingDown,
    /// The policy `block` needs one place that sees all subscribers.
    NoBlockInCluster,
    Unavailable,
}

/// Why a topic cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicError {
    NotFound,
    Unavailable,
}

impl From<Unavailable> for TopicError {
    fn from(_: Unavailable) -> TopicError {
        TopicError::Unavailable
    }
}

/// A topic that is ready for a subscription.
pub(crate) struct Joined {
    pub(crate) topic: Arc<Topic>,
    /// The order of the subscription among those of its client id in the cluster; 0 in an embedded server.
    pub(crate) order: u64,
}

/// The names of all topics, sorted, and their numbers of subscribers.
pub(crate) enum TopicList {
    Local(SortedTopics),
    Shared(Vec<(TopicName, usize)>),
}

impl TopicList {
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (&TopicName, usize)> + '_> {
        match self {
            TopicList::Local(topics) => Box::new(
                topics
                    .iter()
                    .map(|topic| (topic.name(), topic.subscriber_count())),
            ),
            TopicList::Shared(topics) => {
                Box::new(topics.iter().map(|(name, count)| (name, *count)))
            }
        }
    }
}

/// The figures of all topics, by name.
pub(crate) enum StatsList {
    Local(SortedTopics),
    Shared(Vec<(TopicName, TopicStats)>),
}

impl StatsList {
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (&TopicName, TopicStats)> + '_> {
        match self {
            StatsList::Local(topics) => {
                Box::new(topics.iter().map(|topic| (topic.name(), topic.stats())))
            }
            StatsList::Shared(topics) => {
                Box::new(topics.iter().map(|(name, stats)| (name, stats.clone())))
            }
        }
    }
}

impl Broker {
    #[cfg(test)]
    pub(crate) fn new(config: &Config) -> Broker {
        Broker::counted(config, std::sync::Arc::default())
    }

    /// A broker without topics that counts in `metrics`. Its topics live in this process.
    pub(crate) fn counted(config: &Config, metrics: SharedMetrics) -> Broker {
        Broker::with_engine(config, metrics, Engine::Embedded)
    }

    /// A node of a cluster that counts in `metrics`.
    pub(crate) fn in_cluster(
        config: &Config,
        metrics: SharedMetrics,
        address: String,
        connections: Arc<AtomicUsize>,
    ) -> io::Result<Broker> {
        let broker = Broker::counted(config, metrics);
        let options = NodeOptions {
            urls: &config.redis_url,
            prefix: &config.redis_prefix,
            tls_files: TlsFiles {
                ca: config.redis_ca_file.clone(),
                certificate: config.redis_cert_file.clone(),
                key: config.redis_key_file.clone(),
            },
            address,
            connections,
        };
        let engine = Engine::Redis(Redis::start(options, &broker.topics)?);
        Ok(Broker { engine, ..broker })
    }

    fn with_engine(config: &Config, metrics: SharedMetrics, engine: Engine) -> Broker {
        let topics = Arc::new(LocalTopics::new(config.max_memory_bytes, metrics));
        let defaults = TopicSettings {
            bounds: LogBounds {
                history_size: config.history_size,
                max_queue_size: config.max_queue_size.max(1),
                bytes: config.history_bytes,
            },
            overflow: config.overflow,
            block_timeout: config.block_timeout,
        };
        Broker {
            engine,
            topics,
            max_topics: config.max_topics,
            defaults,
            created_log: LimitedLog::new("created topics"),
            deleted_log: LimitedLog::new("deleted topics"),
        }
    }

    #[cfg(all(test, shuttle))]
    pub(super) fn held_topics(&self) -> &LocalTopics {
        &self.topics
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn create_topic(
        &self,
        name: &TopicName,
        options: &TopicOptions,
    ) -> Result<(), CreateError> {
        match &self.engine {
            Engine::Embedded => self.create_here(name.clone(), options).map(drop),
            Engine::Redis(_) if self.is_draining() => Err(CreateError::ShuttingDown),
            Engine::Redis(redis) => {
                redis.create(name, self.settings(options), self.max_topics)?;
                limited!(self.created_log, info, "topic created", topic = %name);
                Ok(())
            }
        }
    }

    /// Creates a topic that lives in this process.
    pub(crate) fn create_here(
        &self,
        name: TopicName,
        options: &TopicOptions,
    ) -> Result<Arc<Topic>, CreateError> {
        if self.is_draining() {
            return Err(CreateError::ShuttingDown);
        }
        let settings = self.settings(options);
        let content = Content::empty(&settings);
        let added = self.topics.add(name, settings, content, self.max_topics);
        let topic = added.map_err(|error| match error {
            NotAdded::Exists => CreateError::Exists,
            NotAdded::LimitReached => CreateError::LimitReached,
        })?;
        limited!(self.created_log, info, "topic created", topic = %topic.name(), epoch = %topic.epoch());
        Ok(topic)
    }

    /// Deletes a topic. Its subscribers read to its end and get a notice; then their subscriptions end. Returns `false` if
    /// there is no such topic.
    pub(crate) fn delete_topic(&self, name: &TopicName) -> Result<bool, Unavailable> {
        match &self.engine {
            Engine::Embedded => Ok(self.delete_here(name)),
            Engine::Redis(redis) => {
                let deleted = redis.delete(name)?;
                if deleted {
                    limited!(self.deleted_log, info, "topic deleted in the cluster", topic = %name);
                }
                Ok(deleted)
            }
        }
    }

    fn delete_here(&self, name: &TopicName) -> bool {
        let Some(topic) = self.topics.get(name.as_str()) else {
            return false;
        };
        if !self.topics.remove(&topic) {
            return false;
        }
        let subscribers = topic.delete();
        let messages = topic.message_count();
        limited!(self.deleted_log, info, "topic deleted", topic = %name, messages, subscribers);
        true
    }

    /// A topic that this server holds. On a node of a cluster, other topics may exist.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name)
    }

    /// Prepares a topic for a subscription of this client id over this connection.
    pub(crate) fn join(
        &self,
        name: &TopicName,
        client_id: &ClientId,
        connection: u64,
    ) -> Result<Joined, TopicError> {
        match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(TopicError::NotFound)?;
                Ok(Joined { topic, order: 0 })
            }
            Engine::Redis(redis) => redis.join(name, client_id, connection),
        }
    }

    /// Takes back a join whose subscription was not opened.
    pub(crate) fn leave(&self, name: &TopicName, client_id: &ClientId, order: u64) {
        if let Engine::Redis(redis) = &self.engine {
            redis.leave(name, client_id, order);
        }
    }

    /// Whether another node took over the client id of a subscription before it was open here.
    pub(crate) fn was_replaced(&self, name: &TopicName, client_id: &ClientId, order: u64) -> bool {
        match &self.engine {
            Engine::Embedded => false,
            Engine::Redis(redis) => redis.was_replaced(name, client_id, order),
        }
    }

    /// Publishes one message and fans it out. Never waits for room: see [`Topic::join_line`].
    pub(crate) fn publish(
        &self,
        name: &str,
        message: &Message<'_>,
        arrived: Timestamp,
        ticket: Option<u64>,
        batch: &mut ReadBatch,
    ) -> Result<Published, PublishError> {
        let published = match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name).ok_or(PublishError::NotFound)?;
                let published = topic.try_publish(message, arrived, ticket)?;
                topic.fan_out(batch);
                published
            }
            Engine::Redis(_) if self.is_draining() => return Err(PublishError::ShuttingDown),
            Engine::Redis(redis) => redis.publish_one(name, message, arrived, batch)?,
        };
        let latency = &self.metrics().publish_latency;
        latency.observe_since(arrived.micros());
        Ok(published)
    }

    /// Calls `look` with the requested part of a topic's history. The topic may be locked meanwhile, so `look` may only copy.
    pub(crate) fn read_history<R>(
        &self,
        name: &TopicName,
        start_at: &StartAt,
        look: impl FnOnce(&HistoryPage<'_>) -> R,
    ) -> Result<Result<R, HistoryError>, TopicError> {
        match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(TopicError::NotFound)?;
                Ok(topic.look_at_history(start_at, look))
            }
            Engine::Redis(redis) => redis.read_history(name, start_at, look),
        }
    }

    pub(crate) fn topic_stats(&self, name: &TopicName) -> Result<TopicStats, TopicError> {
        match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(TopicError::NotFound)?;
                Ok(topic.stats())
            }
            Engine::Redis(redis) => redis.stats(name),
        }
    }

    /// The figures of all topics, by name.
    pub(crate) fn all_stats(&self) -> Result<StatsList, Unavailable> {
        match &self.engine {
            Engine::Embedded => Ok(StatsList::Local(self.local_topics())),
            Engine::Redis(redis) => redis.all_stats().map(StatsList::Shared),
        }
    }

    pub(crate) fn list_topics(&self) -> Result<TopicList, Unavailable> {
        match &self.engine {
            Engine::Embedded => Ok(TopicList::Local(self.local_topics())),
            Engine::Redis(redis) => redis.list().map(TopicList::Shared),
        }
    }

    /// The topics that this server holds, in the order of names.
    pub(crate) fn local_topics(&self) -> SortedTopics {
        self.topics.sorted()
    }

    /// How many topics and subscriptions there are; in a cluster, as last known.
    pub(crate) fn counts(&self) -> Counts {
        match &self.engine {
            Engine::Embedded => Counts {
                topics: self.topics.len(),
                subscriptions: self.local_subscriptions(),
            },
            Engine::Redis(redis) => redis.counts(),
        }
    }

    pub(crate) fn topic_count(&self) -> usize {
        self.counts().topics
    }

    #[cfg(test)]
    pub(crate) fn subscription_count(&self) -> usize {
        self.counts().subscriptions
    }

    /// How many subscriptions this server has.
    pub(crate) fn local_subscriptions(&self) -> usize {
        self.topics.subscriptions()
    }

    /// The metrics in which the broker counts.
    pub(crate) fn metrics(&self) -> &SharedMetrics {
        self.topics.metrics()
    }

    /// Bytes of all retained events.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.topics.memory_budget.retained.bytes()
    }

    /// Memory that all retained events take. The budget limits it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.topics.memory_budget.held.bytes()
    }

    /// Refuses new topics, publishes and subscribes. No topic gets another event after this returns.
    pub(crate) fn drain(&self) {
        self.topics.drain();
    }

    /// Leaves the cluster. Called when all subscriptions have ended.
    pub(crate) fn stop(&self) {
        if let Engine::Redis(redis) = &self.engine {
            redis.stop();
        }
    }

    /// The flag behind [`Broker::is_draining`], for callers that check it often.
    pub(crate) fn draining(&self) -> Arc<AtomicBool> {
        Arc::clone(self.topics.draining())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.topics.draining().load(Ordering::SeqCst)
    }

    pub(super) fn settings(&self, options: &TopicOptions) -> TopicSettings {
        let mut settings = self.defaults;
        let bounds = &mut settings.bounds;
        bounds.history_size = options.history_size.unwrap_or(bounds.history_size);
        bounds.max_queue_size = options
            .max_queue_size
            .unwrap_or(bounds.max_queue_size)
            .max(1);
        settings.overflow = options.overflow.unwrap_or(settings.overflow);
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{PublishError, ReadBatch};
    use crate::protocol::{Message, Timestamp};
    use serde_json::value::RawValue;
    use std::thread;

    #[test]
    fn nothing_is_published_after_drain_returns() {
        let pad = "x".repeat(64 << 10);
        let payload: Box<RawValue> = serde_json::from_str(&format!("\"{pad}\"")).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let late = (0..50).filter(|_| {
            let broker = Broker::new(&Config::default());
            let name = TopicName::new("t").unwrap();
            let topic = broker.create_here(name, &TopicOptions::default()).unwrap();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut published = topic.try_publish(&message, Timestamp::now(), None);
                        while !matches!(published, Err(PublishError::ShuttingDown)) {
                            topic.fan_out(&mut ReadBatch::default());
                            published = topic.try_publish(&message, Timestamp::now(), None);
                        }
                    });
                }
                while topic.head() < 20 {
                    thread::yield_now();
                }
                broker.drain();
                topic.head()
            }) < topic.head()
        });
        assert_eq!(late.count(), 0);
    }
}
