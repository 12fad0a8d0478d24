//! The errors of REST: status, code and text of each.

use std::fmt::Display;

use crate::broker::{ChangeError, CreateError, HistoryError, PublishError, TopicError};
use crate::protocol::{ErrorReply, NO_BLOCK_IN_CLUSTER, TOO_MANY_TOPICS, TopicName};
use crate::server::http::Problem;
use crate::server::http::target::MalformedTarget;

/// When to retry at a server that drains: by then it is down, or up again.
const RETRY_AFTER_DRAINING_SECS: u32 = 5;

/// A path that is not UTF-8 does not exist.
pub(crate) fn malformed_path(malformed: MalformedTarget) -> Problem {
    match malformed {
        MalformedTarget::Escape => malformed.into(),
        MalformedTarget::Utf8 => path_not_found(),
    }
}

pub(crate) fn malformed_query(malformed: MalformedTarget) -> Problem {
    match malformed {
        MalformedTarget::Escape => malformed.into(),
        MalformedTarget::Utf8 => invalid(malformed),
    }
}

pub(crate) fn path_not_found() -> Problem {
    Problem::new(404, "NOT_FOUND", "Path not found")
}

pub(crate) fn topic_not_found(name: &str) -> Problem {
    let detail = format!("Topic '{name}' not found");
    Problem::new(404, "TOPIC_NOT_FOUND", detail)
}

pub(crate) fn connection_not_found(id: &str) -> Problem {
    let detail = format!("Connection '{id}' not found");
    Problem::new(404, "CONNECTION_NOT_FOUND", detail)
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Problem {
    let detail = format!("This path allows {allow}");
    Problem::new(405, "METHOD_NOT_ALLOWED", detail).with_header("Allow", allow)
}

pub(crate) fn unsupported_media_type() -> Problem {
    let detail = "The body must be application/json";
    Problem::new(415, "UNSUPPORTED_MEDIA_TYPE", detail)
}

pub(crate) fn invalid(detail: impl Display) -> Problem {
    Problem::new(422, "VALIDATION_ERROR", detail.to_string())
}

pub(crate) fn shutting_down() -> Problem {
    Problem::shutting_down().with_header("Retry-After", RETRY_AFTER_DRAINING_SECS.to_string())
}

/// The engine behind the server cannot be reached.
pub(crate) fn engine_away() -> Problem {
    Problem::unavailable(ErrorReply::engine_away().message)
}

/// Why a topic cannot be used.
pub(crate) fn topic_refused(name: &TopicName, error: TopicError) -> Problem {
    match error {
        TopicError::NotFound => topic_not_found(name.as_str()),
        TopicError::LimitReached => too_many_topics(),
        TopicError::ShuttingDown => shutting_down(),
        TopicError::Unavailable => engine_away(),
    }
}

fn too_many_topics() -> Problem {
    Problem::new(429, "LIMIT_REACHED", TOO_MANY_TOPICS)
}

pub(crate) fn change_refused(name: &TopicName, error: ChangeError) -> Problem {
    match error {
        ChangeError::NotFound => topic_not_found(name.as_str()),
        ChangeError::NoBlockInCluster => invalid(NO_BLOCK_IN_CLUSTER),
        ChangeError::Unavailable => engine_away(),
    }
}

pub(crate) fn create_refused(name: &TopicName, error: &CreateError) -> Problem {
    match error {
        CreateError::Exists => {
            let detail = format!("Topic '{name}' already exists");
            Problem::new(409, "TOPIC_EXISTS", detail)
        }
        CreateError::LimitReached => too_many_topics(),
        CreateError::ShuttingDown => shutting_down(),
        CreateError::NoBlockInCluster => invalid(NO_BLOCK_IN_CLUSTER),
        CreateError::Unavailable => engine_away(),
    }
}

pub(crate) fn publish_refused(name: &TopicName, error: &PublishError) -> Problem {
    match error {
        PublishError::Unavailable => engine_away(),
        PublishError::LimitReached => too_many_topics(),
        PublishError::Deleted | PublishError::NotFound => topic_not_found(name.as_str()),
        PublishError::Full { .. } => {
            Problem::unavailable(ErrorReply::no_room(name.as_str()).message)
        }
        PublishError::ShuttingDown => shutting_down(),
    }
}

pub(crate) fn history_refused(error: &HistoryError) -> Problem {
    match error {
        HistoryError::AheadOfTopic => invalid("after_seq is ahead of the topic"),
    }
}
