//! The keeper of a Redis: the thread that connects, checks what it finds, brings the node up to date, says that the node
//! lives, and connects again when a connection fails.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::redis::{Connection, cmd};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::connect::{CONNECT_TIMEOUT, Dialer, Server};
use super::failure;
use super::health;
use crate::broker::engine::redis::topics::{self, Defaults};
use crate::broker::engine::redis::{members::node, scripts, shard::Shard};
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicBool, Ordering};

/// How often the node says that it lives, and looks after what is its own.
pub(crate) const TICK: Duration = Duration::from_secs(2);
/// The pause between two attempts to connect is a random part of a time that grows up to this.
const MAX_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long a link that is given up may take to end. One whose connection is slow still reads what is under way.
const LINK_END: Duration = Duration::from_secs(2);

pub(crate) const CONNECTION_FAILED: &str = "a connection to it failed";

/// An event for the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A connection failed, or Redis cannot do what it is for.
    Failed,
    Stop,
}

pub(crate) struct Keeper {
    pub(crate) shard: Arc<Shard>,
    pub(crate) dialer: Dialer,
    pub(crate) events: Receiver<Event>,
    /// Taken when the topics that exist from the start were created.
    pub(crate) declared: Option<Arc<Declared>>,
}

/// The topics that exist from the start.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) topics: Vec<TopicName>,
    pub(crate) defaults: Defaults,
}

impl Keeper {
    pub(crate) fn run(&mut self) {
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
        shard.failure.take();
        while let Ok(event) = self.events.try_recv() {
            if event == Event::Stop {
                return Some(Event::Stop);
            }
        }
        let (server, link) = match self.connect() {
            Ok(connected) => connected,
            Err(reason) => {
                shard.status.down(&shard.failure.take().unwrap_or(reason));
                return None;
            }
        };
        let up_to_date = shard.bring_up_to_date();
        let ended = match up_to_date.and_then(|()| self.declare()) {
            Ok(()) => {
                shard.up();
                // Now the others may know that this node has joined.
                let _ = shard.heartbeat();
                self.look_after(&server)
            }
            Err(reason) => Err(shard.failure.take().unwrap_or_else(|| reason.to_owned())),
        };
        match &ended {
            Ok(()) => shard.say_goodbye(),
            Err(reason) => shard.status.down(reason),
        }
        link.end(shard);
        ended.is_ok().then_some(Event::Stop)
    }

    /// Creates the topics that exist from the start, once.
    fn declare(&mut self) -> Result<(), &'static str> {
        let shard = &self.shard;
        if let Some(declared) = &self.declared {
            for topic in declared.topics.iter().filter(|topic| shard.has(topic)) {
                topics::declare(shard, topic, &declared.defaults)
                    .map_err(|_| "it does not take the topics that exist from the start")?;
            }
        }
        self.declared = None;
        Ok(())
    }

    /// Ticks until the node stops, something fails, or another server is the master: then says what.
    fn look_after(&mut self, server: &Server) -> Result<(), String> {
        loop {
            let ticked = match self.wait_until(Instant::now() + TICK) {
                Some(Event::Stop) => return Ok(()),
                Some(Event::Failed) => Err(CONNECTION_FAILED),
                None => self.shard.tick(),
            };
            // What a connection met says more.
            ticked.map_err(|reason| {
                let met = self.shard.failure.take();
                met.unwrap_or_else(|| reason.to_owned())
            })?;
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
    fn connect(&mut self) -> Result<(Server, LinkThread), String> {
        let server = self.dialer.find()?;
        match self.connect_to(&server) {
            Ok(link) => Ok((server, link)),
            Err(reason) => Err(server.explain(reason)),
        }
    }

    /// Opens the connections, and starts the link. Returns its thread.
    fn connect_to(&self, server: &Server) -> Result<LinkThread, String> {
        let shard = &self.shard;
        let mut connection = server.open()?;
        health::check(&mut connection, shard)?;
        scripts::load(&mut connection).map_err(|error| failure::of_error(&error))?;
        let reopen = || {
            let (server, runs) = (server.clone(), Arc::clone(&shard.runs));
            Box::new(move || server.reopen(&runs))
        };
        shard.publishes.lane.open(connection, reopen());
        shard.lane.open(server.open()?, reopen());
        // Also the first measurement of the latency.
        shard
            .lane
            .one(cmd("PING"))
            .map_err(|_| "it does not answer".to_owned())?;
        node::join_peers(shard)?;
        let (link, is_ready) = LinkThread::start(shard, server.open()?)?;
        match is_ready.recv_timeout(CONNECT_TIMEOUT * 2) {
            Ok(()) => Ok(link),
            Err(_) => {
                link.end(shard);
                Err("it takes no subscriptions".to_owned())
            }
        }
    }
}

/// The thread of a link.
struct LinkThread {
    thread: JoinHandle<()>,
    /// It is given up: it receives nothing any more, and ends.
    is_over: Arc<AtomicBool>,
    /// Disconnected when it has ended.
    ended: Receiver<()>,
}

impl LinkThread {
    /// The receiver gets a message when the link follows all channels.
    fn start(
        shard: &Arc<Shard>,
        mut connection: Connection,
    ) -> Result<(LinkThread, Receiver<()>), String> {
        let (ready, is_ready) = bounded(1);
        let (ending, ended) = bounded(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let run = {
            let (shard, is_over) = (Arc::clone(shard), Arc::clone(&is_over));
            move || {
                shard.run_link(&mut connection, &is_over, || {
                    let _ = ready.send(());
                });
                drop::<Sender<()>>(ending);
            }
        };
        let name = format!("redis-link-{}", shard.at);
        let thread = thread::Builder::new().name(name).spawn(run);
        let thread = thread.map_err(|error| error.to_string())?;
        let link = LinkThread {
            thread,
            is_over,
            ended,
        };
        Ok((link, is_ready))
    }

    /// Closes all connections of the shard, and waits for the thread, but not for long.
    fn end(self, shard: &Shard) {
        self.is_over.store(true, Ordering::Release);
        shard.disconnect();
        match self.ended.recv_timeout(LINK_END) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(redis = shard.at, "a slow link is left to end by itself");
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                let _ = self.thread.join();
            }
        }
    }
}

/// From 0 to 1.
fn random_part() -> f64 {
    let number = uuid::Uuid::new_v4().as_u64_pair().0;
    (number >> 11) as f64 / (1_u64 << 53) as f64
}
