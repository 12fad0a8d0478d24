//! Keeps a tiny_http server running: opens lanes to it, and starts another one when it is lost.
//!
//! At most one start per pause, and none while too many workers of earlier ones are stuck: a server that cannot be
//! started, or is lost again and again, costs neither the processor nor threads without end.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::super::deadline::Deadline;
use super::super::problem::Problem;
use super::backend::Backend;
use super::lane::Lane;
use super::workers::{Duty, EndedWorkers};

/// A worker answers a probe at once; where this is too short, the workers are stuck.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// From one start to the next.
const START_PAUSE: Duration = Duration::from_secs(1);
/// How many times the number of workers may be stuck before no other server is started.
const MAX_STUCK: usize = 4;

pub(super) struct Supervisor {
    workers: usize,
    ended: Arc<EndedWorkers>,
    /// Held by whoever opens a lane, from the connect to the answer of the probe. The state is locked under it.
    opening: Mutex<()>,
    /// Held for a few instructions.
    state: Mutex<State>,
    closed: Condvar,
}

struct State {
    /// What new workers are given; `None` when closed.
    duty: Option<Duty>,
    current: Option<Arc<Backend>>,
    /// Those that were lost, as long as a lane to them is in use.
    replaced: Vec<Weak<Backend>>,
    next_start: Instant,
}

impl Supervisor {
    /// Starts the first server, or fails.
    pub(super) fn start(workers: usize, duty: Duty) -> io::Result<Supervisor> {
        let supervisor = Supervisor {
            workers,
            ended: EndedWorkers::new(),
            opening: Mutex::default(),
            state: Mutex::new(State {
                duty: None,
                current: None,
                replaced: Vec::new(),
                next_start: Instant::now(),
            }),
            closed: Condvar::new(),
        };
        let backend = supervisor.start_backend(&duty)?;
        let mut state = supervisor.state.lock();
        state.current = Some(backend);
        state.duty = Some(duty);
        drop(state);
        Ok(supervisor)
    }

    /// A lane to the current server. Without one that answers, another one is started; 503 if that cannot be done in
    /// time.
    pub(super) fn open_lane(&self, deadline: Deadline) -> Result<Lane, Problem> {
        let turn = self.opening.try_lock_until(deadline.instant());
        let _turn = turn.ok_or_else(no_worker)?;
        loop {
            let backend = self.backend(deadline)?;
            match backend.open_lane(deadline.at_most(PROBE_TIMEOUT)) {
                // Opened too late to be cut.
                Ok(_) if self.state.lock().duty.is_none() => return Err(Problem::shutting_down()),
                Ok(lane) => return Ok(lane),
                Err(error) => {
                    tracing::error!(%error, "no connection to a REST worker");
                    backend.mark_lost();
                }
            }
        }
    }

    /// Whether a lane of this server need not be kept, because there is a better one.
    pub(super) fn is_outdated(&self, lane: &Lane) -> bool {
        let state = self.state.lock();
        match &state.current {
            Some(current) => !Arc::ptr_eq(current, &lane.backend),
            None => state.duty.is_none(),
        }
    }

    #[cfg(test)]
    pub(super) fn current(&self) -> Option<Arc<Backend>> {
        self.state.lock().current.clone()
    }

    /// Cuts off what is under way, and refuses what is still to come.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock();
        state.duty = None;
        let replaced = state.replaced.iter().filter_map(Weak::upgrade);
        let backends: Vec<_> = replaced.chain(state.current.clone()).collect();
        drop(state);
        self.closed.notify_all();
        backends.iter().for_each(|backend| backend.cut());
    }

    /// Ends the current server and joins the workers of all; `false` if some did not end by the deadline. No lane must
    /// be left.
    pub(super) fn end(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        state.duty = None;
        let current = state.current.take();
        drop(state);
        self.closed.notify_all();
        drop(current);
        self.ended.join_all(deadline)
    }

    /// The current server, or a new one if that is lost. Waits until one may be started.
    fn backend(&self, deadline: Deadline) -> Result<Arc<Backend>, Problem> {
        loop {
            let mut state = self.state.lock();
            let Some(duty) = state.duty.clone() else {
                return Err(Problem::shutting_down());
            };
            if let Some(current) = state.current.as_ref().filter(|current| !current.is_lost()) {
                return Ok(Arc::clone(current));
            }
            if Instant::now() < state.next_start {
                let until = state.next_start.min(deadline.instant());
                self.closed.wait_until(&mut state, until);
                if Instant::now() >= deadline.instant() {
                    return Err(no_worker());
                }
                continue;
            }
            state.next_start = Instant::now() + START_PAUSE;
            drop(state);
            self.replace(&duty)?;
        }
    }

    /// Puts a new server in the place of the lost one, whose lanes are dropped as they come back.
    fn replace(&self, duty: &Duty) -> Result<(), Problem> {
        let stuck = self.ended.join_ended();
        if stuck >= self.workers * MAX_STUCK {
            tracing::error!(stuck, "too many REST workers do not end");
            return Err(no_worker());
        }
        match self.start_backend(duty) {
            Ok(backend) => {
                tracing::warn!("tiny_http was restarted");
                let mut state = self.state.lock();
                // Closed in between: it ends with this function.
                if state.duty.is_some() {
                    let lost = state.current.replace(backend);
                    state.replaced.retain(|backend| backend.strong_count() > 0);
                    state.replaced.extend(lost.as_ref().map(Arc::downgrade));
                    drop(state);
                    drop(lost);
                }
            }
            Err(error) => tracing::error!(%error, "tiny_http was not started"),
        }
        Ok(())
    }

    fn start_backend(&self, duty: &Duty) -> io::Result<Arc<Backend>> {
        let started = duty
            .panics
            .catch(|| Backend::start(self.workers, duty, &self.ended));
        let backend = started.unwrap_or_else(|| Err(io::Error::other("tiny_http panicked")))?;
        Ok(Arc::new(backend))
    }
}

fn no_worker() -> Problem {
    Problem::unavailable("No REST worker can be reached")
}
