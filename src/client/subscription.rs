//! A subscription: delivers the events and gaps of its topics in order, across reconnects.
//!
//! Reads from the socket on the thread of the caller. No queue between them hides a slow caller: the server sees it as a
//! slow consumer, and reports gaps.

mod connecting;
mod followed;
mod intake;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::Message;
use uuid::Uuid;

use super::Error;
use super::addresses::{AddressError, Place};
use super::closer::{CloseSignal, Closer};
use super::connect::ConnectAttempt;
use super::connection::{Connection, Received};
use super::delivery::{Deliveries, Delivery};
use super::pattern_start::Positions;
use super::phase::Phase;
use super::position::Position;
use super::reconnect::RetryState;
use super::settings::Settings;
use crate::protocol::ClientId;
use connecting::no_ack;
pub(super) use followed::Followed;

/// How many frames without a delivery are read after the timeout of a `recv_timeout`.
const FRAMES_BEYOND_DEADLINE: usize = 64;

/// A subscription to one or more topics, or to all that match a pattern; made by
/// [`Client::subscribe`](super::Client::subscribe), [`Client::subscribe_pattern`](super::Client::subscribe_pattern) or
/// [`Subscriber::open`](super::Subscriber::open).
///
/// Reconnects by itself and continues after the last delivery. Dropping it closes the connection with a close frame, which
/// takes at most a second.
#[derive(Debug)]
pub struct Subscription {
    settings: Arc<Settings>,
    client_id: String,
    /// A random `client_id` is unique, so no other subscriber can have replaced this one.
    has_random_id: bool,
    /// Whether each subscribe asks who is subscribed.
    presence: bool,
    followed: Followed,
    state: State,
    ready: VecDeque<Ready>,
    close_signal: CloseSignal,
    subscribes_sent: u64,
    /// Where its connection is, or where the next attempt connects to.
    place: Place,
}

#[derive(Debug)]
enum State {
    Connected {
        connection: Box<Connection>,
        /// When the first answer to a subscribe arrived.
        answered_since: Option<Instant>,
        /// The attempts before this connection.
        retry: RetryState,
    },
    /// Waiting for the next attempt, at `next`.
    Waiting {
        retry: RetryState,
        next: Instant,
    },
    Connecting {
        retry: RetryState,
        attempt: ConnectAttempt,
    },
    Ended,
}

/// An entry of the queue of deliveries.
#[derive(Debug)]
enum Ready {
    Delivery {
        topic: usize,
        delivery: Delivery,
        position: Option<Position>,
    },
    /// Of a topic of the pattern.
    Matched {
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
        settings: &Arc<Settings>,
        client_id: Option<ClientId>,
        presence: bool,
        followed: &Followed,
    ) -> Result<Subscription, Error> {
        let has_random_id = client_id.is_none();
        let client_id = client_id.map_or_else(
            || format!("rust-{}", Uuid::new_v4()),
            |id| id.as_str().to_owned(),
        );
        settings.addresses.try_each(|place, _| {
            let attempt = ConnectAttempt::start(settings, place).map_err(AddressError::Final)?;
            let mut subscription = Subscription {
                settings: Arc::clone(settings),
                client_id: client_id.clone(),
                has_random_id,
                presence,
                followed: followed.clone(),
                state: State::Connecting {
                    retry: RetryState::new(),
                    attempt,
                },
                ready: VecDeque::new(),
                close_signal: CloseSignal::new(),
                subscribes_sent: 0,
                place,
            };
            match subscription.await_acks() {
                Ok(()) => Ok(subscription),
                Err(error) => subscription.fail(error).map_err(AddressError::of),
            }
        })
    }

    /// Waits for the next delivery, without a timeout.
    ///
    /// # Errors
    /// [`Error::Ended`] if one topic has ended (of a pattern: was taken over), [`Error::Refused`] if the server refuses one after
    /// a reconnect. The other topics continue, and this can be called again. After the last topic, and after any other error, the subscription has
    /// ended ([`is_over`](Subscription::is_over)), and this returns [`Error::Closed`].
    pub fn recv(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.recv_until(None)? {
                return Ok(delivery);
            }
        }
    }

    /// Waits for the next delivery; `None` after the timeout.
    ///
    /// # Errors
    /// As [`recv`](Subscription::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>, Error> {
        // A timeout that overflows `Instant` counts as none.
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.recv_until(Some(deadline)),
            None => self.recv().map(Some),
        }
    }

    /// The next delivery, if it has arrived. Repeated calls also reconnect.
    ///
    /// # Errors
    /// As [`recv`](Subscription::recv).
    pub fn try_recv(&mut self) -> Result<Option<Delivery>, Error> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Iterates over the deliveries until the subscription has ended.
    pub fn iter(&mut self) -> Deliveries<'_> {
        Deliveries { subscription: self }
    }

    /// The position in a topic after the last delivery that the caller has received. Store it together with the result of
    /// the work, as the [`Start`](super::Start) of a later subscription. `None` for a topic that is not part of this
    /// subscription, or not acknowledged yet.
    #[must_use]
    pub fn position(&self, topic: &str) -> Option<Position> {
        self.followed.position(topic)
    }

    /// The position in each topic that has one, as [`position`](Subscription::position). Of a pattern, the
    /// [`PatternStart`](super::PatternStart) of a later subscription; a topic that was deleted is not part of it.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.followed.positions()
    }

    /// The topics that have not ended. Of a pattern, those that have joined.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.followed.topics()
    }

    /// Unsubscribes from one topic; the others continue. Nothing of the topic is delivered any more, not even events that
    /// have arrived: a later subscription that starts at its [`position`](Subscription::position) receives those. Does not
    /// wait for the server. After the last topic the subscription ends and closes its connection, as if it was dropped.
    /// A pattern is unsubscribed from as a whole.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a topic that is not subscribed (any more), or that came from a pattern; as
    /// [`recv`](Subscription::recv) if the connection is lost and not replaced.
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), Error> {
        let not_subscribed = || Error::invalid(format!("topic: '{topic}' is not subscribed"));
        let topics = match &mut self.followed {
            Followed::Topics(topics) => topics,
            Followed::Pattern(pattern) if pattern.is(topic) && !pattern.phase.has_ended() => {
                pattern.phase = Phase::Unsubscribed;
                self.ready.clear();
                self.end();
                return Ok(());
            }
            Followed::Pattern(_) => return Err(not_subscribed()),
        };
        let mut all = topics.iter_mut().enumerate();
        let found = all.find(|(_, followed)| *followed.name == *topic);
        let (index, followed) = found
            .filter(|(_, followed)| !followed.phase.has_ended())
            .ok_or_else(not_subscribed)?;
        let must_notify = followed.unsubscribe();
        let text = followed.unsubscribe_request(&self.client_id)?;
        self.ready.retain(|ready| !ready.is_of(index));
        if self.is_exhausted() {
            self.end();
        } else if must_notify
            && let State::Connected { connection, .. } = &mut self.state
            && let Err(error) = connection.send(Message::text(text))
        {
            self.on_lost(error)?;
        }
        Ok(())
    }

    /// Whether there is a connection on which the server has answered. While there is none,
    /// [`recv`](Subscription::recv) and its variants reconnect.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(
            &self.state,
            State::Connected {
                answered_since: Some(_),
                ..
            }
        )
    }

    /// Host and port of the server that it is connected to; while there is [no
    /// connection](Subscription::is_connected), of the server that is tried next.
    #[must_use]
    pub fn server(&self) -> String {
        self.settings.addresses.at(self.place).to_string()
    }

    /// The name of this subscriber.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Whether the subscription has ended, and nothing more will be delivered.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ready.is_empty() && matches!(self.state, State::Ended)
    }

    /// A handle that closes this subscription from another thread, even while a call waits.
    #[must_use]
    pub fn closer(&self) -> Closer {
        self.close_signal.closer()
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Option<Delivery>, Error> {
        let mut spare_frames = FRAMES_BEYOND_DEADLINE;
        loop {
            if self.close_signal.is_closed() {
                self.end();
                return Err(Error::Closed);
            }
            if let Some(ready) = self.ready.pop_front() {
                return self.deliver_next(ready).map(Some);
            }
            if self.is_exhausted() {
                self.end();
            }
            let is_in_time = match &self.state {
                State::Ended => return Err(Error::Closed),
                State::Connected { .. } => self.read(deadline)?,
                State::Waiting { .. } => self.wait(deadline)?,
                State::Connecting { .. } => self.await_attempt(deadline)?,
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

    fn deliver_next(&mut self, ready: Ready) -> Result<Delivery, Error> {
        match ready {
            Ready::Delivery {
                topic,
                delivery,
                position,
            } => {
                if let Followed::Topics(topics) = &mut self.followed {
                    topics[topic].delivered = position;
                }
                Ok(delivery)
            }
            Ready::Matched { delivery, position } => {
                if let Followed::Pattern(pattern) = &mut self.followed {
                    pattern.on_delivered(&delivery, position);
                }
                Ok(delivery)
            }
            Ready::Failed(error) => {
                // `is_over` must be true at once if this was the last topic.
                if self.is_exhausted() {
                    self.end();
                }
                Err(error)
            }
        }
    }

    /// Whether everything was delivered and all topics have ended.
    fn is_exhausted(&self) -> bool {
        self.ready.is_empty() && self.followed.has_ended()
    }

    /// Ends the subscription; closes the connection, if there is one.
    fn end(&mut self) {
        self.close_signal.clear_stream();
        if let State::Connected { connection, .. } =
            std::mem::replace(&mut self.state, State::Ended)
        {
            connection.close();
        }
    }

    /// Ends the subscription because of `error`. No closing handshake with a server that violates the protocol or does not
    /// answer.
    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        if matches!(error, Error::Protocol { .. } | Error::Timeout { .. }) {
            self.close_signal.clear_stream();
            self.state = State::Ended;
        }
        self.end();
        Err(error)
    }

    /// Reads one frame; `false` if the deadline passed first.
    fn read(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        if self.followed.phases().any(Phase::is_overdue) {
            return self.on_lost(no_ack(self.settings.request_timeout));
        }
        if let Err(error) = self.send_due_subscribes() {
            return self.on_lost(error);
        }
        let State::Connected { connection, .. } = &mut self.state else {
            return Ok(true);
        };
        let due = self.followed.phases().filter_map(Phase::due).min();
        let until = match (deadline, due) {
            (Some(deadline), Some(due)) => Some(deadline.min(due)),
            (deadline, due) => deadline.or(due),
        };
        match connection.receive(until) {
            Ok(Received::Text(text)) => match self.handle(&text, false) {
                Ok(()) => Ok(true),
                // The server cannot serve any of the topics now.
                Err(error) if error.is_temporary() => self.on_lost(error),
                Err(error) => self.fail(error),
            },
            Ok(Received::Ping(_) | Received::Pong) => Ok(true),
            Ok(Received::Nothing) => Ok(deadline.is_none_or(|deadline| Instant::now() < deadline)),
            Ok(Received::Silence) => match connection.ping() {
                Ok(()) => Ok(true),
                Err(error) => self.on_lost(error),
            },
            Err(error) => self.on_lost(error),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}
