//! The publishing connection of a client, and its replacement: opens it with the first message, and again after a loss, at the
//! next address.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use super::Error;
use super::addresses::{Addresses, Place, fair_deadline};
use super::connect::ConnectAttempt;
use super::publish_connection::PublishConnection;
use super::reconnect::RetryState;
use super::settings::Settings;

#[derive(Debug)]
pub(super) struct PublishLink {
    settings: Arc<Settings>,
    /// Locked while a connection is opened, so that there is only one.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The connection for new messages.
    connection: Option<Arc<PublishConnection>>,
    /// Where it is, or where the next one is opened; `None` before the first.
    place: Option<Place>,
    /// Connections to servers that became unavailable, which still wait for answers.
    left: Vec<Arc<PublishConnection>>,
}

impl PublishLink {
    pub(super) fn new(settings: Arc<Settings>) -> PublishLink {
        PublishLink {
            settings,
            state: Mutex::default(),
        }
    }

    /// The open connection, or a new one. The policy applies when each address has failed once.
    pub(super) fn connection(&self, deadline: Instant) -> Result<Arc<PublishConnection>, Error> {
        let Some(mut state) = self.state.try_lock_until(deadline) else {
            return Err(self.timeout());
        };
        if let Some(connection) = &state.connection
            && connection.is_usable()
        {
            return Ok(Arc::clone(connection));
        }
        let addresses = &self.settings.addresses;
        state.leave(addresses);
        let mut retry = RetryState::new();
        loop {
            let untried = retry.untried(addresses.count());
            let place = *state.place.get_or_insert_with(|| addresses.working());
            let error = match self.dial(place, fair_deadline(deadline, untried)) {
                Ok(connection) => return Ok(Arc::clone(state.connection.insert(connection))),
                Err(error) if !error.is_temporary() => return Err(error),
                Err(error) => error,
            };
            state.place = Some(addresses.after(place));
            if Instant::now() >= deadline || untried == 1 && !self.may_wait(&retry) {
                return Err(error);
            }
            pause(
                retry.next(self.settings.backoff, addresses.count()),
                deadline,
            );
        }
    }

    fn may_wait(&self, retry: &RetryState) -> bool {
        let failing_for = retry.since.elapsed();
        self.settings.reconnect.allows_attempt(failing_for)
    }

    fn dial(&self, to: Place, limit: Instant) -> Result<Arc<PublishConnection>, Error> {
        let attempt = ConnectAttempt::start(&self.settings, to)?;
        PublishConnection::start(attempt.wait(limit)?, &self.settings)
    }

    fn timeout(&self) -> Error {
        Error::Timeout {
            what: "connection",
            after: self.settings.request_timeout,
        }
    }
}

impl State {
    /// Gives up the connection, if there is one. The next one is opened at the next address, unless the reason is one that every
    /// server would have.
    fn leave(&mut self, addresses: &Addresses) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.may_work_elsewhere() {
            self.place = self.place.map(|place| addresses.after(place));
        }
        self.left.push(connection);
        // Joins the threads of those that have ended.
        let ended = self.left.extract_if(.., |left| left.has_ended());
        ended.for_each(|ended| ended.close());
    }
}

impl Drop for PublishLink {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let connections = state.left.drain(..).chain(state.connection.take());
        connections.for_each(|connection| connection.close());
    }
}

/// Waits until `until`, but not beyond the deadline.
pub(super) fn pause(until: Instant, deadline: Instant) {
    let end = until.min(deadline);
    thread::sleep(end.saturating_duration_since(Instant::now()));
}
