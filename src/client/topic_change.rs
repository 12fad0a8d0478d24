//! What happens to the topics of a pattern.

use std::fmt;

use super::Position;

/// A change of the topics that a subscription to a pattern has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicChange {
    /// A topic that this subscription had no position of is part of it now. Its deliveries follow.
    Joined {
        /// The topic.
        topic: String,
        /// Its next event is the one after this position, or a newer one if a replay of [`Last`](super::PatternStart::Last)
        /// found fewer events.
        position: Position,
    },
    /// A topic was deleted. It joins again if it is created again.
    Deleted {
        /// The topic.
        topic: String,
    },
    /// The server has subscribed this connection to as many topics as it allows: these are not part of the subscription, and do
    /// not become part of it later.
    NotJoined {
        /// The topic, if it is one that was just created.
        topic: Option<String>,
        /// How many.
        count: u64,
        /// The text of the server.
        reason: String,
    },
}

impl TopicChange {
    /// The topic; `None` for several.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self {
            TopicChange::Joined { topic, .. } | TopicChange::Deleted { topic } => Some(topic),
            TopicChange::NotJoined { topic, .. } => topic.as_deref(),
        }
    }
}

impl fmt::Display for TopicChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopicChange::Joined { topic, .. } => write!(f, "'{topic}' has joined"),
            TopicChange::Deleted { topic } => write!(f, "'{topic}' was deleted"),
            TopicChange::NotJoined {
                topic: Some(topic),
                reason,
                ..
            } => write!(f, "'{topic}' has not joined: {reason}"),
            TopicChange::NotJoined { count, reason, .. } => {
                write!(f, "{count} topics have not joined: {reason}")
            }
        }
    }
}
