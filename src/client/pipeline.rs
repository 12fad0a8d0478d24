//! A pipeline: publishes in order, with at most a window of messages in flight.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::pending_acks::Answer;
use super::publish_connection::PendingAck;
use super::publisher::{AttemptError, Outcome, Outgoing, Published};
use super::reconnect::RetryState;
use super::{Client, Error, FailedMessage};

/// Publishes to one topic without waiting for each receipt; made by [`Client::pipeline`].
///
/// The messages are published in the order in which they were sent, except those that failed. Dropping it before
/// [`finish`](Pipeline::finish) does not wait for messages in flight; their outcome is then unknown.
pub struct Pipeline {
    client: Client,
    topic: String,
    window: usize,
    in_flight: VecDeque<InFlight>,
    failed: Vec<FailedMessage>,
    sent: u64,
    published: u64,
    /// The attempts to send the first message, while the topic is missing and the client waits for it.
    missing: RetryState,
    last: Option<Published>,
    on_published: Option<Box<OnPublished>>,
}

type OnPublished = dyn FnMut(u64, &Published) + Send + Sync;

/// The result of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many messages are in the topic.
    pub published: u64,
    /// The receipt of the last of them.
    pub last: Option<Published>,
}

struct InFlight {
    index: u64,
    message: Outgoing,
    pending_ack: PendingAck,
    deadline: Instant,
}

impl InFlight {
    fn outcome(&mut self, client: &Client, answer: Answer) -> Outcome {
        let sent = self.pending_ack.sent();
        client.publisher().outcome(&mut self.message, sent, answer)
    }
}

impl Pipeline {
    pub(super) fn new(client: Client, topic: &str, window: usize) -> Pipeline {
        Pipeline {
            client,
            topic: topic.to_owned(),
            window: window.max(1),
            in_flight: VecDeque::new(),
            failed: Vec::new(),
            sent: 0,
            published: 0,
            missing: RetryState::new(),
            last: None,
            on_published: None,
        }
    }

    /// Calls `callback` with the index and the receipt of each message, in order, on the thread that uses the pipeline.
    #[must_use]
    pub fn on_published(
        mut self,
        callback: impl FnMut(u64, &Published) + Send + Sync + 'static,
    ) -> Self {
        self.on_published = Some(Box::new(callback));
        self
    }

    /// Sends a message and returns its index, from 0. Waits while the window is full.
    ///
    /// # Errors
    /// [`Error::Pipeline`] reports *earlier* messages that failed; this one was not sent, and the pipeline may be used
    /// further. Any other error is about this message, which was not sent.
    pub fn send<T: Serialize + ?Sized>(&mut self, payload: &T) -> Result<u64, Error> {
        self.send_message(None, payload)
    }

    /// [`send`](Pipeline::send) with an id of your own, a UUID.
    ///
    /// # Errors
    /// As [`send`](Pipeline::send), and [`Error::Invalid`] if the id is not a UUID.
    pub fn send_with_id<T: Serialize + ?Sized>(
        &mut self,
        id: &str,
        payload: &T,
    ) -> Result<u64, Error> {
        self.send_message(Some(id), payload)
    }

    fn send_message<T: Serialize + ?Sized>(
        &mut self,
        id: Option<&str>,
        payload: &T,
    ) -> Result<u64, Error> {
        let publisher = self.client.publisher();
        let message = publisher.outgoing(&self.topic, id, payload)?;
        self.receive_answers(self.room_for_next());
        self.take_failed()?;
        // Starts after waiting for the window, which the deadlines of earlier messages bound.
        let deadline = self.client.publisher().deadline();
        self.send_encoded(self.sent, message, deadline)?;
        self.sent += 1;
        Ok(self.sent - 1)
    }

    /// How many messages may be in flight before the next one is sent: none as long as the topic may be missing and is waited
    /// for, so that the messages keep their order.
    fn room_for_next(&self) -> usize {
        match self.published == 0 && self.client.publisher().may_wait_for_topics() {
            true => 0,
            false => self.window - 1,
        }
    }

    /// Waits until every message sent so far has its answer.
    ///
    /// # Errors
    /// [`Error::Pipeline`] with the messages that failed since the last [`Error::Pipeline`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.receive_answers(0);
        self.take_failed()
    }

    /// Waits for all answers, and returns a summary.
    ///
    /// # Errors
    /// As [`flush`](Pipeline::flush).
    pub fn finish(mut self) -> Result<Summary, Error> {
        self.flush()?;
        Ok(Summary {
            published: self.published,
            last: self.last,
        })
    }

    /// How many messages have no answer yet; at most the window.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn take_failed(&mut self) -> Result<(), Error> {
        self.failed.sort_unstable_by_key(|failed| failed.index);
        match self.failed.is_empty() {
            true => Ok(()),
            false => Err(Error::Pipeline {
                failed: std::mem::take(&mut self.failed),
            }),
        }
    }

    /// Receives the answers that have arrived, then waits until at most `max_in_flight` messages have none.
    fn receive_answers(&mut self, max_in_flight: usize) {
        loop {
            let has_room = self.in_flight.len() <= max_in_flight;
            let Some(first) = self.in_flight.front_mut() else {
                break;
            };
            let answer = match first.pending_ack.try_wait() {
                Some(answer) => answer,
                None if has_room => break,
                None => first.pending_ack.wait(first.deadline),
            };
            let outcome = first.outcome(&self.client, answer);
            self.apply_first(outcome);
        }
    }

    /// Applies the outcome of the first message in flight. If it must be sent again, so must all after it, to keep the order.
    fn apply_first(&mut self, outcome: Outcome) {
        let Some(first) = self.in_flight.pop_front() else {
            return;
        };
        if let Outcome::Failed(error) = &outcome
            && self.published == 0
            && self.in_flight.is_empty()
            && self
                .client
                .publisher()
                .waits_for_topic(error, &mut self.missing, first.deadline)
        {
            let InFlight {
                index,
                message,
                deadline,
                pending_ack,
            } = first;
            // Before the same request waits for an answer again.
            drop(pending_ack);
            if let Err(error) = self.send_encoded(index, message, deadline) {
                self.on_failed(index, error);
            }
            return;
        }
        let connection = Arc::clone(first.pending_ack.connection());
        let mut retries = Vec::new();
        self.apply(first, outcome, &mut retries);
        if retries.is_empty() {
            return;
        }
        for mut next in std::mem::take(&mut self.in_flight) {
            // The connection has ended, or the server is about to end it: every answer arrives soon.
            let answer = next.pending_ack.wait(next.deadline);
            let outcome = next.outcome(&self.client, answer);
            self.apply(next, outcome, &mut retries);
        }
        connection.close();
        for (old, error) in retries {
            self.send_again(old, error);
        }
    }

    /// Applies the outcome of one message, or adds it to `retries`.
    fn apply(&mut self, message: InFlight, outcome: Outcome, retries: &mut Vec<(InFlight, Error)>) {
        match outcome {
            Outcome::Published(published) => self.on_acked(message.index, published),
            Outcome::Failed(error) => {
                self.on_failed(message.index, message.message.final_error(error));
            }
            Outcome::NotPublished(error) => retries.push((message, error)),
            Outcome::Unknown(error) => {
                let is_in_time = Instant::now() < message.deadline;
                match is_in_time {
                    true => retries.push((message, error)),
                    false => self.on_failed(message.index, error),
                }
            }
        }
    }

    fn send_again(&mut self, old: InFlight, error: Error) {
        let InFlight {
            index,
            message,
            deadline,
            ..
        } = old;
        let may_retry = self
            .client
            .publisher()
            .may_retry(&RetryState::new(), deadline);
        match may_retry {
            true => {
                if let Err(error) = self.send_encoded(index, message, deadline) {
                    self.on_failed(index, error);
                }
            }
            false => self.on_failed(index, message.final_error(error)),
        }
    }

    /// Sends a message, on a new connection if necessary, but not before all answers of the old one are applied.
    fn send_encoded(
        &mut self,
        index: u64,
        message: Outgoing,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut retry = RetryState::new();
        loop {
            let connection = match self.client.publisher().connection(deadline) {
                Ok(connection) => connection,
                Err(error) => return Err(message.final_error(error)),
            };
            let last = self
                .in_flight
                .back()
                .map(|last| last.pending_ack.connection());
            if last.is_some_and(|last| !Arc::ptr_eq(last, &connection)) {
                // The old connection has ended, or its server refuses messages, so every answer is known or arrives soon.
                // Messages that are sent again must come first.
                self.receive_answers(0);
                continue;
            }
            let sent = self
                .client
                .publisher()
                .send_on(&connection, &message, deadline);
            let error = match sent {
                Ok(pending_ack) => {
                    self.in_flight.push_back(InFlight {
                        index,
                        message,
                        pending_ack,
                        deadline,
                    });
                    return Ok(());
                }
                Err(AttemptError::Retry(error)) => error,
                Err(AttemptError::Permanent(error)) => return Err(message.final_error(error)),
            };
            let publisher = self.client.publisher();
            if !publisher.may_retry(&retry, deadline) {
                return Err(message.final_error(error));
            }
            publisher.pause(&mut retry, deadline);
        }
    }

    fn on_acked(&mut self, index: u64, published: Published) {
        if let Some(callback) = &mut self.on_published {
            callback(index, &published);
        }
        self.published += 1;
        self.last = Some(published);
    }

    fn on_failed(&mut self, index: u64, error: Error) {
        self.failed.push(FailedMessage { index, error });
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("topic", &self.topic)
            .field("window", &self.window)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
