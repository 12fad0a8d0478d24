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

/// While a topic is waited for, an attempt begins only if this part of the request timeout is left.
const ANSWER_PARTS: u32 = 10;

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
    /// Whether it was in the topic already: its ack was lost and the client sent it again, or a message with this id was
    /// published before. This is the receipt of the first.
    pub duplicate: bool,
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
    /// When the first attempt began that ended without an answer. Every later error is then [`Error::Unconfirmed`].
    pub(super) unconfirmed_since: Option<Instant>,
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
    /// This attempt has not published it, or the server would recognise it: it may be sent again, on another connection.
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
            idempotent: true,
            request_id: &request.to_string(),
        })
        .map_err(Error::Payload)?;
        Ok(Outgoing {
            request,
            id,
            text: text.into(),
            unconfirmed_since: None,
        })
    }

    /// Publishes one message and waits for its receipt.
    pub(super) fn publish(&self, mut message: Outgoing) -> Result<Published, Error> {
        let deadline = self.deadline();
        let mut since_loss = None;
        let mut missing = RetryState::new();
        loop {
            let error = match self.attempt(&mut message, deadline) {
                Outcome::Published(published) => return Ok(published),
                Outcome::Failed(error) if self.waits_for_topic(&error, &mut missing, deadline) => {
                    continue;
                }
                Outcome::Failed(error) => return Err(message.final_error(error)),
                Outcome::Unknown(error) | Outcome::NotPublished(error) => error,
            };
            let retry = since_loss.get_or_insert_with(RetryState::new);
            if !self.may_retry(retry, deadline) {
                return Err(message.final_error(error));
            }
            self.pause(retry, deadline);
        }
    }

    fn attempt(&self, message: &mut Outgoing, deadline: Instant) -> Outcome {
        let connection = match self.connection(deadline) {
            Ok(connection) => connection,
            Err(error) => return Outcome::Failed(error),
        };
        let pending_ack = match self.send_on(&connection, message, deadline) {
            Ok(pending_ack) => pending_ack,
            Err(AttemptError::Retry(error)) => return Outcome::NotPublished(error),
            Err(AttemptError::Permanent(error)) => return Outcome::Failed(error),
        };
        let answer = pending_ack.wait(deadline);
        let outcome = self.outcome(message, pending_ack.sent(), answer);
        if matches!(outcome, Outcome::NotPublished(_)) {
            // The server is shutting down, or has closed the connection because of another message.
            connection.close();
        }
        outcome
    }

    /// If the topic does not exist and the client waits for it: pauses, and returns `true` if there is time for another attempt.
    pub(super) fn waits_for_topic(
        &self,
        error: &Error,
        missing: &mut RetryState,
        deadline: Instant,
    ) -> bool {
        if !self.settings.waits_for_topic(error) {
            return false;
        }
        let next = missing.next(self.settings.backoff, 1);
        // Time for the answer of the last attempt: without it, nobody would know whether the message was published.
        let for_answer = self.settings.request_timeout / ANSWER_PARTS;
        let has_time = next + for_answer < deadline;
        if has_time {
            pause(next, deadline);
        }
        has_time
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.request_timeout
    }

    pub(super) fn may_wait_for_topics(&self) -> bool {
        self.settings.wait_for_topics
    }

    pub(super) fn may_retry(&self, retry: &RetryState, deadline: Instant) -> bool {
        let lost_for = retry.since.elapsed();
        self.settings.reconnect.allows_attempt(lost_for) && Instant::now() < deadline
    }

    pub(super) fn pause(&self, retry: &mut RetryState, deadline: Instant) {
        let addresses = self.settings.addresses.count();
        pause(retry.next(self.settings.backoff, addresses), deadline);
    }

    /// Sends a message on this connection. One that may be in the topic is not sent when the server may have forgotten its id.
    pub(super) fn send_on(
        &self,
        connection: &Arc<PublishConnection>,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<PendingAck, AttemptError> {
        if self.is_window_over(message) {
            let error = self.window_passed(message);
            return Err(AttemptError::Permanent(error));
        }
        connection
            .send(message.request, &message.text, deadline)
            .map_err(|not_sent| match not_sent {
                SendError::Ended(end) => AttemptError::Retry(end.copy()),
                SendError::TooLarge => AttemptError::Permanent(too_large()),
                SendError::TimedOut => AttemptError::Permanent(self.timeout("room to send")),
            })
    }

    /// Maps the answer to an attempt that was sent at this time to an outcome.
    pub(super) fn outcome(&self, message: &mut Outgoing, sent: Instant, answer: Answer) -> Outcome {
        match answer {
            // The server did not know it any more: it may be in the topic twice.
            Answer::Acked {
                duplicate: false, ..
            } if self.is_window_over(message) => Outcome::Failed(self.window_passed(message)),
            Answer::Acked { seq, ts, duplicate } => Outcome::Published(Published {
                seq,
                id: message.id.clone(),
                ts,
                duplicate,
            }),
            Answer::Refused(error) if message.may_be_sent_elsewhere(&error) => {
                Outcome::NotPublished(error)
            }
            Answer::Refused(error) => Outcome::Failed(error),
            Answer::TooLarge => Outcome::Failed(too_large()),
            Answer::NotProcessed(end) => Outcome::NotPublished(end.copy()),
            Answer::Lost(end) => {
                message.unconfirmed_since.get_or_insert(sent);
                let error = message.unconfirmed(end.copy());
                match end.is_temporary() {
                    true => Outcome::Unknown(error),
                    false => Outcome::Failed(error),
                }
            }
            Answer::TimedOut => {
                message.unconfirmed_since.get_or_insert(sent);
                Outcome::Unknown(message.unconfirmed(self.timeout("ack")))
            }
        }
    }

    /// Whether a message may be in the topic, and the server may have forgotten its id.
    fn is_window_over(&self, message: &Outgoing) -> bool {
        let window = self.settings.idempotency_window;
        let since = message.unconfirmed_since;
        since.is_some_and(|since| since.elapsed() >= window)
    }

    fn window_passed(&self, message: &Outgoing) -> Error {
        message.unconfirmed(Error::Timeout {
            what: "ack",
            after: self.settings.idempotency_window,
        })
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

    /// Whether another server may take it that this one refused so. One that may be in the topic is not given up for a server
    /// that cannot tell.
    fn may_be_sent_elsewhere(&self, refusal: &Error) -> bool {
        match refusal.code() {
            Some("SHUTTING_DOWN") => true,
            Some("UNAVAILABLE") => self.unconfirmed_since.is_some(),
            _ => false,
        }
    }

    /// The error to report: if an earlier attempt may have succeeded, the message is unconfirmed.
    pub(super) fn final_error(&self, error: Error) -> Error {
        match error {
            Error::Unconfirmed { .. } => error,
            error if self.unconfirmed_since.is_some() => self.unconfirmed(error),
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
