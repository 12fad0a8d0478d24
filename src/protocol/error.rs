//! Error codes and the fixed texts of errors.

use std::borrow::Cow;
use std::fmt;

/// The code of an error frame: stable, for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// Not JSON, unknown type, a missing, wrong or repeated field.
    BadRequest,
    /// No such topic, or no such subscription.
    TopicNotFound,
    /// The subscriber reads too slowly: events were skipped, or the connection ends.
    SlowConsumer,
    /// No valid credential, or not any more.
    Unauthorized,
    /// The credential may not do this on this topic.
    Forbidden,
    /// Over the configured publish rate.
    RateLimited,
    /// Over a configured count.
    LimitReached,
    /// The server is going down and takes nothing new.
    ShuttingDown,
    /// Not possible just now; trying again may help.
    Unavailable,
    /// Unexpected; the log says more.
    Internal,
}

impl ErrorCode {
    /// The code as it stands on the wire.
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

/// Why one request is refused: a code for machines, a text for people. The connection stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ErrorCode,
    pub(crate) message: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(ErrorCode::BadRequest, message)
    }

    pub(crate) fn no_topic(topic: &str) -> Fault {
        Fault::new(
            ErrorCode::TopicNotFound,
            format!("Topic '{topic}' does not exist"),
        )
    }

    pub(crate) fn not_subscribed(topic: &str) -> Fault {
        Fault::new(
            ErrorCode::TopicNotFound,
            format!("Topic '{topic}' not found or client not subscribed"),
        )
    }

    pub(crate) fn may_not_publish(topic: &str) -> Fault {
        Fault::new(
            ErrorCode::Forbidden,
            format!("The key may not publish to topic '{topic}'"),
        )
    }

    pub(crate) fn may_not_subscribe(topic: &str) -> Fault {
        Fault::new(
            ErrorCode::Forbidden,
            format!("The key may not subscribe to topic '{topic}'"),
        )
    }

    pub(crate) fn key_withdrawn() -> Fault {
        Fault::new(
            ErrorCode::Unauthorized,
            "the key of this connection was withdrawn or changed",
        )
    }

    pub(crate) fn internal() -> Fault {
        Fault::new(
            ErrorCode::Internal,
            "the server failed to go on with this connection",
        )
    }

    /// A publish has waited for a slow subscriber as long as the `block` policy lets it.
    pub(crate) fn no_room(topic: &str) -> Fault {
        let text = format!("Topic '{topic}' waits for a slow subscriber");
        Fault::new(ErrorCode::Unavailable, text)
    }

    /// A publish that waited for room was called off, because its connection ends.
    pub(crate) fn called_off() -> Fault {
        let text = "not published: the connection ended while the message waited";
        Fault::new(ErrorCode::Unavailable, text)
    }

    pub(crate) fn shutting_down() -> Fault {
        Fault::new(ErrorCode::ShuttingDown, "the server is shutting down")
    }
}

/// A message that cannot be published; the text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidMessage {
    /// The id is no UUID.
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
