//! Read access to topics: their histories, figures, subscribers and numbers.

use super::{Broker, StatsList, TopicError, TopicList};
use crate::broker::engine::{Counts, Engine, Unavailable};
use crate::broker::history::{HistoryError, HistoryPage};
use crate::broker::local_topics::SortedTopics;
use crate::broker::topic::{SubscriberList, TopicStats};
use crate::protocol::{StartAt, TopicName};

impl Broker {
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

    /// Who is subscribed to a topic: at most `limit` of them.
    pub(crate) fn list_subscribers(
        &self,
        name: &TopicName,
        limit: usize,
    ) -> Result<SubscriberList, TopicError> {
        match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(TopicError::NotFound)?;
                Ok(topic.list_subscribers(limit))
            }
            Engine::Redis(redis) => redis.list_subscribers(name, limit),
        }
    }

    pub(crate) fn subscriber_count(&self, name: &TopicName) -> Result<usize, TopicError> {
        match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(TopicError::NotFound)?;
                Ok(topic.subscriber_count())
            }
            Engine::Redis(redis) => redis.subscriber_count(name),
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

    /// Bytes of all retained events.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.topics.memory_budget.retained.bytes()
    }

    /// Memory that all retained events take. The budget limits it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.topics.memory_budget.held.bytes()
    }
}
