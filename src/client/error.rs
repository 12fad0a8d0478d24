//! The errors of the client. No variant ever contains a key.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

/// An error of the client. Its text says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An invalid argument: a URL, a key, a name. Nothing was sent.
    Invalid {
        /// Which argument, and what is allowed.
        reason: String,
    },
    /// A payload could not be written as JSON, or read as the requested type.
    Payload(serde_json::Error),
    /// The connection could not be established.
    Connect {
        /// Host and port.
        address: String,
        /// The error of the system.
        source: io::Error,
    },
    /// There is no TLS with the server, such as with a certificate that is not accepted.
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// None of several servers can be used now; each was tried once. With a single address its error is returned instead.
    NoServer {
        /// The attempts, in their order; never empty.
        attempts: Vec<FailedAttempt>,
    },
    /// The server refused a handshake, a REST request or a message.
    Refused {
        /// The code for programs, such as `TOPIC_NOT_FOUND`.
        code: String,
        /// The text for people.
        message: String,
        /// The HTTP status, if the refusal was an HTTP response.
        status: Option<u16>,
    },
    /// The answer did not arrive in time.
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection ended, and was not replaced under the [`Reconnect`](super::Reconnect) policy.
    Lost {
        /// The WebSocket close code; `None` if there was no close frame.
        close_code: Option<u16>,
        /// The reason, as far as it is known.
        reason: String,
    },
    /// The message was sent, but no ack arrived, and it cannot be sent again any more: its
    /// [window](super::ClientBuilder::idempotency_window) or the request timeout has passed, or no server takes it. It may or may
    /// not be in the topic, or may still be published, even after messages that were sent later.
    Unconfirmed {
        /// The id of the message; a copy sent with the same id can be recognised by subscribers.
        id: String,
        /// Why the ack did not arrive.
        source: Box<Error>,
    },
    /// Messages of a pipeline failed. All others are in the topic or still in flight.
    Pipeline {
        /// The messages, in the order in which they were sent; never empty.
        failed: Vec<FailedMessage>,
    },
    /// The subscription of one topic has ended. Those of other topics continue.
    Ended {
        /// The topic.
        topic: String,
        /// Why.
        reason: EndReason,
    },
    /// The peer does not follow the protocol of a threadcast server.
    Protocol {
        /// What is wrong.
        reason: String,
    },
    /// This subscription was closed by this program.
    Closed,
    /// The system refused a thread or a socket option.
    System(io::Error),
}

/// A message of a pipeline that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedMessage {
    /// The index of the message in its pipeline, from 0.
    pub index: u64,
    /// Why.
    pub error: Error,
}

/// An attempt at one of several servers.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// Host and port of the server.
    pub address: String,
    /// Why it failed.
    pub error: Error,
}

/// Why the subscription of a topic has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The topic was deleted.
    TopicDeleted,
    /// Another subscriber with the same `client_id` has replaced this one.
    Superseded,
}

impl Error {
    /// The error code of the server, such as `TOPIC_NOT_FOUND`, if the server refused something.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => Some(code),
            Error::Unconfirmed { source, .. } => source.code(),
            Error::NoServer { attempts } => attempts.iter().find_map(|one| one.error.code()),
            Error::Pipeline { failed } => failed.first()?.error.code(),
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

    /// A copy, for each request that the end of a connection affects. `io::Error` cannot be cloned.
    pub(super) fn copy(&self) -> Error {
        match self {
            Error::Lost { close_code, reason } => Error::lost(*close_code, reason),
            Error::Refused { code, message, .. } => Error::refused(code, message),
            Error::Protocol { reason } => Error::protocol(reason),
            other => Error::lost(None, other.to_string()),
        }
    }

    /// Whether a retry may succeed. `false` for [`Error::Unconfirmed`], since the message may have been published.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Error::Connect { .. }
            | Error::Tls { .. }
            | Error::NoServer { .. }
            | Error::Timeout { .. } => true,
            Error::Refused { status, code, .. } => match status {
                Some(status) => matches!(status, 408 | 429 | 500..),
                None => matches!(code.as_str(), "SHUTTING_DOWN" | "UNAVAILABLE" | "INTERNAL"),
            },
            Error::Lost { close_code, .. } => !close_code.is_some_and(is_permanent),
            _ => false,
        }
    }
}

/// Close codes after which the same client must not reconnect.
fn is_permanent(close_code: u16) -> bool {
    matches!(close_code, 1002 | 1007..=1009 | 4000..=4099)
}

/// A hint for an error code; empty if the message of the server is enough.
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
            Error::Tls { address, reason } => write!(f, "no TLS with {address}: {reason}"),
            Error::NoServer { attempts } => {
                write!(f, "none of the {} servers can be used", attempts.len())?;
                for (index, attempt) in attempts.iter().enumerate() {
                    let separator = if index == 0 { ": " } else { "; " };
                    write!(f, "{separator}{attempt}")?;
                }
                Ok(())
            }
            // A 404 answers a question about a topic, so there is no hint to create it.
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
            Error::Pipeline { failed } => match failed.first() {
                None => f.write_str("messages failed"),
                Some(first) => write!(
                    f,
                    "{} messages failed, the first is message {}: {}",
                    failed.len(),
                    first.index,
                    first.error
                ),
            },
            Error::Ended { topic, reason } => {
                write!(f, "the subscription of '{topic}' has ended: {reason}")
            }
            Error::Protocol { reason } => {
                write!(f, "not the protocol of a threadcast server: {reason}")
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
            Error::NoServer { attempts } => attempts.last().map(|last| &last.error as _),
            Error::Pipeline { failed } => failed.first().map(|first| &first.error as _),
            _ => None,
        }
    }
}

impl fmt::Display for FailedAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            // Its text would name the address again.
            Error::Connect { address, source } => write!(f, "{address}: {source}"),
            Error::Tls { address, reason } => write!(f, "{address}: {reason}"),
            error => write!(f, "{}: {error}", self.address),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::TopicDeleted => "the topic was deleted",
            EndReason::Superseded => {
                "another subscriber has the same client_id; give each its own, or none"
            }
        })
    }
}
