//! Many messages in flight at once, in order, and never more than a window of them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::link::Ticket;
use super::publisher::{Fate, Outgoing, Published, Unsent};
use super::reconnect::Recovery;
use super::{Client, Error, Failure};

/// Publishes to one topic without waiting for each receipt; made by [`Client::pipeline`].
///
/// The messages are in the topic in the order in which they were sent, except those that failed. Dropped before
/// [`finish`](Pipeline::finish), it does not wait for what is in flight, and nothing is known about that.
pub struct Pipeline {
    client: Client,
    topic: String,
    window: usize,
    in_flight: VecDeque<InFlight>,
    failures: Vec<Failure>,
    sent: u64,
    published: u64,
    last: Option<Published>,
    on_published: Option<Box<OnPublished>>,
}

type OnPublished = dyn FnMut(u64, &Published) + Send + Sync;

/// What a pipeline came to.
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
    ticket: Ticket,
    deadline: Instant,
}

impl Pipeline {
    pub(super) fn new(client: Client, topic: &str, window: usize) -> Pipeline {
        Pipeline {
            client,
            topic: topic.to_owned(),
            window: window.max(1),
            in_flight: VecDeque::new(),
            failures: Vec::new(),
            sent: 0,
            published: 0,
            last: None,
            on_published: None,
        }
    }

    /// Calls `then` with the index and the receipt of each message, in order, on the thread that uses the pipeline.
    #[must_use]
    pub fn on_published(
        mut self,
        then: impl FnMut(u64, &Published) + Send + Sync + 'static,
    ) -> Self {
        self.on_published = Some(Box::new(then));
        self
    }

    /// Sends a message, and gives its index, counted from 0. Waits while the window is full.
    ///
    /// # Errors
    /// [`Error::Pipeline`] tells messages sent *before* that have failed; this one was not sent then, and a pipeline
    /// may be used on. Any other error is about this message, which was not sent.
    pub fn send<T: Serialize + ?Sized>(&mut self, payload: &T) -> Result<u64, Error> {
        self.send_message(None, payload)
    }

    /// The same, with an id of your own, a UUID.
    ///
    /// # Errors
    /// As [`send`](Pipeline::send), and [`Error::Invalid`] if the id is no UUID.
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
        self.take_answers(self.window - 1);
        self.told()?;
        // Not before: what it waited for had a time of its own.
        let deadline = self.client.publisher().deadline();
        self.transmit(self.sent, message, deadline)?;
        self.sent += 1;
        Ok(self.sent - 1)
    }

    /// Waits until every message sent so far has its answer.
    ///
    /// # Errors
    /// [`Error::Pipeline`] with those that failed since the last call that told any.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.take_answers(0);
        self.told()
    }

    /// Waits for all answers, and sums up.
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

    fn told(&mut self) -> Result<(), Error> {
        self.failures.sort_unstable_by_key(|failure| failure.index);
        match self.failures.is_empty() {
            true => Ok(()),
            false => Err(Error::Pipeline {
                failures: std::mem::take(&mut self.failures),
            }),
        }
    }

    /// Takes the answers that are there, and waits for more until no more than `may_stay` messages are without.
    fn take_answers(&mut self, may_stay: usize) {
        while let Some(first) = self.in_flight.front() {
            let answer = match first.ticket.try_wait() {
                Some(answer) => answer,
                None if self.in_flight.len() > may_stay => first.ticket.wait(first.deadline),
                None => break,
            };
            let fate = self.client.publisher().fate(&first.message, answer);
            self.settle(fate);
        }
    }

    /// Enters what became of the first message in flight. One that is to be sent again takes along all behind it,
    /// so that they stay in order.
    fn settle(&mut self, fate: Fate) {
        let Some(first) = self.in_flight.pop_front() else {
            return;
        };
        let link = Arc::clone(first.ticket.link());
        let mut again = Vec::new();
        self.sort_in(first, fate, &mut again);
        if again.is_empty() {
            return;
        }
        for next in std::mem::take(&mut self.in_flight) {
            // The connection is over, or the server is about to end it: every answer is there or comes soon.
            let answer = next.ticket.wait(next.deadline);
            let fate = self.client.publisher().fate(&next.message, answer);
            self.sort_in(next, fate, &mut again);
        }
        link.close();
        for (old, error) in again {
            self.send_again(old, error);
        }
    }

    /// Enters what became of a message, or puts it to those that are to be sent again.
    fn sort_in(&mut self, mut message: InFlight, fate: Fate, again: &mut Vec<(InFlight, Error)>) {
        match fate {
            Fate::Published(published) => self.enter(message.index, published),
            Fate::Failed(error) => self.fail(message.index, message.message.told(error)),
            Fate::NotTaken(error) => again.push((message, error)),
            Fate::Unknown(error) => {
                let is_in_time = Instant::now() < message.deadline;
                if is_in_time && self.client.publisher().retries_unconfirmed() {
                    message.message.may_be_there = true;
                    again.push((message, error));
                } else {
                    self.fail(message.index, error);
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
            .may_retry(&Recovery::new(), deadline);
        match may_retry {
            true => {
                if let Err(error) = self.transmit(index, message, deadline) {
                    self.fail(index, error);
                }
            }
            false => self.fail(index, message.told(error)),
        }
    }

    /// Writes a message, on a new connection if need be. Before it is, those of the old one are settled.
    fn transmit(&mut self, index: u64, message: Outgoing, deadline: Instant) -> Result<(), Error> {
        let mut recovery = Recovery::new();
        loop {
            let link = match self.client.publisher().link(deadline) {
                Ok(link) => link,
                Err(error) => return Err(message.told(error)),
            };
            let last = self.in_flight.back().map(|last| last.ticket.link());
            if last.is_some_and(|last| !Arc::ptr_eq(last, &link)) {
                // The old connection is over, so every answer is known: nothing may overtake what is sent again.
                self.take_answers(0);
                continue;
            }
            let sent = self.client.publisher().send_on(&link, &message, deadline);
            let error = match sent {
                Ok(ticket) => {
                    self.in_flight.push_back(InFlight {
                        index,
                        message,
                        ticket,
                        deadline,
                    });
                    return Ok(());
                }
                Err(Unsent::Again(error)) => error,
                Err(Unsent::Failed(error)) => return Err(message.told(error)),
            };
            let publisher = self.client.publisher();
            if !publisher.may_retry(&recovery, deadline) {
                return Err(message.told(error));
            }
            publisher.pause(&mut recovery, deadline);
        }
    }

    fn enter(&mut self, index: u64, published: Published) {
        if let Some(then) = &mut self.on_published {
            then(index, &published);
        }
        self.published += 1;
        self.last = Some(published);
    }

    fn fail(&mut self, index: u64, error: Error) {
        self.failures.push(Failure { index, error });
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
