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
/// How long a link that ends waits for the answer that it follows no channel any more.
const LAST_ANSWER: Duration = Duration::from_millis(1);
/// The most channels in one command.
const CHANNELS_AT_ONCE: usize = 500;

#[derive(Default)]
pub(crate) struct Link {
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
    pub(crate) fn follow(
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
    pub(crate) fn leave(&self, channel: String) {
        let mut state = self.state.lock();
        if state.wanted.remove(&channel) && state.is_up {
            state.ask(Change::Leave(channel));
        }
    }

    /// Ends the waits of all who follow: the connection is gone.
    pub(crate) fn down(&self) {
        let mut state = self.state.lock();
        state.is_up = false;
        state.changes.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Follows these channels, of which one is the node's own, and all wanted ones on a new connection. Then `ready` is called, and `receive` with each
    /// message, until the connection fails or `is_over`. Returns late if the connection is slow; nothing is received then.
    pub(crate) fn run(
        self: &Arc<Self>,
        connection: &mut Connection,
        always: &[String],
        ready: impl FnOnce(),
        receive: impl Fn(Msg),
        is_over: impl Fn() -> bool,
    ) -> Result<(), RedisError> {
        connection.set_write_timeout(Some(SILENCE))?;
        let mut link = connection.as_pubsub();
        link.set_read_timeout(Some(SILENCE))?;
        let ended = self.serve(&mut link, always, ready, receive, is_over);
        // The link is dropped when it follows nothing any more, which is behind all that is under way.
        let _ = link.set_read_timeout(Some(LAST_ANSWER));
        ended
    }

    fn serve(
        &self,
        link: &mut ::redis::PubSub<'_>,
        always: &[String],
        ready: impl FnOnce(),
        receive: impl Fn(Msg),
        is_over: impl Fn() -> bool,
    ) -> Result<(), RedisError> {
        link.subscribe(always)?;
        let (number, wanted) = self.up();
        for channels in wanted.chunks(CHANNELS_AT_ONCE) {
            link.subscribe(channels)?;
        }
        ready();
        while !is_over() {
            self.carry_out(link, number)?;
            match link.get_message() {
                Ok(_) if is_over() => {}
                Ok(message) => receive(message),
                Err(error) if error.is_timeout() => link.ping::<Value>().map(drop)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Begins another link. Returns its number and the channels that it is to follow.
    fn up(&self) -> (u64, Vec<String>) {
        let mut state = self.state.lock();
        state.changes.clear();
        (state.asked, state.done) = (0, 0);
        state.number += 1;
        state.is_up = true;
        (state.number, state.wanted.iter().cloned().collect())
    }

    fn carry_out(&self, link: &mut ::redis::PubSub<'_>, number: u64) -> Result<(), RedisError> {
        let mut state = self.state.lock();
        if state.changes.is_empty() || state.number != number {
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
        let mut state = self.state.lock();
        if state.number == number {
            state.done = asked;
        }
        drop(state);
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
