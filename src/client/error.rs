//! Everything that can go wrong for a user of the client, with what to do about it. No variant ever holds a key.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

/// What a call of the client failed with; the text says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An argument cannot be right: a URL, a key, a name. Nothing was sent.
    Invalid {
        /// Which argument, and what is allowed.
        reason: String,
    },
    /// A payload could not be written as JSON, or is not what the program takes it for.
    Payload(serde_json::Error),
    /// No connection to the server came about.
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server said no, to a handshake, a REST request or a message.
    Refused {
        /// The code for programs, such as `TOPIC_NOT_FOUND`.
        code: String,
        /// The server's sentence for people.
        message: String,
        /// The HTTP status, if it was said over HTTP.
        status: Option<u16>,
    },
    /// The answer did not come in time.
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection ended, and the [`Reconnect`](super::Reconnect) policy did not bring back another.
    Lost {
        /// The WebSocket close code; `None` if there was no close frame.
        close_code: Option<u16>,
        /// What is known about the reason.
        reason: String,
    },
    /// The message was sent, but its ack never came: it may or may not be in the topic, or may get there yet, even
    /// after messages that were published later.
    Unconfirmed {
        /// The id of the message; a copy sent with the same id can be recognised by subscribers.
        id: String,
        /// Why there was no ack.
        source: Box<Error>,
    },
    /// Messages of a pipeline failed. Those not named are in the topic, or still on their way.
    Pipeline {
        /// What happened to which message, in the order of their sending; never empty.
        failures: Vec<Failure>,
    },
    /// The subscription of one topic is over. Those of other topics go on.
    Ended {
        /// The topic.
        topic: String,
        /// Why.
        end: End,
    },
    /// What came is not what a threadcast server says.
    Protocol {
        /// What was wrong.
        reason: String,
    },
    /// This subscription was closed on this side.
    Closed,
    /// The system refused a thread or a socket option.
    System(io::Error),
}

/// A message of a pipeline that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The number of the message in its pipeline, from 0.
    pub index: u64,
    /// Why.
    pub error: Error,
}

/// Why the subscription of a topic is over for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The topic was deleted.
    TopicDeleted,
    /// Another subscriber came with the same `client_id`.
    Superseded,
}

impl Error {
    /// The server's code for programs, such as `TOPIC_NOT_FOUND`, if it was the server that said no.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => Some(code),
            Error::Unconfirmed { source, .. } => source.code(),
            Error::Pipeline { failures } => failures.first()?.error.code(),
            _ => None,
        }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Error {
        Error::Invalid {
            reason: reason.into(),
        }
    }

    pub(super) fn protocol(reason: impl Into<String>) -> Error {
        Error::Protocol {
            reason: reason.into(),
        }
    }

    pub(super) fn lost(close_code: Option<u16>, reason: impl Into<String>) -> Error {
        Error::Lost {
            close_code,
            reason: reason.into(),
        }
    }

    pub(super) fn refused(code: &str, message: &str) -> Error {
        Error::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
            status: None,
        }
    }

    /// The same once more, for everyone whom one end of a connection concerns.
    pub(super) fn again(&self) -> Error {
        match self {
            Error::Lost { close_code, reason } => Error::lost(*close_code, reason),
            Error::Refused { code, message, .. } => Error::refused(code, message),
            Error::Protocol { reason } => Error::protocol(reason),
            other => Error::lost(None, other.to_string()),
        }
    }

    /// Whether the same attempt may succeed later, as it is. What is not known to have failed ([`Error::Unconfirmed`]) is not
    /// among them.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Timeout { .. } => true,
            Error::Refused { status, code, .. } => match status {
                Some(status) => matches!(status, 408 | 429 | 500..),
                None => matches!(code.as_str(), "SHUTTING_DOWN" | "UNAVAILABLE" | "INTERNAL"),
            },
            Error::Lost { close_code, .. } => !close_code.is_some_and(is_final),
            _ => false,
        }
    }
}

/// Codes that say: do not come back as you are.
fn is_final(close_code: u16) -> bool {
    matches!(close_code, 1002 | 1007..=1009 | 4000..=4099)
}

/// What helps against a refusal; empty when the server's sentence says it all.
fn advice(code: &str) -> &'static str {
    match code {
        "TOPIC_NOT_FOUND" => "; create the topic first",
        "UNAUTHORIZED" => "; give a valid key",
        "FORBIDDEN" => "; use a key that has this right",
        "RATE_LIMITED" => "; slow down, then repeat",
        "LIMIT_REACHED" => "; use another connection, or raise the server's limit",
        "SHUTTING_DOWN" | "UNAVAILABLE" | "INTERNAL" => "; try again later",
        _ => "",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid { reason } => f.write_str(reason),
            Error::Payload(error) => write!(f, "payload: {error}"),
            Error::Connect { address, source } => write!(
                f,
                "cannot connect to {address}: {source}; is the server running there?"
            ),
            // Over REST a topic was not missed but asked about.
            Error::Refused {
                code,
                message,
                status: Some(404),
            } => write!(f, "{code}: {message}"),
            Error::Refused { code, message, .. } => {
                write!(f, "{code}: {message}{}", advice(code))
            }
            Error::Timeout { what, after } => {
                write!(
                    f,
                    "no {what} within {after:?}; is the server overloaded, or the timeout too short?"
                )
            }
            Error::Lost {
                close_code: Some(code),
                reason,
            } => write!(f, "the connection was closed with {code}: {reason}"),
            Error::Lost {
                close_code: None,
                reason,
            } => write!(f, "the connection was lost: {reason}"),
            Error::Unconfirmed { id, source } => write!(
                f,
                "message {id} may or may not be in the topic ({source}); \
                 send it again with the same id if a copy does no harm"
            ),
            Error::Pipeline { failures } => match failures.first() {
                None => f.write_str("messages failed"),
                Some(first) => write!(
                    f,
                    "{} of the messages failed, the first of them message {}: {}",
                    failures.len(),
                    first.index,
                    first.error
                ),
            },
            Error::Ended { topic, end } => {
                write!(f, "the subscription of '{topic}' is over: {end}")
            }
            Error::Protocol { reason } => {
                write!(f, "this is not what a threadcast server says: {reason}")
            }
            Error::Closed => f.write_str("the subscription was closed"),
            Error::System(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Payload(error) => Some(error),
            Error::Connect { source, .. } | Error::System(source) => Some(source),
            Error::Unconfirmed { source, .. } => Some(source),
            Error::Pipeline { failures } => failures.first().map(|first| &first.error as _),
            _ => None,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::TopicDeleted => "the topic was deleted",
            End::Superseded => {
                "another subscriber has the same client_id; give each its own, or none"
            }
        })
    }
}
