//! How topics come and go by themselves: declared, created by their first use, deleted because nobody uses them; and how their
//! settings change.

use std::time::Instant;

use super::{Broker, ChangeError, CreateError, TopicError, TopicOptions};
use crate::broker::Topic;
use crate::broker::engine::Engine;
use crate::broker::topic::{TopicChange, TopicStats, unless_zero};
use crate::limited_log::limited;
use crate::protocol::{StartAt, TopicName};
use crate::sync::Arc;

/// The names of the topics that exist from the start.
pub(super) fn declared(names: &[String]) -> impl Iterator<Item = TopicName> {
    names.iter().filter_map(|name| TopicName::new(name).ok())
}

impl From<&TopicOptions> for TopicChange {
    fn from(options: &TopicOptions) -> TopicChange {
        TopicChange {
            history_size: options.history_size,
            max_queue_size: options.max_queue_size.map(|size| size.max(1)),
            overflow: options.overflow,
            history_ttl: options.history_ttl.map(unless_zero),
            idle: options.idle.map(unless_zero),
        }
    }
}

impl Broker {
    /// Changes settings of a topic; `None` leaves one as it is. Returns its figures then.
    pub(crate) fn change_topic(
        &self,
        name: &TopicName,
        options: &TopicOptions,
    ) -> Result<TopicStats, ChangeError> {
        let change = TopicChange::from(options);
        match &self.engine {
            Engine::Redis(redis) => {
                redis.change(name, &change)?;
                Ok(redis.stats(name)?)
            }
            Engine::Embedded => {
                let topic = self.topic(name.as_str()).ok_or(ChangeError::NotFound)?;
                // Its figures also if it is idle already by the new settings, and was deleted since.
                let is_changed = topic.change(&change);
                is_changed
                    .then(|| topic.stats())
                    .ok_or(ChangeError::NotFound)
            }
        }
    }

    /// Deletes idle topics and frees the memory of expired events, until the server drains.
    pub(crate) fn expire_until_drained(&self) {
        while let Some(topic) = self.topics.wait_for_expiry() {
            self.expire(&topic, Instant::now());
        }
    }

    /// Lets the watchers of topics hear who came and left, until the server drains.
    pub(crate) fn send_presence_until_drained(&self) {
        while let Some(topic) = self.topics.wait_for_presence() {
            topic.end_presence_round();
        }
    }

    /// Ends [`Broker::expire_until_drained`] and [`Broker::send_presence_until_drained`].
    pub(crate) fn stop_waiting_for_topics(&self) {
        self.topics.queues.close();
    }

    /// Deletes a topic that is idle at this time; otherwise frees the memory of its expired events.
    pub(crate) fn expire(&self, topic: &Arc<Topic>, now: Instant) {
        if !self.topics.remove_if_idle(topic, now) {
            return topic.expire_history();
        }
        topic.delete();
        self.metrics().idle_topic_deleted();
        let messages = topic.message_count();
        let name = topic.name();
        limited!(self.deleted_log, info, "idle topic deleted", topic = %name, messages);
    }

    /// Creates the topics that exist from the start. In a cluster the node does that when it reaches Redis.
    pub(crate) fn declare_topics(&self, names: &[String]) -> Result<(), CreateError> {
        if matches!(self.engine, Engine::Redis(_)) {
            return Ok(());
        }
        for name in declared(names) {
            match self.create_topic(&name, &TopicOptions::default()) {
                Ok(()) | Err(CreateError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a subscribe that starts here, or a publish, creates a topic that does not exist. A resume needs a topic that
    /// it can go on with.
    pub(crate) fn creates_topics(&self, start_at: Option<&StartAt>) -> bool {
        let is_resume = matches!(start_at, Some(StartAt::After { seq: 1.., .. }));
        self.auto_create && !is_resume
    }

    /// The topic of this name; creates it if topics are created on first use.
    pub(crate) fn topic_or_new(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        loop {
            if let Some(topic) = self.topic(name) {
                return Ok(topic);
            }
            let name = TopicName::new(name).map_err(|_| TopicError::NotFound)?;
            if !self.auto_create {
                return Err(TopicError::NotFound);
            }
            match self.create_here(name, &TopicOptions::default()) {
                Ok(topic) => {
                    self.metrics().topic_auto_created();
                    return Ok(topic);
                }
                // Another thread was faster.
                Err(CreateError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
