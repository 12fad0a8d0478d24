//! Why topics are not created, not used or not changed.

use crate::broker::PublishError;
use crate::broker::engine::Unavailable;

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
    /// It does not exist, and there are as many topics as there may be.
    LimitReached,
    ShuttingDown,
    Unavailable,
}

/// Why the settings of a topic were not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeError {
    NotFound,
    /// The policy `block` needs one place that sees all subscribers.
    NoBlockInCluster,
    Unavailable,
}

impl From<Unavailable> for ChangeError {
    fn from(_: Unavailable) -> ChangeError {
        ChangeError::Unavailable
    }
}

impl From<TopicError> for ChangeError {
    fn from(error: TopicError) -> ChangeError {
        match error {
            TopicError::NotFound => ChangeError::NotFound,
            _ => ChangeError::Unavailable,
        }
    }
}

impl From<CreateError> for TopicError {
    fn from(error: CreateError) -> TopicError {
        match error {
            CreateError::LimitReached => TopicError::LimitReached,
            CreateError::ShuttingDown => TopicError::ShuttingDown,
            _ => TopicError::Unavailable,
        }
    }
}

impl From<TopicError> for PublishError {
    fn from(error: TopicError) -> PublishError {
        match error {
            TopicError::NotFound => PublishError::NotFound,
            TopicError::LimitReached => PublishError::LimitReached,
            TopicError::ShuttingDown => PublishError::ShuttingDown,
            TopicError::Unavailable => PublishError::Unavailable,
        }
    }
}

impl From<Unavailable> for TopicError {
    fn from(_: Unavailable) -> TopicError {
        TopicError::Unavailable
    }
}
