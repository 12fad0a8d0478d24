//! Publishes messages over one connection for all threads of a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use tungstenite::Utf8Bytes;
use uuid::Uuid;

use super::pending_acks::Answer;
use super::publish_connection::{PendingAck, PublishConnection, SendError};
use super::publish_link::{PublishLink, pause};
use super::reconnect::RetryState;
use super::settings::Settings;
use super::wire::{Message, Publish};
use super::{Error, checked};

/// The receipt for a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its sequence number in the topic.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// When it was published: RFC 3339, UTC.
    pub ts: String,
}

#[derive(Debug)]
pub(super) struct Publisher {
    settings: Arc<Settings>,
    link: PublishLink,
    requests: AtomicU64,
}

/// An encoded message, which may be sent several times.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) request: u64,
    pub(super) id: String,
    pub(super) text: Utf8Bytes,
    /// Whether an earlier attempt ended without an answer. Every later error is then [`Error::Unconfirmed`].
    pub(super) may_be_published: bool,
}

/// Why an attempt did not send the message.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// The connection was lost: retry.
    Retry(Error),
    Permanent(Error),
}

/// The result of sending a message.
#[derive(Debug)]
pub(super) enum Outcome {
    Published(Published),
    /// Certainly not published, so it may be sent again.
    NotPublished(Error),
    /// It may or may not have been published.
    Unknown(Error),
    Failed(Error),
}

impl Publisher {
    pub(super) fn new(settings: Arc<Settings>) -> Publisher {
        Publisher {
            link: PublishLink::new(Arc::clone(&settings)),
            settings,
            requests: AtomicU64::new(0),
        }
    }

    /// Checks and encodes a message. Generates an id if there is none.
    pub(super) fn outgoing<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        id: Option<&str>,
        payload: &T,
    ) -> Result<Outgoing, Error> {
        let topic = checked(topic)?;
        let id = match id {
            Some(id) if Uuid::try_parse(id).is_err() => {
                return Err(Error::invalid("id: must be a UUID"));
            }
            Some(id) => id.to_owned(),
            None => Uuid::new_v4().to_string(),
        };
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let text = serde_json::to_string(&Publish {
            r#type: "publish",
            topic: topic.as_str(),
            message: Message { id: &id, payload },
            request_id: &request.to_string(),
        })
        .map_err(Error::Payload)?;
        Ok(Outgoing {
            request,
            id,
            text: text.into(),
            may_be_published: false,
        })
    }

    /// Publishes one message and waits for its receipt.
    pub(super) fn publish(&self, mut message: Outgoing) -> Result<Published, Error> {
        let deadline = self.deadline();
        let mut since_loss = None;
        loop {
            let error = match self.attempt(&message, deadline) {
                Outcome::Published(published) => return Ok(published),
                Outcome::Failed(error) => return Err(message.final_error(error)),
                Outcome::Unknown(error) if !self.settings.retry_unconfirmed => return Err(error),
                Outcome::Unknown(error) => {
                    message.may_be_published = true;
                    error
                }
                Outcome::NotPublished(error) => error,
            };
            let retry = since_loss.get_or_insert_with(RetryState::new);
            if !self.may_retry(retry, deadline) {
                return Err(message.final_error(error));
            }
            self.pause(retry, deadline);
        }
    }

    fn attempt(&self, message: &Outgoing, deadline: Instant) -> Outcome {
        let connection = match self.connection(deadline) {
            Ok(connection) => connection,
            Err(error) => return Outcome::Failed(error),
        };
        let pending_ack = match self.send_on(&connection, message, deadline) {
            Ok(pending_ack) => pending_ack,
            Err(AttemptError::Retry(error)) => return Outcome::NotPublished(error),
            Err(AttemptError::Permanent(error)) => return Outcome::Failed(error),
        };
        let outcome = self.outcome(message, pending_ack.wait(deadline));
        if matches!(outcome, Outcome::NotPublished(_)) {
            // The server is shutting down, or has closed the connection because of another message.
            connection.close();
        }
        outcome
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.request_timeout
    }

    pub(super) fn retries_unconfirmed(&self) -> bool {
        self.settings.retry_unconfirmed
    }

    pub(super) fn may_retry(&self, retry: &RetryState, deadline: Instant) -> bool {
        let lost_for = retry.since.elapsed();
        self.settings.reconnect.allows_attempt(lost_for) && Instant::now() < deadline
    }

    pub(super) fn pause(&self, retry: &mut RetryState, deadline: Instant) {
        let addresses = self.settings.addresses.count();
        pause(retry.next(self.settings.backoff, addresses), deadline);
    }

    /// Sends a message on this connection.
    pub(super) fn send_on(
        &self,
        connection: &Arc<PublishConnection>,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<PendingAck, AttemptError> {
        connection
            .send(message.request, &message.text, deadline)
            .map_err(|not_sent| match not_sent {
                SendError::Ended(end) => AttemptError::Retry(end.copy()),
                SendError::TooLarge => AttemptError::Permanent(too_large()),
                SendError::TimedOut => AttemptError::Permanent(self.timeout("room to send")),
            })
    }

    /// Maps an answer to an outcome.
    pub(super) fn outcome(&self, message: &Outgoing, answer: Answer) -> Outcome {
        match answer {
            Answer::Acked { seq, ts } => Outcome::Published(Published {
                seq,
                id: message.id.clone(),
                ts,
            }),
            Answer::Refused(error) if error.code() == Some("SHUTTING_DOWN") => {
                Outcome::NotPublished(error)
            }
            Answer::Refused(error) => Outcome::Failed(error),
            Answer::TooLarge => Outcome::Failed(too_large()),
            Answer::NotProcessed(end) => Outcome::NotPublished(end.copy()),
            Answer::Lost(end) => Outcome::Unknown(message.unconfirmed(end.copy())),
            Answer::TimedOut => Outcome::Unknown(message.unconfirmed(self.timeout("ack"))),
        }
    }

    fn timeout(&self, what: &'static str) -> Error {
        Error::Timeout {
            what,
            after: self.settings.request_timeout,
        }
    }

    /// The open connection, or a new one.
    pub(super) fn connection(&self, deadline: Instant) -> Result<Arc<PublishConnection>, Error> {
        self.link.connection(deadline)
    }
}

impl Outgoing {
    fn unconfirmed(&self, error: Error) -> Error {
        Error::Unconfirmed {
            id: self.id.clone(),
            source: Box::new(error),
        }
    }

    /// The error to report: if an earlier attempt may have succeeded, the message is unconfirmed.
    pub(super) fn final_error(&self, error: Error) -> Error {
        match error {
            Error::Unconfirmed { .. } => error,
            error if self.may_be_published => self.unconfirmed(error),
            error => error,
        }
    }
}

fn too_large() -> Error {
    Error::refused(
        "PAYLOAD_TOO_LARGE",
        "the message is larger than the server accepts; send smaller messages, or raise PUBSUB_MAX_MESSAGE_BYTES of the server",
    )
}
