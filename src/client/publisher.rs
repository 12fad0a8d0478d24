//! Publishing: one connection for all threads of a client, opened with the first message and again after a loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;
use serde::Serialize;
use tungstenite::Utf8Bytes;
use uuid::Uuid;

use super::dialing::Dialing;
use super::link::{Answer, Link, NotSent, Ticket};
use super::reconnect::Recovery;
use super::settings::Settings;
use super::wire::{Message, Publish};
use super::{Error, checked};

/// The receipt for a message: it is in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number it got in its topic.
    pub seq: u64,
    /// Its id.
    pub id: String,
    /// When it reached the server: RFC 3339, UTC.
    pub ts: String,
}

#[derive(Debug)]
pub(super) struct Publisher {
    settings: Arc<Settings>,
    /// The open connection. Held while one is being opened, so that only one is.
    link: Mutex<Option<Arc<Link>>>,
    requests: AtomicU64,
}

/// A message, ready to be sent as often as it takes.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) request: u64,
    pub(super) id: String,
    pub(super) text: Utf8Bytes,
    /// Whether an attempt before this one ended without an answer: from then on no failure is a plain one.
    pub(super) may_be_there: bool,
}

/// Why a message could not be sent; the server does not have it from this attempt.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The connection was lost before.
    Again(Error),
    Failed(Error),
}

/// What is known about a message after an answer, or the lack of one.
#[derive(Debug)]
pub(super) enum Fate {
    Published(Published),
    /// The server cannot have it: it may be sent again.
    NotTaken(Error),
    /// The server may have it.
    Unknown(Error),
    Failed(Error),
}

impl Publisher {
    pub(super) fn new(settings: Arc<Settings>) -> Publisher {
        Publisher {
            settings,
            link: Mutex::default(),
            requests: AtomicU64::new(0),
        }
    }

    /// Checks and encodes a message; without an `id` it gets one.
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
            may_be_there: false,
        })
    }

    /// Publishes one message and waits for its receipt.
    pub(super) fn publish(&self, mut message: Outgoing) -> Result<Published, Error> {
        let deadline = self.deadline();
        let mut since_loss = None;
        loop {
            let error = match self.attempt(&message, deadline) {
                Fate::Published(published) => return Ok(published),
                Fate::Failed(error) => return Err(message.told(error)),
                Fate::Unknown(error) if !self.settings.retry_unconfirmed => return Err(error),
                Fate::Unknown(error) => {
                    message.may_be_there = true;
                    error
                }
                Fate::NotTaken(error) => error,
            };
            let recovery = since_loss.get_or_insert_with(Recovery::new);
            if !self.may_retry(recovery, deadline) {
                return Err(message.told(error));
            }
            self.pause(recovery, deadline);
        }
    }

    fn attempt(&self, message: &Outgoing, deadline: Instant) -> Fate {
        let link = match self.link(deadline) {
            Ok(link) => link,
            Err(error) => return Fate::Failed(error),
        };
        let ticket = match self.send_on(&link, message, deadline) {
            Ok(ticket) => ticket,
            Err(Unsent::Again(error)) => return Fate::NotTaken(error),
            Err(Unsent::Failed(error)) => return Fate::Failed(error),
        };
        let fate = self.fate(message, ticket.wait(deadline));
        if matches!(fate, Fate::NotTaken(_)) {
            // The server stops, or has closed over another message: nothing comes of this connection any more.
            link.close();
        }
        fate
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.request_timeout
    }

    pub(super) fn retries_unconfirmed(&self) -> bool {
        self.settings.retry_unconfirmed
    }

    pub(super) fn may_retry(&self, recovery: &Recovery, deadline: Instant) -> bool {
        let lost_for = recovery.since.elapsed();
        self.settings.reconnect.goes_on(lost_for) && Instant::now() < deadline
    }

    pub(super) fn pause(&self, recovery: &mut Recovery, deadline: Instant) {
        pause(recovery.next(self.settings.pauses), deadline);
    }

    /// Sends a message on this connection.
    pub(super) fn send_on(
        &self,
        link: &Arc<Link>,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<Ticket, Unsent> {
        link.send(message.request, &message.text, deadline)
            .map_err(|not_sent| match not_sent {
                NotSent::Over(end) => Unsent::Again(end.again()),
                NotSent::TooLarge => Unsent::Failed(too_large()),
                NotSent::TimedOut => Unsent::Failed(self.timeout("room to send")),
            })
    }

    /// What an answer says about its message.
    pub(super) fn fate(&self, message: &Outgoing, answer: Answer) -> Fate {
        match answer {
            Answer::Acked { seq, ts } => Fate::Published(Published {
                seq,
                id: message.id.clone(),
                ts,
            }),
            Answer::Refused(error) if error.code() == Some("SHUTTING_DOWN") => {
                Fate::NotTaken(error)
            }
            Answer::Refused(error) => Fate::Failed(error),
            Answer::TooLarge => Fate::Failed(too_large()),
            Answer::NotTaken(end) => Fate::NotTaken(end.again()),
            Answer::Lost(end) => Fate::Unknown(message.unconfirmed(end.again())),
            Answer::TimedOut => Fate::Unknown(message.unconfirmed(self.timeout("ack"))),
        }
    }

    fn timeout(&self, what: &'static str) -> Error {
        Error::Timeout {
            what,
            after: self.settings.request_timeout,
        }
    }

    /// The open connection, or a new one, as the policy has it.
    pub(super) fn link(&self, deadline: Instant) -> Result<Arc<Link>, Error> {
        let Some(mut current) = self.link.try_lock_until(deadline) else {
            return Err(self.timeout("connection"));
        };
        if let Some(link) = &*current {
            if !link.is_over() {
                return Ok(Arc::clone(link));
            }
            link.close();
            *current = None;
        }
        let mut recovery = Recovery::new();
        loop {
            match self.dial(deadline) {
                Ok(link) => return Ok(Arc::clone(current.insert(link))),
                Err(error) if !error.is_temporary() || !self.may_retry(&recovery, deadline) => {
                    return Err(error);
                }
                Err(_) => self.pause(&mut recovery, deadline),
            }
        }
    }

    fn dial(&self, deadline: Instant) -> Result<Arc<Link>, Error> {
        let dialing = Dialing::start(&self.settings)?;
        match dialing.result.recv_deadline(deadline) {
            Ok(dialed) => Link::start(dialed?, &self.settings),
            Err(RecvTimeoutError::Timeout) => Err(self.timeout("connection")),
            Err(RecvTimeoutError::Disconnected) => Err(Error::lost(None, "the attempt failed")),
        }
    }
}

impl Outgoing {
    fn unconfirmed(&self, error: Error) -> Error {
        Error::Unconfirmed {
            id: self.id.clone(),
            source: Box::new(error),
        }
    }

    /// The error as it is told: whatever failed last, an attempt before may have succeeded.
    pub(super) fn told(&self, error: Error) -> Error {
        match error {
            Error::Unconfirmed { .. } => error,
            error if self.may_be_there => self.unconfirmed(error),
            error => error,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(link) = self.link.get_mut().take() {
            link.close();
        }
    }
}

fn too_large() -> Error {
    Error::refused(
        "PAYLOAD_TOO_LARGE",
        "the message is larger than the server takes; send less at a time, or raise its PUBSUB_MAX_MESSAGE_BYTES",
    )
}

/// Waits until `until`, but not beyond the deadline.
fn pause(until: Instant, deadline: Instant) {
    let left: Duration = until
        .min(deadline)
        .saturating_duration_since(Instant::now());
    thread::sleep(left);
}
