//! Prepares topics for subscriptions: finds or creates a topic, and in a cluster registers the subscription first.

use super::{Broker, TopicError};
use crate::broker::Topic;
use crate::broker::engine::Engine;
use crate::protocol::{ClientId, StartAt, TopicName, UserName};
use crate::sync::Arc;

/// A topic that is ready for a subscription.
pub(crate) struct Joined {
    pub(crate) topic: Arc<Topic>,
    /// The order of the subscription among those of its client id in the cluster; 0 in an embedded server.
    pub(crate) order: u64,
}

/// Who subscribes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The number of the client's connection.
    pub(crate) connection: u64,
    /// The user of its token, if that names one.
    pub(crate) user: Option<&'a UserName>,
}

impl Broker {
    /// Prepares a topic for a subscription of this client id.
    pub(crate) fn join(
        &self,
        name: &TopicName,
        client_id: &ClientId,
        caller: Caller<'_>,
        start_at: &StartAt,
    ) -> Result<Joined, TopicError> {
        match self.join_existing(name, client_id, caller) {
            Err(TopicError::NotFound) if self.creates_topics(Some(start_at)) => {
                match &self.engine {
                    Engine::Embedded => {
                        let topic = self.topic_or_new(name.as_str())?;
                        Ok(Joined { topic, order: 0 })
                    }
                    Engine::Redis(redis) => {
                        redis.create_for_use(name)?;
                        redis.join(name, client_id, caller)
                    }
                }
            }
            joined => joined,
        }
    }

    /// Like [`Broker::join`], but creates no topic.
    pub(crate) fn join_existing(
        &self,
        name: &TopicName,
        client_id: &ClientId,
        caller: Caller<'_>,
    ) -> Result<Joined, TopicError> {
        match &self.engine {
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(TopicError::NotFound)?;
                Ok(Joined { topic, order: 0 })
            }
            Engine::Redis(redis) => redis.join(name, client_id, caller),
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
}
