//! The way of a REST request through tiny_http and back.
//!
//! tiny_http listens on a private Unix socket, where only the lanes of this gateway connect: as many as there are
//! workers, so that a request that has a lane has a worker. No byte of a client reaches it unchecked.

mod lane;
mod rendezvous;
mod workers;

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use socket2::SockRef;

use super::answer::Answer;
use super::deadline::Deadline;
use super::message::Request;
use super::problem::Problem;
use crate::server::panics::Panics;
use lane::{Lane, Opener};
use rendezvous::Rendezvous;
use workers::Workers;

pub(crate) use workers::Handler;

/// A worker in this process answers a probe at once; more than this is a broken start.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayOptions {
    /// At least 1.
    pub(crate) workers: usize,
    /// How long a request may wait for a free worker.
    pub(crate) queue_timeout: Duration,
    /// How long a handler may take for an answer.
    pub(crate) answer_timeout: Duration,
}

pub(crate) struct Gateway {
    options: GatewayOptions,
    /// The lanes that are free. `None` is the last thing in it: the gateway is closed.
    free: Receiver<Option<Lane>>,
    give_back: Sender<Option<Lane>>,
    closing: AtomicBool,
    /// Taken at shutdown. The lock is held for that only.
    backend: Mutex<Option<Backend>>,
}

/// Fields in the order of their end: the workers, then tiny_http's accept thread.
struct Backend {
    _workers: Workers,
    _listener: PrivateListener,
}

/// Wakes tiny_http's accept thread when dropped: its own way to do so needs the name of the socket, which is gone.
struct PrivateListener(UnixListener);

impl Drop for PrivateListener {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

impl Gateway {
    pub(crate) fn start(
        options: GatewayOptions,
        handler: &Arc<Handler>,
        panics: &Panics,
    ) -> io::Result<Gateway> {
        let (rendezvous, listener) = Rendezvous::open()?;
        let backend = start_backend(listener, options.workers, handler, panics)?;
        let (give_back, free) = bounded(options.workers);
        let opener: Opener = Arc::new(Mutex::new(rendezvous));
        for _ in 0..options.workers {
            let mut lane = Lane::new(Arc::clone(&opener));
            lane.open(Deadline::after(OPEN_TIMEOUT))?;
            // The channel has room for every lane.
            let _ = give_back.send(Some(lane));
        }
        Ok(Gateway {
            options,
            free,
            give_back,
            closing: AtomicBool::new(false),
            backend: Mutex::new(Some(backend)),
        })
    }

    /// The answer of a handler, or the problem that kept it from answering.
    pub(crate) fn exchange(&self, request: &Request) -> Answer {
        self.try_exchange(request)
            .unwrap_or_else(|problem| Answer::from(&problem))
    }

    fn try_exchange(&self, request: &Request) -> Result<Answer, Problem> {
        let mut borrowed = self.borrow_lane()?;
        let deadline = Deadline::after(self.options.answer_timeout);
        match borrowed.lane.exchange(request, deadline) {
            // What tiny_http says by itself when a request got lost on the way.
            Ok(answer) if answer.content_type.is_empty() => Err(Problem::internal()),
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                tracing::error!("a REST handler took too long");
                Err(Problem::unavailable("The answer took too long"))
            }
            Err(error) => {
                tracing::error!(%error, "the connection to a REST worker failed");
                Err(Problem::internal())
            }
        }
    }

    fn borrow_lane(&self) -> Result<BorrowedLane<'_>, Problem> {
        let Ok(found) = self.free.recv_timeout(self.options.queue_timeout) else {
            return Err(Problem::unavailable("All REST workers are busy"));
        };
        match found {
            Some(lane) if !self.closing.load(Ordering::Acquire) => Ok(BorrowedLane {
                lane,
                give_back: &self.give_back,
            }),
            found => {
                // Whoever else waits is woken by the same item.
                let _ = self.give_back.send(found);
                Err(Problem::shutting_down())
            }
        }
    }

    /// Refuses what comes, waits for what is under way, and ends the workers. Later calls do nothing.
    pub(crate) fn shutdown(&self) {
        self.closing.store(true, Ordering::Release);
        let backend = self.backend.lock().take();
        if backend.is_some() {
            self.collect_lanes();
        }
    }

    /// Takes every lane for good; each closes its connection, which ends tiny_http's thread of it.
    fn collect_lanes(&self) {
        let deadline = Instant::now() + self.options.answer_timeout;
        for _ in 0..self.options.workers {
            if self.free.recv_deadline(deadline).is_err() {
                tracing::warn!("a REST request was still under way at shutdown");
                break;
            }
        }
        let _ = self.give_back.try_send(None);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn start_backend(
    listener: UnixListener,
    workers: usize,
    handler: &Arc<Handler>,
    panics: &Panics,
) -> io::Result<Backend> {
    let private = PrivateListener(listener.try_clone()?);
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    Ok(Backend {
        _workers: Workers::start(server, workers, handler, panics)?,
        _listener: private,
    })
}

/// A lane in use; it goes back whatever happens.
struct BorrowedLane<'a> {
    lane: Lane,
    give_back: &'a Sender<Option<Lane>>,
}

impl Drop for BorrowedLane<'_> {
    fn drop(&mut self) {
        let _ = self.give_back.send(Some(self.lane.take()));
    }
}

#[cfg(test)]
mod tests;
