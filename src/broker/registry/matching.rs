//! Subscriptions to all topics that match a pattern.

use super::Broker;
use crate::broker::engine::{Engine, Unavailable};
use crate::broker::patterns::{BegunPattern, PatternSubscription, Patterns, matching_topics};
use crate::broker::{SubscriberSink, Topic};
use crate::protocol::{ClientId, StartAt, TopicName, TopicPattern};
use crate::sync::{Arc, Weak};

/// A pattern that is about to begin.
pub(crate) struct PreparedPattern {
    subscription: Arc<PatternSubscription>,
    /// On a node of a cluster: the topics that match.
    found: Option<Vec<TopicName>>,
}

impl Broker {
    pub(crate) fn patterns(&self) -> &Arc<Patterns> {
        &self.patterns
    }

    /// Prepares a pattern of this client id over this connection. It must begin then.
    pub(crate) fn prepare_pattern(
        &self,
        pattern: &TopicPattern,
        client_id: &ClientId,
        sink: Weak<dyn SubscriberSink>,
        connection: u64,
        watches: bool,
    ) -> Result<PreparedPattern, Unavailable> {
        let subscription = self.patterns.prepare(
            pattern.clone(),
            client_id.clone(),
            sink,
            connection,
            watches,
        );
        let found = match &self.engine {
            Engine::Embedded => None,
            Engine::Redis(redis) => {
                let found = redis.matching_topics(pattern);
                Some(found.inspect_err(|_| self.patterns.call_off(&subscription))?)
            }
        };
        Ok(PreparedPattern {
            subscription,
            found,
        })
    }

    /// See [`Patterns::begin`].
    pub(crate) fn begin_pattern(
        &self,
        prepared: PreparedPattern,
        list: impl FnOnce(&Arc<PatternSubscription>),
    ) -> BegunPattern {
        let PreparedPattern {
            subscription,
            found,
        } = prepared;
        let pattern = subscription.pattern().clone();
        let find = || found.unwrap_or_else(|| matching_topics(&self.topics.sorted(), &pattern));
        let begun = self.patterns.begin(subscription, find, list);
        if let Engine::Redis(redis) = &self.engine {
            redis.announce_pattern(&begun.subscription);
        }
        begun
    }

    /// A topic that matches cannot join now; it does as soon as the cluster can be reached.
    pub(crate) fn join_later(
        &self,
        pattern: &Arc<PatternSubscription>,
        topic: &TopicName,
        start_at: StartAt,
    ) {
        if let Engine::Redis(redis) = &self.engine {
            redis.join_later(pattern, topic, start_at);
        }
    }

    /// Makes sure that this server knows who is subscribed to a topic, which is about to be watched.
    pub(crate) fn follow_presence(&self, topic: &Arc<Topic>) -> Result<(), Unavailable> {
        match &self.engine {
            Engine::Embedded => Ok(()),
            Engine::Redis(redis) => redis.follow_presence(topic),
        }
    }

    /// A topic that is just being created. A client may know it from its pattern before it can be found.
    pub(super) fn appearing_topic(&self, name: &str) -> Option<Arc<Topic>> {
        if self.patterns.count() == 0 || !matches!(self.engine, Engine::Embedded) {
            return None;
        }
        self.patterns.wait_for_appearing();
        self.topics.get(name)
    }
}
