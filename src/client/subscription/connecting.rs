//! Connects, subscribes to the topics, and reconnects after a loss.

use std::time::{Duration, Instant};

use crossbeam_channel::{at, select};
use tungstenite::Message;

use super::{State, Subscription};
use crate::client::Error;
use crate::client::connect::{ConnectAttempt, Ws, panicked};
use crate::client::connection::{Connection, Received};
use crate::client::phase::Phase;
use crate::client::reconnect::RetryState;
use crate::client::wire::SubscriberFields;

impl Subscription {
    /// Waits for the first connection and its acks. Returns the first error, without a retry.
    pub(super) fn await_acks(&mut self) -> Result<(), Error> {
        let State::Connecting { attempt, .. } = &self.state else {
            return Ok(());
        };
        let ws = attempt.wait(attempt.deadline)?;
        self.use_connection(ws, RetryState::new())?;
        let ack_timeout = self.settings.addresses.share(self.settings.request_timeout);
        let deadline = Instant::now() + ack_timeout;
        // Deliveries of topics that are acknowledged are queued meanwhile.
        while self.followed.phases().any(Phase::is_subscribing) {
            let State::Connected { connection, .. } = &mut self.state else {
                break;
            };
            match connection.receive(Some(deadline))? {
                Received::Text(text) => self.handle(&text, true)?,
                Received::Silence => connection.ping()?,
                Received::Nothing | Received::Ping(_) | Received::Pong => {}
            }
            if Instant::now() >= deadline {
                return Err(no_ack(ack_timeout));
            }
        }
        Ok(())
    }

    /// The connection was lost, or is of no use. Reconnects if the policy allows it.
    pub(super) fn on_lost(&mut self, error: Error) -> Result<bool, Error> {
        if self.close_signal.is_closed() {
            return Ok(true);
        }
        let retry = match &self.state {
            State::Connected {
                answered_since: Some(since),
                retry,
                ..
            } => retry.after(*since, self.settings.backoff),
            // A connection without an answer counts as a failed attempt.
            State::Connected { retry, .. } => *retry,
            _ => RetryState::new(),
        };
        self.close_signal.clear_stream();
        self.state = State::Ended;
        if !error.is_temporary() {
            return Err(error);
        }
        self.followed.on_disconnect();
        self.schedule_attempt(retry, error)
    }

    fn schedule_attempt(&mut self, mut retry: RetryState, error: Error) -> Result<bool, Error> {
        if !self
            .settings
            .reconnect
            .allows_attempt(retry.since.elapsed())
        {
            return self.fail(error);
        }
        let addresses = &self.settings.addresses;
        let next = retry.next(self.settings.backoff, addresses.count());
        self.place = addresses.after(self.place);
        self.state = State::Waiting { retry, next };
        Ok(true)
    }

    /// Waits until the next attempt may begin, then starts it.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let State::Waiting { retry, next } = self.state else {
            return Ok(true);
        };
        let until = deadline.map_or(next, |deadline| deadline.min(next));
        self.close_signal.wait_until(until);
        if Instant::now() >= next {
            let attempt = match ConnectAttempt::start(&self.settings, self.place) {
                Ok(attempt) => attempt,
                Err(error) => return self.fail(error),
            };
            self.state = State::Connecting { retry, attempt };
        }
        Ok(deadline.is_none_or(|deadline| Instant::now() < deadline))
    }

    pub(super) fn await_attempt(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        let State::Connecting { retry, attempt } = &self.state else {
            return Ok(true);
        };
        let retry = *retry;
        let until = deadline.map_or(attempt.deadline, |deadline| deadline.min(attempt.deadline));
        let result = select! {
            recv(attempt.result) -> result => result.unwrap_or_else(|_| Err(panicked())),
            recv(self.close_signal.closed()) -> _ => return Ok(true),
            recv(at(until)) -> _ => match Instant::now() < attempt.deadline {
                true => return Ok(false),
                false => Err(attempt.timed_out(until)),
            },
        };
        match result {
            Ok(ws) => match self.use_connection(ws, retry) {
                Ok(()) => Ok(true),
                Err(error) => self.on_lost(error),
            },
            Err(error) if !error.is_temporary() => self.fail(error),
            Err(error) => self.schedule_attempt(retry, error),
        }
    }

    /// The server has answered a subscribe.
    pub(super) fn note_answer(&mut self) {
        if let State::Connected { answered_since, .. } = &mut self.state {
            answered_since.get_or_insert_with(Instant::now);
        }
    }

    fn use_connection(&mut self, ws: Ws, retry: RetryState) -> Result<(), Error> {
        let connection =
            Connection::new(ws, self.settings.heartbeat, self.settings.connect_timeout);
        self.close_signal.set_stream(connection.stream());
        self.state = State::Connected {
            connection: Box::new(connection),
            answered_since: None,
            retry,
        };
        self.send_due_subscribes()
    }

    pub(super) fn send_due_subscribes(&mut self) -> Result<(), Error> {
        let State::Connected { connection, .. } = &mut self.state else {
            return Ok(());
        };
        let phases = self.followed.phases().enumerate();
        let due: Vec<usize> = phases
            .filter_map(|(index, phase)| phase.is_due().then_some(index))
            .collect();
        for index in due {
            let request_id = format!("{index}.{}", self.subscribes_sent);
            self.subscribes_sent += 1;
            let followed = &mut self.followed;
            let subscriber = SubscriberFields {
                client_id: &self.client_id,
                presence: self.presence,
                request_id: &request_id,
            };
            let text = followed.subscribe_request(index, subscriber)?;
            connection.send(Message::text(text))?;
            if let Some(phase) = followed.phases_mut().nth(index) {
                phase.on_subscribe_sent(Instant::now() + self.settings.request_timeout);
            }
        }
        Ok(())
    }
}

pub(super) fn no_ack(after: Duration) -> Error {
    Error::Timeout { what: "ack", after }
}
