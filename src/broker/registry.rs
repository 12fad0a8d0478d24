//! The broker: creates, finds and deletes topics, and publishes to them. Whether a topic lives in this process or in
//! a cluster is decided here, by the [`Engine`].

mod errors;
mod joining;
mod lifetimes;
mod lists;
mod matching;
mod reading;

use std::io;
use std::time::{Duration, Instant};

use super::engine::redis::{Defaults, NodeOptions, Redis, TlsFiles};
use super::engine::{Engine, Unavailable};
use super::local_topics::{LocalTopics, NotAdded};
use super::log::LogBounds;
use super::patterns::Patterns;
use super::topic::{
    Content, Lifetimes, PublishError, Published, TopicChange, TopicSettings, unless_zero,
};
use super::{ReadBatch, Topic};
use crate::config::{Config, OverflowPolicy};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::protocol::{Message, Timestamp, TopicName};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};
pub(crate) use errors::{ChangeError, CreateError, TopicError};
pub(crate) use joining::{Caller, Joined};
use lifetimes::declared;
pub(crate) use lists::{StatsList, TopicList};

/// All topics of a server.
pub(crate) struct Broker {
    topics: Arc<LocalTopics>,
    patterns: Arc<Patterns>,
    engine: Engine,
    max_topics: usize,
    defaults: TopicSettings,
    /// Whether a subscribe or a publish creates a topic that does not exist.
    auto_create: bool,
    created_log: LimitedLog,
    deleted_log: LimitedLog,
}

/// Settings of a topic. `None` means the server's setting for a new topic, and no change for one that exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// Events kept for replay; 0 keeps none. The range is that of [`Config::history_size`].
    pub history_size: Option<usize>,
    /// Undelivered events a subscription may hold. The range is that of [`Config::max_queue_size`].
    pub max_queue_size: Option<usize>,
    /// What happens to a subscription that would hold more than its queue.
    pub overflow: Option<OverflowPolicy>,
    /// How old an event of the history may become; 0 is any age. The range is that of [`Config::history_ttl`].
    pub history_ttl: Option<Duration>,
    /// How long the topic may be unused before it is deleted; 0 is for ever. The range is that of [`Config::topic_idle`].
    pub idle: Option<Duration>,
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
            defaults: Defaults {
                settings: broker.defaults,
                max_topics: broker.max_topics,
            },
            auto_create: broker.auto_create,
            declared: declared(&config.topics).collect(),
        };
        let engine = Engine::Redis(Redis::start(options, &broker.topics, &broker.patterns)?);
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
            idempotency_window: config.idempotency_window,
            lifetimes: Lifetimes {
                history_ttl: unless_zero(config.history_ttl),
                idle: unless_zero(config.topic_idle),
            },
        };
        Broker {
            engine,
            topics,
            patterns: Patterns::new(),
            max_topics: config.max_topics,
            defaults,
            auto_create: config.auto_create_topics,
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
        let added = self.patterns.appear(|join| {
            let max = self.max_topics;
            self.topics.add(name, settings, content, max, join)
        });
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
        let Some(topic) = self.topic(name.as_str()) else {
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
        self.topics.get(name).or_else(|| self.appearing_topic(name))
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
            Engine::Embedded => loop {
                let topic = self.topic_or_new(name)?;
                match topic.try_publish(message, arrived, ticket) {
                    // It is created again.
                    Err(PublishError::Deleted) if self.auto_create => {}
                    published => {
                        let published = published?;
                        topic.fan_out(batch);
                        break published;
                    }
                }
            },
            Engine::Redis(_) if self.is_draining() => return Err(PublishError::ShuttingDown),
            Engine::Redis(redis) => redis.publish_one(name, message, arrived, batch)?,
        };
        let latency = &self.metrics().publish_latency;
        latency.observe_since(arrived.micros());
        Ok(published)
    }

    /// The metrics in which the broker counts.
    pub(crate) fn metrics(&self) -> &SharedMetrics {
        self.topics.metrics()
    }

    /// Refuses new topics, publishes and subscribes. No topic gets another event after this returns.
    pub(crate) fn drain(&self) {
        self.topics.drain();
        if let Engine::Redis(redis) = &self.engine {
            redis.wake_waiting();
        }
    }

    /// Whether new topics, publishes and subscribes are taken.
    pub(crate) fn is_ready(&self) -> bool {
        let is_up = match &self.engine {
            Engine::Embedded => true,
            Engine::Redis(redis) => redis.is_up(),
        };
        is_up && !self.is_draining()
    }

    /// Waits until it is ready or drains, or until this moment.
    pub(crate) fn wait_until_ready(&self, deadline: Instant) {
        if let Engine::Redis(redis) = &self.engine {
            redis.wait_until_up(deadline, || self.is_draining());
        }
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
        TopicChange::from(options).applied_to(&self.defaults)
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
    fn a_deleted_topic_leaves_the_expiry_queue_also_if_it_has_no_lifetimes_any_more() {
        let idle = |secs| TopicOptions {
            idle: Some(Duration::from_secs(secs)),
            ..TopicOptions::default()
        };
        let broker = Broker::new(&Config::default());
        let name = TopicName::new("t").unwrap();
        broker.create_topic(&name, &idle(3_600)).unwrap();
        broker.change_topic(&name, &idle(0)).unwrap();
        assert_eq!(broker.topics.queues.expiry.len(), 1, "it may be too early");
        broker.delete_topic(&name).unwrap();
        assert_eq!(broker.topics.queues.expiry.len(), 0);
    }

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
