//! Following topics: events and gaps, in order, across as many connections as it takes.
//!
//! Everything is read on the caller's thread, straight from the socket. There is no queue in between in which
//! events could pile up unseen: a caller that does not read is a slow consumer to the server, which tells it the gap.

mod connecting;
mod intake;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::Message;
use uuid::Uuid;

use super::Error;
use super::closer::{Closer, Stop};
use super::deliveries::{Deliveries, Delivery};
use super::dialing::Dialing;
use super::followed::Followed;
use super::line::{Heard, Line};
use super::position::Position;
use super::reconnect::Recovery;
use super::settings::Settings;
use crate::protocol::ClientId;

/// How many frames without a delivery are still read when the time of a `recv_timeout` is over.
const FRAMES_BEYOND_DEADLINE: usize = 64;

/// One or more topics, followed; made by [`Client::subscribe`](super::Client::subscribe) or
/// [`Subscriber::open`](super::Subscriber::open).
///
/// Reconnects by itself and goes on behind the last delivery. Dropped, it says goodbye to the server, which takes a
/// second at most.
#[derive(Debug)]
pub struct Subscription {
    settings: Arc<Settings>,
    client_id: String,
    /// Nobody else can have its name.
    has_random_name: bool,
    topics: Vec<Followed>,
    state: State,
    ready: VecDeque<Ready>,
    stop: Stop,
    asked: u64,
}

#[derive(Debug)]
enum State {
    Up {
        line: Box<Line>,
        /// Since the first answer to a subscribe.
        answered_since: Option<Instant>,
        /// The attempts that led here.
        recovery: Recovery,
    },
    /// The next attempt is at `next`.
    Down {
        recovery: Recovery,
        next: Instant,
    },
    Dialing {
        recovery: Recovery,
        dialing: Dialing,
    },
    Over,
}

/// What waits to be handed out.
#[derive(Debug)]
enum Ready {
    Delivery {
        topic: usize,
        delivery: Delivery,
        position: Option<Position>,
    },
    Failed(Error),
}

impl Ready {
    fn is_of(&self, index: usize) -> bool {
        matches!(self, Ready::Delivery { topic, .. } if *topic == index)
    }
}

impl Subscription {
    pub(super) fn open(
        settings: Arc<Settings>,
        client_id: Option<ClientId>,
        topics: Vec<Followed>,
    ) -> Result<Subscription, Error> {
        let mut subscription = Subscription {
            state: State::Dialing {
                recovery: Recovery::new(),
                dialing: Dialing::start(&settings)?,
            },
            settings,
            has_random_name: client_id.is_none(),
            client_id: client_id.map_or_else(
                || format!("rust-{}", Uuid::new_v4()),
                |id| id.as_str().to_owned(),
            ),
            topics,
            ready: VecDeque::new(),
            stop: Stop::new(),
            asked: 0,
        };
        match subscription.await_acks() {
            Ok(()) => Ok(subscription),
            Err(error) => subscription.fail(error),
        }
    }

    /// Waits for the next delivery as long as it takes.
    ///
    /// # Errors
    /// [`Error::Ended`] tells that one topic is over, [`Error::Refused`] that the server does not take one back after a loss;
    /// others go on, and this can be called again. After the last of them, and after any other error, the subscription is
    /// over: [`is_over`](Subscription::is_over). [`Error::Closed`] from then on.
    pub fn recv(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.recv_until(None)? {
                return Ok(delivery);
            }
        }
    }

    /// Waits for the next delivery, but not longer than this; `None` if none came.
    ///
    /// # Errors
    /// As [`recv`](Subscription::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>, Error> {
        // A timeout beyond what the clock can say is none.
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.recv_until(Some(deadline)),
            None => self.recv().map(Some),
        }
    }

    /// The next delivery if it has arrived. Call it again and again, and the subscription also reconnects.
    ///
    /// # Errors
    /// As [`recv`](Subscription::recv).
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, Error> {
        self.recv_timeout(Duration::ZERO)
    }

    /// The deliveries, one after the other, until the subscription is over.
    pub fn iter(&mut self) -> Deliveries<'_> {
        Deliveries { subscription: self }
    }

    /// Where the caller stands in a topic: behind the last delivery it got. To be kept with the work done, as the
    /// [`Start`](super::Start) of a later subscription. `None` for a topic that this subscription is not about, or that is not
    /// acknowledged yet.
    #[must_use]
    pub fn position(&self, topic: &str) -> Option<Position> {
        let followed = self.topics.iter().find(|followed| *followed.name == *topic);
        followed?.given.clone()
    }

    /// The topics that are not over.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let going_on = self.topics.iter().filter(|topic| !topic.is_over());
        going_on.map(|topic| &*topic.name)
    }

    /// Leaves one of the topics; the others go on. Nothing of it is handed out from here on, not even what has arrived:
    /// a later subscription that starts at its [`position`](Subscription::position) gets that. Does not wait for the
    /// server, but after the last topic the subscription is over, and says goodbye as if it was dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a topic that is not followed (any more); as [`recv`](Subscription::recv) when the connection
    /// turns out to be lost for good.
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), Error> {
        let is_it = |followed: &Followed| *followed.name == *topic && !followed.is_over();
        let Some(index) = self.topics.iter().position(is_it) else {
            return Err(Error::invalid(format!("topic: '{topic}' is not followed")));
        };
        let is_asked_for = self.topics[index].leave();
        self.ready.retain(|ready| !ready.is_of(index));
        if self.is_about_nothing() {
            self.end();
        } else if is_asked_for && let State::Up { line, .. } = &mut self.state {
            let text = self.topics[index].farewell(&self.client_id)?;
            if let Err(error) = line.send(Message::text(text)) {
                self.lose(error)?;
            }
        }
        Ok(())
    }

    /// Whether there is a connection on which the server has answered. While there is none, calls of
    /// [`recv`](Subscription::recv) and its kin look for one.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(
            &self.state,
            State::Up {
                answered_since: Some(_),
                ..
            }
        )
    }

    /// The name of this subscriber.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Whether nothing will come any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ready.is_empty() && matches!(self.state, State::Over)
    }

    /// A handle that ends this subscription from another thread, also in the middle of a wait.
    #[must_use]
    pub fn closer(&self) -> Closer {
        self.stop.closer()
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Option<Delivery>, Error> {
        let mut spare_frames = FRAMES_BEYOND_DEADLINE;
        loop {
            if self.stop.is_called() {
                self.end();
                return Err(Error::Closed);
            }
            if let Some(ready) = self.ready.pop_front() {
                return self.hand_out(ready).map(Some);
            }
            if self.is_about_nothing() {
                self.end();
            }
            let is_in_time = match &self.state {
                State::Over => return Err(Error::Closed),
                State::Up { .. } => self.read(deadline)?,
                State::Down { .. } => self.wait(deadline)?,
                State::Dialing { .. } => self.await_dialing(deadline)?,
            };
            if self.ready.is_empty() && deadline.is_some_and(|deadline| Instant::now() >= deadline)
            {
                spare_frames = if is_in_time {
                    spare_frames.saturating_sub(1)
                } else {
                    0
                };
            }
            if !is_in_time || spare_frames == 0 {
                return Ok(None);
            }
        }
    }

    fn hand_out(&mut self, ready: Ready) -> Result<Delivery, Error> {
        match ready {
            Ready::Delivery {
                topic,
                delivery,
                position,
            } => {
                self.topics[topic].given = position;
                Ok(delivery)
            }
            Ready::Failed(error) => {
                // The one that listens should learn at once that this was the last.
                if self.is_about_nothing() {
                    self.end();
                }
                Err(error)
            }
        }
    }

    /// Whether everything was handed out and nothing more will come.
    fn is_about_nothing(&self) -> bool {
        self.ready.is_empty() && self.topics.iter().all(Followed::is_over)
    }

    /// Says goodbye, if there is somebody to say it to.
    fn end(&mut self) {
        self.stop.forget_stream();
        if let State::Up { line, .. } = std::mem::replace(&mut self.state, State::Over) {
            line.close();
        }
    }

    /// Over, because of `error`. Nobody waits for the goodbye of a server that talks nonsense or does not answer.
    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        if matches!(error, Error::Protocol { .. } | Error::Timeout { .. }) {
            self.stop.forget_stream();
            self.state = State::Over;
        }
        self.end();
        Err(error)
    }

    /// Reads one frame; `false` when the deadline came first.
    fn read(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        if self.topics.iter().any(Followed::is_unanswered) {
            return self.lose(self.timeout("ack"));
        }
        if let Err(error) = self.ask_for_what_is_due() {
            return self.lose(error);
        }
        let State::Up { line, .. } = &mut self.state else {
            return Ok(true);
        };
        let due = self.topics.iter().filter_map(Followed::due).min();
        let until = match (deadline, due) {
            (Some(deadline), Some(due)) => Some(deadline.min(due)),
            (deadline, due) => deadline.or(due),
        };
        match line.receive(until) {
            Ok(Heard::Text(text)) => match self.take(&text, false) {
                Ok(()) => Ok(true),
                Err(error) => self.fail(error),
            },
            Ok(Heard::Ping(_) | Heard::Pong) => Ok(true),
            Ok(Heard::Nothing) => Ok(deadline.is_none_or(|deadline| Instant::now() < deadline)),
            Ok(Heard::Silence) => match line.ping() {
                Ok(()) => Ok(true),
                Err(error) => self.lose(error),
            },
            Err(error) => self.lose(error),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}
