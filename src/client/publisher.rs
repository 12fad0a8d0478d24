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

use super::Error;
use super::dialing::Dialing;
use super::link::{Answer, Link, NotSent, Ticket};
use super::reconnect::Recovery;
use super::settings::Settings;
use super::wire::{Message, Publish};
use crate::protocol::TopicName;

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
        TopicName::check(topic).map_err(|invalid| Error::invalid(invalid.to_string()))?;
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
            topic,
            message: Message { id: &id, payload },
            request_id: &request.to_string(),
        })
        .map_err(Error::Payload)?;
        Ok(Outgoing {
            request,
            id,
            text: text.into(),
        })
    }

    /// Publishes one message and waits for its receipt.
    pub(super) fn publish(&self, message: &Outgoing) -> Result<Published, Error> {
        let deadline = self.deadline();
        let mut recovery = Recovery::new();
        loop {
            let fate = match self.send(message, deadline) {
                Ok(ticket) => {
                    let fate = self.fate(message, ticket.wait(deadline));
                    if matches!(fate, Fate::NotTaken(_)) {
                        ticket.link().close();
                    }
                    fate
                }
                Err(fate) => fate,
            };
            let error = match fate {
                Fate::Published(published) => return Ok(published),
                Fate::Failed(error) => return Err(error),
                Fate::Unknown(error) if !self.settings.retry_unconfirmed => return Err(error),
                Fate::NotTaken(error) | Fate::Unknown(error) => error,
            };
            if !self.may_retry(&recovery, deadline) {
                return Err(error);
            }
            pause(recovery.next(self.settings.pauses), deadline);
        }
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

    /// Sends a message on the open connection, or on a new one.
    pub(super) fn send(&self, message: &Outgoing, deadline: Instant) -> Result<Ticket, Fate> {
        let link = self.link(deadline).map_err(Fate::Failed)?;
        self.send_on(&link, message, deadline)
    }

    /// The same, on this connection only.
    pub(super) fn send_on(
        &self,
        link: &Arc<Link>,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<Ticket, Fate> {
        link.send(message.request, &message.text, deadline)
            .map_err(|not_sent| match not_sent {
                NotSent::Over(end) => Fate::NotTaken(end.again()),
                NotSent::TooLarge => Fate::Failed(too_large()),
                NotSent::TimedOut => Fate::Failed(self.timeout("room to send")),
            })
    }

    /// What an answer says about its message.
    pub(super) fn fate(&self, message: &Outgoing, answer: Answer) -> Fate {
        let unconfirmed = |error| Error::Unconfirmed {
            id: message.id.clone(),
            source: Box::new(error),
        };
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
            Answer::Lost(end) => Fate::Unknown(unconfirmed(end.again())),
            Answer::TimedOut => Fate::Unknown(unconfirmed(self.timeout("ack"))),
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
                Err(error) if !error.may_pass() || !self.may_retry(&recovery, deadline) => {
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
