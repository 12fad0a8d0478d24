//! The way of a REST request through tiny_http and back.
//!
//! tiny_http listens on a private Unix socket, where only the lanes of this gateway connect: as many as there are
//! workers, so that a request that has a lane has a worker. No byte of a client reaches it unchecked. It is not trusted
//! to answer, either: every wait for it has a deadline, and one that is lost is replaced by another.

mod backend;
mod bodies;
mod lane;
mod rendezvous;
mod supervisor;
mod workers;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::answer::Answer;
use super::deadline::Deadline;
use super::message::Request;
use super::problem::Problem;
use crate::server::panics::Panics;
use crate::server::semaphore::{Denied, Semaphore};
use bodies::Bodies;
use lane::{Lane, Terms};
use supervisor::Supervisor;
use workers::Duty;

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
    /// One unit for each worker; requests get one in the order they come.
    workers: Arc<Semaphore>,
    /// The lanes that nobody uses; `None` when the gateway is closed.
    idle: Mutex<Option<Vec<Lane>>>,
    bodies: Arc<Bodies>,
    supervisor: Supervisor,
}

impl Gateway {
    pub(crate) fn start(
        options: GatewayOptions,
        handler: &Arc<Handler>,
        panics: &Panics,
    ) -> io::Result<Gateway> {
        let bodies = Arc::<Bodies>::default();
        let duty = Duty {
            handler: Arc::clone(handler),
            panics: panics.clone(),
            bodies: Arc::clone(&bodies),
        };
        let supervisor = Supervisor::start(options.workers, duty)?;
        let deadline = Deadline::after(OPEN_TIMEOUT);
        let open = |_| supervisor.open_lane(deadline);
        let lanes: Result<Vec<Lane>, Problem> = (0..options.workers).map(open).collect();
        let lanes = lanes.map_err(|problem| io::Error::other(problem.detail))?;
        Ok(Gateway {
            options,
            workers: Semaphore::new(options.workers),
            idle: Mutex::new(Some(lanes)),
            bodies,
            supervisor,
        })
    }

    /// The answer of a handler that may use `room` bytes for its body, or the problem that kept it from answering.
    pub(crate) fn exchange(&self, request: &Request, room: usize) -> Answer {
        self.try_exchange(request, room)
            .unwrap_or_else(|problem| Answer::from(&problem))
    }

    fn try_exchange(&self, request: &Request, room: usize) -> Result<Answer, Problem> {
        let deadline = Deadline::after(self.options.queue_timeout);
        let worker = self.workers.acquire(1, deadline.instant());
        let _worker = worker.map_err(|denied| match denied {
            Denied::TimedOut => Problem::unavailable("All REST workers are busy"),
            Denied::Closed => Problem::shutting_down(),
        })?;
        let lane = self.take_lane(deadline)?;
        let terms = Terms {
            room,
            ticket: self.bodies.ticket(),
        };
        let deadline = Deadline::after(self.options.answer_timeout);
        match lane.exchange(request, &terms, deadline) {
            // What tiny_http says by itself when a request got lost on the way; it closes the connection then.
            Ok(answer) if answer.content_type.is_empty() => Err(Problem::internal()),
            Ok(answer) => {
                self.give_back(lane);
                Ok(answer)
            }
            Err(_) if self.is_closed() => Err(Problem::shutting_down()),
            Err(error) => Err(lane_failed(&lane, &error)),
        }
    }

    fn take_lane(&self, deadline: Deadline) -> Result<Lane, Problem> {
        let idle = match &mut *self.idle.lock() {
            Some(idle) => idle.pop(),
            None => return Err(Problem::shutting_down()),
        };
        match idle {
            Some(lane) => Ok(lane),
            None => self.supervisor.open_lane(deadline),
        }
    }

    fn give_back(&self, lane: Lane) {
        if self.supervisor.is_outdated(&lane) {
            return;
        }
        if let Some(idle) = &mut *self.idle.lock() {
            idle.push(lane);
        }
    }

    fn is_closed(&self) -> bool {
        self.idle.lock().is_none()
    }

    /// Gives up every request that waits or is being answered, and refuses what is still to come.
    pub(crate) fn cut(&self) {
        self.workers.close();
        drop(self.idle.lock().take());
        self.supervisor.cut();
    }

    /// Refuses what comes, waits for what is under way, and joins the workers; none of it longer than `grace`. Later
    /// calls do nothing.
    pub(crate) fn shutdown(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.workers.close();
        if !self.workers.wait_until_unused(deadline) {
            tracing::warn!("a REST request was still under way at shutdown");
            self.cut();
        }
        drop(self.idle.lock().take());
        if !self.supervisor.end(deadline) {
            tracing::error!("a REST worker did not end");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown(self.options.answer_timeout);
    }
}

/// A handler that takes too long may never end: then its worker is gone, and the server needs another one.
fn lane_failed(lane: &Lane, error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::TimedOut {
        tracing::error!("a REST handler took too long");
        lane.backend.mark_lost();
        return Problem::unavailable("The answer took too long");
    }
    tracing::error!(%error, "the connection to a REST worker failed");
    Problem::internal()
}

#[cfg(test)]
mod tests;
