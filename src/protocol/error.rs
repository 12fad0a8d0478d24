//! Error codes and the fixed texts of errors.

use std::borrow::Cow;
use std::fmt;

/// Why a topic with the policy `block` is not created on a node of a cluster.
pub(crate) const NO_BLOCK_IN_CLUSTER: &str =
    "overflow cannot be block in a cluster, where no server sees all subscribers";

/// There are as many topics as there may be.
pub(crate) const TOO_MANY_TOPICS: &str = "The server has as many topics as it may have";

/// The code of an error frame. Codes are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// Invalid JSON, an unknown type, a missing, wrong or repeated field.
    BadRequest,
    /// No such topic, or no such subscription.
    TopicNotFound,
    /// The subscriber reads too slowly: events were skipped, or the connection ends.
    SlowConsumer,
    /// No credential, or one that is not valid (any more).
    Unauthorized,
    /// The credential may not do this on this topic.
    Forbidden,
    /// The publish rate is exceeded.
    RateLimited,
    /// A configured count is exceeded.
    LimitReached,
    /// The server is shutting down and refuses new requests.
    ShuttingDown,
    /// Not possible at the moment; a retry may succeed.
    Unavailable,
    /// Unexpected; details are in the log.
    Internal,
}

impl ErrorCode {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "BAD_REQUEST",
            ErrorCode::TopicNotFound => "TOPIC_NOT_FOUND",
            ErrorCode::SlowConsumer => "SLOW_CONSUMER",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Forbidden => "FORBIDDEN",
            ErrorCode::RateLimited => "RATE_LIMITED",
            ErrorCode::LimitReached => "LIMIT_REACHED",
            ErrorCode::ShuttingDown => "SHUTTING_DOWN",
            ErrorCode::Unavailable => "UNAVAILABLE",
            ErrorCode::Internal => "INTERNAL",
        }
    }
}

/// The error that answers one request: a code for programs, a text for people. The connection stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorReply {
    pub(crate) code: ErrorCode,
    pub(crate) message: Cow<'static, str>,
}

impl ErrorReply {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> ErrorReply {
        ErrorReply {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> ErrorReply {
        ErrorReply::new(ErrorCode::BadRequest, message)
    }

    pub(crate) fn no_topic(topic: &str) -> ErrorReply {
        ErrorReply::new(
            ErrorCode::TopicNotFound,
            format!("Topic '{topic}' does not exist"),
        )
    }

    /// The topic does not exist, and cannot be created on first use.
    pub(crate) fn too_many_topics() -> ErrorReply {
        ErrorReply::new(ErrorCode::LimitReached, TOO_MANY_TOPICS)
    }

    pub(crate) fn not_subscribed(topic: &str) -> ErrorReply {
        ErrorReply::new(
            ErrorCode::TopicNotFound,
            format!("Topic '{topic}' not found or client not subscribed"),
        )
    }

    pub(crate) fn may_not_publish(topic: &str) -> ErrorReply {
        ErrorReply::new(
            ErrorCode::Forbidden,
            format!("The credential may not publish to topic '{topic}'"),
        )
    }

    pub(crate) fn may_not_subscribe(topic: &str) -> ErrorReply {
        ErrorReply::new(
            ErrorCode::Forbidden,
            format!("The credential may not subscribe to topic '{topic}'"),
        )
    }

    pub(crate) fn key_withdrawn() -> ErrorReply {
        ErrorReply::new(
            ErrorCode::Unauthorized,
            "the key of this connection was withdrawn or changed",
        )
    }

    /// The last frame of a connection whose token was not renewed in time.
    pub(crate) fn token_expired() -> ErrorReply {
        ErrorReply::new(ErrorCode::Unauthorized, "token expired")
    }

    /// A further token is not valid, or of another user. One text, so that a client cannot probe for the cause.
    pub(crate) fn token_refused() -> ErrorReply {
        ErrorReply::new(
            ErrorCode::Unauthorized,
            "a valid token of the same user is required",
        )
    }

    /// There is no token to renew.
    pub(crate) fn not_opened_with_a_token() -> ErrorReply {
        ErrorReply::bad_request("this connection was not opened with a token")
    }

    pub(crate) fn internal() -> ErrorReply {
        ErrorReply::new(
            ErrorCode::Internal,
            "the server failed to go on with this connection",
        )
    }

    /// A publish waited for a slow subscriber for as long as the `block` policy allows.
    pub(crate) fn no_room(topic: &str) -> ErrorReply {
        let text = format!("Topic '{topic}' waits for a slow subscriber");
        ErrorReply::new(ErrorCode::Unavailable, text)
    }

    /// The connection ended while a publish waited for room.
    pub(crate) fn called_off() -> ErrorReply {
        let text = "not published: the connection ended while the message waited";
        ErrorReply::new(ErrorCode::Unavailable, text)
    }

    /// The engine behind the server cannot be reached. Of a publish nobody knows whether it was taken.
    pub(crate) fn engine_away() -> ErrorReply {
        let text = "the cluster cannot be reached at the moment";
        ErrorReply::new(ErrorCode::Unavailable, text)
    }

    pub(crate) fn shutting_down() -> ErrorReply {
        ErrorReply::new(ErrorCode::ShuttingDown, "the server is shutting down")
    }
}

/// Why a message cannot be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidMessage {
    /// The id is not a UUID.
    Id,
    /// The payload is nested too deep.
    TooDeep,
}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidMessage::Id => "message.id must be a valid UUID",
            InvalidMessage::TooDeep => "message.payload must not be nested deeper than 128 levels",
        })
    }
}

impl std::error::Error for InvalidMessage {}
