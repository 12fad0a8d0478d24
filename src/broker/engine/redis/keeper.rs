//! The keeper of a Redis: the thread that connects, checks what it finds, brings the node up to date, says that the node
//! lives, and connects again when a connection fails.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::redis::cmd;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::connect::{CONNECT_TIMEOUT, Dialer, Server};
use super::shard::Shard;
use super::{health, node, scripts};
use crate::sync::Arc;

/// How often the node says that it lives, and looks after what is its own.
pub(super) const TICK: Duration = Duration::from_secs(2);
/// The pause between two attempts to connect is a random part of a time that grows up to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// An event for the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A connection failed, or Redis cannot do what it is for.
    Failed,
    Stop,
}

pub(super) struct Keeper {
    pub(super) shard: Arc<Shard>,
    pub(super) dialer: Dialer,
    pub(super) events: Receiver<Event>,
}

impl Keeper {
    pub(super) fn run(&mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let ended = self.serve();
            if ended == Some(Event::Stop) {
                return;
            }
            if began.elapsed() > MAX_PAUSE * 5 {
                pause = FIRST_PAUSE;
            }
            let some = pause.mul_f64(random_part());
            if self.wait_until(Instant::now() + some) == Some(Event::Stop) {
                return;
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Connects and serves until the connections fail or the node stops.
    fn serve(&mut self) -> Option<Event> {
        let shard = &Arc::clone(&self.shard);
        // What failed belongs to connections that are gone.
        while let Ok(event) = self.events.try_recv() {
            if event == Event::Stop {
                return Some(Event::Stop);
            }
        }
        let (server, link) = match self.connect() {
            Ok(connected) => connected,
            Err(reason) => {
                shard.down(&reason);
                return None;
            }
        };
        let ended = match shard.bring_up_to_date() {
            Ok(()) => {
                shard.up();
                // Now the others may know that this node has joined.
                let _ = shard.heartbeat();
                self.look_after(&server)
            }
            Err(reason) => Err(reason.to_owned()),
        };
        match &ended {
            Ok(()) => shard.say_goodbye(),
            Err(reason) => shard.down(reason),
        }
        shard.disconnect();
        let _ = link.join();
        ended.is_ok().then_some(Event::Stop)
    }

    /// Ticks until the node stops, something fails, or another server is the master: then says what.
    fn look_after(&mut self, server: &Server) -> Result<(), String> {
        loop {
            match self.wait_until(Instant::now() + TICK) {
                Some(Event::Stop) => return Ok(()),
                Some(Event::Failed) => return Err("a connection to it failed".to_owned()),
                None => self.shard.tick()?,
            }
            self.dialer.check(server)?;
        }
    }

    fn wait_until(&self, moment: Instant) -> Option<Event> {
        match self.events.recv_deadline(moment) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Stop),
        }
    }

    /// Finds the Redis and connects to it. Returns it and the thread of the link.
    fn connect(&mut self) -> Result<(Server, JoinHandle<()>), String> {
        let server = self.dialer.find()?;
        match self.connect_to(&server) {
            Ok(link) => Ok((server, link)),
            Err(reason) => Err(server.explain(reason)),
        }
    }

    /// Opens the connections, and starts the link. Returns its thread.
    fn connect_to(&self, server: &Server) -> Result<JoinHandle<()>, String> {
        let shard = &self.shard;
        let mut connection = server.open()?;
        health::check(&mut connection, shard)?;
        scripts::load(&mut connection).map_err(|error| error.to_string())?;
        shard.publishes.lane.open(connection);
        shard.lane.open(server.open()?);
        // Also the first measurement of the latency.
        shard
            .lane
            .one(cmd("PING"))
            .map_err(|_| "it does not answer".to_owned())?;
        node::join_peers(shard)?;
        let mut connection = server.open()?;
        let (ready, is_ready) = crossbeam_channel::bounded(1);
        let (shard, name) = (Arc::clone(shard), format!("redis-link-{}", shard.at));
        let link = thread::Builder::new().name(name).spawn(move || {
            shard.run_link(&mut connection, || {
                let _ = ready.send(());
            });
        });
        let link = link.map_err(|error| error.to_string())?;
        match is_ready.recv_timeout(CONNECT_TIMEOUT * 2) {
            Ok(()) => Ok(link),
            Err(_) => {
                self.shard.disconnect();
                let _ = link.join();
                Err("it takes no subscriptions".to_owned())
            }
        }
    }
}

/// From 0 to 1.
fn random_part() -> f64 {
    let number = uuid::Uuid::new_v4().as_u64_pair().0;
    (number >> 11) as f64 / (1_u64 << 53) as f64
}
