//! The link: the connection over which a node receives what is published to the channels that it follows.
//!
//! A blocking client cannot subscribe while it waits for a message. So whoever wants a channel adds it to a list and sends a
//! message to the node's own channel, which wakes the link.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ::redis::{Connection, Msg, RedisError, Value};
use parking_lot::{Condvar, Mutex};

use crate::broker::engine::Unavailable;
use crate::sync::Arc;

/// How long the link waits for a message before it makes sure that the connection lives.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a subscribe may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(1500);
/// The most channels in one command.
const CHANNELS_AT_ONCE: usize = 500;

#[derive(Default)]
pub(super) struct Link {
    state: Mutex<State>,
    /// A change was carried out, or the link is down.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_up: bool,
    /// The channels of all mirrors. A new link follows them from its start.
    wanted: HashSet<String>,
    /// Changes that are not carried out yet, in order.
    changes: Vec<Change>,
    /// How many changes were asked for, and how many were carried out, in the life of this link.
    asked: u64,
    done: u64,
    /// The number of the link: changes of an older link are void.
    number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Follow(String),
    Leave(String),
}

impl Link {
    /// Follows a channel. `wake` sends a message to the node's own channel. Returns when everything that is published from
    /// now on will arrive.
    pub(super) fn follow(
        &self,
        channel: String,
        wake: impl FnOnce() -> Result<(), Unavailable>,
    ) -> Result<(), Unavailable> {
        let mut state = self.state.lock();
        if !state.is_up {
            return Err(Unavailable);
        }
        state.wanted.insert(channel.clone());
        let (number, asked) = state.ask(Change::Follow(channel));
        drop(state);
        wake()?;
        let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
        let mut state = self.state.lock();
        loop {
            if !state.is_up || state.number != number {
                return Err(Unavailable);
            }
            if state.done >= asked {
                return Ok(());
            }
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return Err(Unavailable);
            }
        }
    }

    /// Leaves a channel, some time.
    pub(super) fn leave(&self, channel: String) {
        let mut state = self.state.lock();
        state.wanted.remove(&channel);
        if state.is_up {
            state.ask(Change::Leave(channel));
        }
    }

    /// Ends the waits of all who follow: the connection is gone.
    pub(super) fn down(&self) {
        let mut state = self.state.lock();
        state.is_up = false;
        state.changes.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Follows the node's own channel and all wanted ones on a new connection. Then `ready` is called, and `receive` with each
    /// message, until the connection fails or `is_over`.
    pub(super) fn run(
        self: &Arc<Self>,
        connection: &mut Connection,
        own_channel: &str,
        ready: impl FnOnce(),
        receive: impl Fn(Msg),
        is_over: impl Fn() -> bool,
    ) -> Result<(), RedisError> {
        connection.set_write_timeout(Some(SILENCE))?;
        let mut link = connection.as_pubsub();
        link.set_read_timeout(Some(SILENCE))?;
        link.subscribe(own_channel)?;
        let wanted: Vec<String> = {
            let mut state = self.state.lock();
            state.changes.clear();
            (state.asked, state.done) = (0, 0);
            state.number += 1;
            state.is_up = true;
            state.wanted.iter().cloned().collect()
        };
        for channels in wanted.chunks(CHANNELS_AT_ONCE) {
            link.subscribe(channels)?;
        }
        ready();
        while !is_over() {
            self.carry_out(&mut link)?;
            match link.get_message() {
                Ok(message) => receive(message),
                Err(error) if error.is_timeout() => link.ping::<Value>().map(drop)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn carry_out(&self, link: &mut ::redis::PubSub<'_>) -> Result<(), RedisError> {
        let mut state = self.state.lock();
        if state.changes.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut state.changes);
        let asked = state.asked;
        drop(state);
        let is_follow = |change: &Change| matches!(change, Change::Follow(_));
        for run in changes.chunk_by(|a, b| is_follow(a) == is_follow(b)) {
            for part in run.chunks(CHANNELS_AT_ONCE) {
                let channels: Vec<&str> = part.iter().map(Change::channel).collect();
                match is_follow(&part[0]) {
                    true => link.subscribe(channels)?,
                    false => link.unsubscribe(channels)?,
                }
            }
        }
        self.state.lock().done = asked;
        self.changed.notify_all();
        Ok(())
    }
}

impl State {
    fn ask(&mut self, change: Change) -> (u64, u64) {
        self.changes.push(change);
        self.asked += 1;
        (self.number, self.asked)
    }
}

impl Change {
    fn channel(&self) -> &str {
        match self {
            Change::Follow(channel) | Change::Leave(channel) => channel,
        }
    }
}
