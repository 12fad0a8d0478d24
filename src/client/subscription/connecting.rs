//! From one connection to the next: dialing, asking for the topics, and what follows a loss.

use std::time::Instant;

use crossbeam_channel::{at, never, select};
use tungstenite::Message;

use super::{State, Subscription};
use crate::client::Error;
use crate::client::dialing::{Dialing, Ws};
use crate::client::followed::{Followed, Phase};
use crate::client::line::{Heard, Line};
use crate::client::reconnect::Recovery;

impl Subscription {
    /// The first connection: whatever goes wrong is told at once.
    pub(super) fn await_acks(&mut self) -> Result<(), Error> {
        let connect_by = Instant::now() + self.settings.connect_timeout;
        let State::Dialing { dialing, .. } = &self.state else {
            return Ok(());
        };
        let dialed = dialing.result.recv_deadline(connect_by);
        let ws = dialed.map_err(|_| self.timeout("connection"))??;
        self.go_up(ws, Recovery::new())?;
        let deadline = Instant::now() + self.settings.request_timeout;
        let is_asked = |topic: &Followed| matches!(topic.phase, Phase::Asked { .. });
        // What comes of the topics that are answered waits meanwhile: it is what was asked for.
        while self.topics.iter().any(is_asked) {
            let State::Up { line, .. } = &mut self.state else {
                break;
            };
            match line.receive(Some(deadline))? {
                Heard::Text(text) => self.take(&text, true)?,
                Heard::Silence => line.ping()?,
                Heard::Nothing | Heard::Ping(_) | Heard::Pong => {}
            }
            if Instant::now() >= deadline {
                return Err(self.timeout("ack"));
            }
        }
        Ok(())
    }

    pub(super) fn timeout(&self, what: &'static str) -> Error {
        let after = match what {
            "ack" => self.settings.request_timeout,
            _ => self.settings.connect_timeout,
        };
        Error::Timeout { what, after }
    }

    /// The connection is gone. Whether another follows is the policy's business.
    pub(super) fn lose(&mut self, error: Error) -> Result<bool, Error> {
        if self.stop.is_called() {
            return Ok(true);
        }
        let recovery = match &self.state {
            State::Up {
                answered_since: Some(since),
                recovery,
                ..
            } => recovery.after(*since, self.settings.pauses),
            // It was there, but of no use: one more attempt that failed.
            State::Up { recovery, .. } => *recovery,
            _ => Recovery::new(),
        };
        self.stop.forget_stream();
        self.state = State::Over;
        if !error.is_temporary() {
            return Err(error);
        }
        self.topics.iter_mut().for_each(Followed::disconnect);
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
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
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

    pub(super) fn await_dialing(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
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
            Ok(Err(error)) if !error.is_temporary() => self.fail(error),
            Ok(Err(error)) => self.try_later(recovery, error),
            Err(_) => self.try_later(recovery, Error::lost(None, "the attempt failed")),
        }
    }

    /// The server has answered: the connection is of use.
    pub(super) fn note_answer(&mut self) {
        if let State::Up { answered_since, .. } = &mut self.state {
            answered_since.get_or_insert_with(Instant::now);
        }
    }

    fn go_up(&mut self, ws: Ws, recovery: Recovery) -> Result<(), Error> {
        let line = Line::new(ws, self.settings.heartbeat, self.settings.connect_timeout);
        self.stop.remember_stream(line.stream());
        self.state = State::Up {
            line: Box::new(line),
            answered_since: None,
            recovery,
        };
        self.ask_for_what_is_due()
    }

    pub(super) fn ask_for_what_is_due(&mut self) -> Result<(), Error> {
        let State::Up { line, .. } = &mut self.state else {
            return Ok(());
        };
        for (index, topic) in self.topics.iter_mut().enumerate() {
            if topic.is_due() {
                let request_id = format!("{index}.{}", self.asked);
                self.asked += 1;
                let text = topic.request(&self.client_id, &request_id)?;
                line.send(Message::text(text))?;
                topic.ask(Instant::now() + self.settings.request_timeout);
            }
        }
        Ok(())
    }
}
