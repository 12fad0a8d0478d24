//! Why a call of the embedding program failed, each with the text that the protocol has for it.

use std::error::Error;
use std::fmt;

use crate::config::InvalidConfig;
use crate::protocol::{ErrorReply, InvalidName, NO_BLOCK_IN_CLUSTER};

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
    /// There are as many topics as [`Config::max_topics`](crate::Config::max_topics) allows.
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

/// Why a topic was not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeTopicError {
    /// There is no topic of this name.
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// An option is outside of its range.
    InvalidOption(InvalidConfig),
    /// On a node of a cluster no topic may have the policy `block`.
    NoBlockInCluster,
    /// On a node of a cluster: Redis cannot be reached. The topic may have been changed or not.
    Unavailable,
    /// The server takes no changes any more.
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
    /// The JSON text of the payload is longer than [`Config::max_message_bytes`](crate::Config::max_message_bytes).
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
    /// Under [`OverflowPolicy::Block`](crate::OverflowPolicy::Block): a slow subscriber has left no room for
    /// [`Config::block_timeout`](crate::Config::block_timeout). It may later.
    NoRoom {
        /// The name.
        topic: String,
    },
    /// The topic does not exist, and [`Config::auto_create_topics`](crate::Config::auto_create_topics) cannot create it: there
    /// are as many as [`Config::max_topics`](crate::Config::max_topics) allows.
    TooManyTopics {
        /// How many that is.
        max_topics: usize,
    },
    /// On a node of a cluster: Redis cannot be reached. The message may have been taken or not.
    Unavailable,
    /// The server takes nothing new any more.
    ShuttingDown,
}

fn too_many_topics(max_topics: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "there are {max_topics} topics, as many as max_topics allows"
    )
}

impl fmt::Display for CreateTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateTopicError::InvalidName => InvalidName::Topic.fmt(f),
            CreateTopicError::InvalidOption(invalid) => invalid.fmt(f),
            CreateTopicError::Exists { topic } => write!(f, "topic '{topic}' already exists"),
            CreateTopicError::LimitReached { max_topics } => too_many_topics(*max_topics, f),
            CreateTopicError::NoBlockInCluster => f.write_str(NO_BLOCK_IN_CLUSTER),
            CreateTopicError::Unavailable => f.write_str(&ErrorReply::engine_away().message),
            CreateTopicError::ShuttingDown => f.write_str(&ErrorReply::shutting_down().message),
        }
    }
}

impl fmt::Display for ChangeTopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeTopicError::UnknownTopic { topic } => {
                f.write_str(&ErrorReply::no_topic(topic).message)
            }
            ChangeTopicError::InvalidOption(invalid) => invalid.fmt(f),
            ChangeTopicError::NoBlockInCluster => f.write_str(NO_BLOCK_IN_CLUSTER),
            ChangeTopicError::Unavailable => f.write_str(&ErrorReply::engine_away().message),
            ChangeTopicError::ShuttingDown => f.write_str(&ErrorReply::shutting_down().message),
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
            PublishError::TooManyTopics { max_topics } => too_many_topics(*max_topics, f),
            PublishError::Unavailable => f.write_str(&ErrorReply::engine_away().message),
            PublishError::ShuttingDown => f.write_str(&ErrorReply::shutting_down().message),
        }
    }
}

impl Error for CreateTopicError {}

impl Error for ChangeTopicError {}

impl Error for DeleteTopicError {}

impl Error for PublishError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PublishError::Payload(error) => Some(error),
            _ => None,
        }
    }
}
