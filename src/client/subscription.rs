//! Following topics: events and gaps, in order, across as many connections as it takes.
//!
//! Everything is read on the caller's thread, straight from the socket. There is no queue in between in which
//! events could pile up unseen: a caller that does not read is a slow consumer to the server, which tells it the gap.

mod intake;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{at, never, select};
use tungstenite::Message;

use super::Error;
use super::closer::{Closer, Stop};
use super::deliveries::{Deliveries, Delivery};
use super::dialing::{Dialing, Ws};
use super::followed::{Followed, Phase};
use super::line::{Heard, Line};
use super::position::Position;
use super::reconnect::Recovery;
use super::settings::Settings;

/// How much `open` reads ahead while it waits for the acks; those that are not there by then are awaited later.
const READ_AHEAD: usize = 256;

/// One or more topics, followed; made by [`Client::subscribe`](super::Client::subscribe) or
/// [`Subscriber::open`](super::Subscriber::open).
///
/// Reconnects by itself and goes on behind the last delivery. Dropped, it says goodbye to the server, which takes a
/// second at most.
#[derive(Debug)]
pub struct Subscription {
    settings: Arc<Settings>,
    client_id: String,
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
        since: Instant,
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

impl Subscription {
    pub(super) fn open(
        settings: Arc<Settings>,
        client_id: String,
        topics: Vec<Followed>,
    ) -> Result<Subscription, Error> {
        let mut subscription = Subscription {
            state: State::Dialing {
                recovery: Recovery::new(),
                dialing: Dialing::start(&settings)?,
            },
            settings,
            client_id,
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

    /// The first connection: whatever goes wrong is told at once.
    fn await_acks(&mut self) -> Result<(), Error> {
        let connect_by = Instant::now() + self.settings.connect_timeout;
        let State::Dialing { dialing, .. } = &self.state else {
            return Ok(());
        };
        let dialed = dialing.result.recv_deadline(connect_by);
        let ws = dialed.map_err(|_| self.timeout("connection"))??;
        self.go_up(ws, Recovery::new())?;
        let deadline = Instant::now() + self.settings.request_timeout;
        let is_unanswered = |topic: &Followed| matches!(topic.phase, Phase::Asked);
        while self.topics.iter().any(is_unanswered) && self.ready.len() < READ_AHEAD {
            let State::Up { line, .. } = &mut self.state else {
                break;
            };
            match line.receive(Some(deadline))? {
                Heard::Text(text) => self.take(&text, true)?,
                Heard::Nothing => return Err(self.timeout("ack")),
                Heard::Silence => line.ping()?,
                Heard::Ping(_) => {}
            }
        }
        Ok(())
    }

    fn timeout(&self, what: &'static str) -> Error {
        let after = match what {
            "ack" => self.settings.request_timeout,
            _ => self.settings.connect_timeout,
        };
        Error::Timeout { what, after }
    }

    /// Waits for the next delivery as long as it takes.
    ///
    /// # Errors
    /// [`Error::Ended`] tells that one topic is over; the others go on, and this can be called again. After the
    /// last of them, and after any other error, the subscription is over: [`is_over`](Subscription::is_over).
    /// [`Error::Closed`] from then on.
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
        loop {
            if self.stop.is_called() {
                self.end();
                return Err(Error::Closed);
            }
            if let Some(ready) = self.ready.pop_front() {
                return self.hand_out(ready).map(Some);
            }
            if self.topics.iter().all(Followed::is_over) {
                self.end();
            }
            let is_in_time = match &self.state {
                State::Over => return Err(Error::Closed),
                State::Up { .. } => self.read(deadline)?,
                State::Down { .. } => self.wait(deadline)?,
                State::Dialing { .. } => self.await_dialing(deadline)?,
            };
            if !is_in_time {
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
                if self.ready.is_empty() && self.topics.iter().all(Followed::is_over) {
                    self.end();
                }
                Err(error)
            }
        }
    }

    /// Says goodbye, if there is somebody to say it to.
    fn end(&mut self) {
        self.stop.forget_stream();
        if let State::Up { line, .. } = std::mem::replace(&mut self.state, State::Over) {
            line.close();
        }
    }

    /// Over, because of `error`. Nobody waits for the goodbye of a server that talks nonsense.
    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        if matches!(error, Error::Protocol { .. }) {
            self.stop.forget_stream();
            self.state = State::Over;
        }
        self.end();
        Err(error)
    }

    /// Reads one frame; `false` when the deadline came first.
    fn read(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
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
            Ok(Heard::Ping(_)) => Ok(true),
            Ok(Heard::Nothing) => Ok(deadline.is_none_or(|deadline| Instant::now() < deadline)),
            Ok(Heard::Silence) => match line.ping() {
                Ok(()) => Ok(true),
                Err(error) => self.lose(error),
            },
            Err(error) => self.lose(error),
        }
    }

    /// The connection is gone. Whether another follows is the policy's business.
    fn lose(&mut self, error: Error) -> Result<bool, Error> {
        if self.stop.is_called() {
            return Ok(true);
        }
        let (since, recovery) = match &self.state {
            State::Up {
                since, recovery, ..
            } => (*since, *recovery),
            _ => (Instant::now(), Recovery::new()),
        };
        self.stop.forget_stream();
        self.state = State::Over;
        if !error.may_pass() {
            return Err(error);
        }
        self.topics.iter_mut().for_each(Followed::disconnect);
        let recovery = recovery.after(since, self.settings.pauses);
        self.try_later(recovery, error)
    }

    fn try_later(&mut self, mut recovery: Recovery, error: Error) -> Result<bool, Error> {
        if !self.settings.reconnect.goes_on(recovery.since.elapsed()) {
            return self.fail(error);
        }
        let next = recovery.next(self.settings.pauses);
        self.state = State::Down { recovery, next };
        Ok(true)
    }

    /// Lets the pause before the next attempt pass.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let State::Down { recovery, next } = self.state else {
            return Ok(true);
        };
        let until = deadline.map_or(next, |deadline| deadline.min(next));
        self.stop.wait_until(until);
        if Instant::now() >= next {
            let dialing = match Dialing::start(&self.settings) {
                Ok(dialing) => dialing,
                Err(error) => return self.fail(error),
            };
            self.state = State::Dialing { recovery, dialing };
        }
        Ok(deadline.is_none_or(|deadline| Instant::now() < deadline))
    }

    fn await_dialing(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let State::Dialing { recovery, dialing } = &self.state else {
            return Ok(true);
        };
        let recovery = *recovery;
        let time_is_up = deadline.map_or_else(never, at);
        let dialed = select! {
            recv(dialing.result) -> dialed => dialed,
            recv(self.stop.called()) -> _ => return Ok(true),
            recv(time_is_up) -> _ => return Ok(false),
        };
        match dialed {
            Ok(Ok(ws)) => match self.go_up(ws, recovery) {
                Ok(()) => Ok(true),
                Err(error) => self.lose(error),
            },
            Ok(Err(error)) if !error.may_pass() => self.fail(error),
            Ok(Err(error)) => self.try_later(recovery, error),
            Err(_) => self.try_later(recovery, Error::lost(None, "the attempt failed")),
        }
    }

    fn go_up(&mut self, ws: Ws, recovery: Recovery) -> Result<(), Error> {
        let line = Line::new(ws, self.settings.heartbeat, self.settings.connect_timeout);
        self.stop.remember_stream(line.stream());
        self.state = State::Up {
            line: Box::new(line),
            since: Instant::now(),
            recovery,
        };
        self.ask_for_what_is_due()
    }

    fn ask_for_what_is_due(&mut self) -> Result<(), Error> {
        let State::Up { line, .. } = &mut self.state else {
            return Ok(());
        };
        for (index, topic) in self.topics.iter_mut().enumerate() {
            if topic.is_due() {
                let request_id = format!("{index}.{}", self.asked);
                self.asked += 1;
                let text = topic.request(&self.client_id, &request_id)?;
                line.send(Message::text(text))?;
                topic.phase = match std::mem::replace(&mut topic.phase, Phase::Asked) {
                    // Asked again: the attempts go on being counted, until there is an answer.
                    Phase::Missing { recovery, .. } => Phase::Missing {
                        recovery,
                        again: Instant::now() + self.settings.request_timeout,
                    },
                    _ => Phase::Asked,
                };
            }
        }
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}
