//! Keeps a tiny_http server running: opens connections to it, and replaces it when it is lost.
//!
//! Starts at most one per pause, and none while too many workers of earlier ones are stuck. So a server that cannot be
//! started, or is lost again and again, uses bounded processor time and a bounded number of threads.

use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::super::deadline::Deadline;
use super::super::problem::Problem;
use super::backend::Backend;
use super::connection::BackendConnection;
use super::workers::{EndedWorkers, WorkerContext};

/// Workers answer a probe at once. If one takes longer, the workers are stuck.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// From one start to the next.
const START_PAUSE: Duration = Duration::from_secs(1);
/// How many times the number of workers may be stuck before no other server is started.
const MAX_STUCK: usize = 4;

pub(super) struct Supervisor {
    workers: usize,
    ended: Arc<EndedWorkers>,
    /// Held while a connection is opened, from the connect to the response to the probe. The state is locked under it.
    opening: Mutex<()>,
    /// Held for a few instructions.
    state: Mutex<State>,
    closed: Condvar,
}

struct State {
    /// For new workers; `None` when closed.
    context: Option<WorkerContext>,
    current: Option<Arc<Backend>>,
    /// Lost servers to which a connection is in use.
    replaced: Vec<Weak<Backend>>,
    next_start: Instant,
}

impl Supervisor {
    /// Starts the first server, or fails.
    pub(super) fn start(workers: usize, context: WorkerContext) -> io::Result<Supervisor> {
        let supervisor = Supervisor {
            workers,
            ended: EndedWorkers::new(),
            opening: Mutex::default(),
            state: Mutex::new(State {
                context: None,
                current: None,
                replaced: Vec::new(),
                next_start: Instant::now(),
            }),
            closed: Condvar::new(),
        };
        let backend = supervisor.start_backend(&context)?;
        let mut state = supervisor.state.lock();
        state.current = Some(backend);
        state.context = Some(context);
        drop(state);
        Ok(supervisor)
    }

    /// Connects to the current server. Replaces one that does not answer; 503 if that takes too long.
    pub(super) fn open_connection(&self, deadline: Deadline) -> Result<BackendConnection, Problem> {
        let turn = self.opening.try_lock_until(deadline.instant());
        let _turn = turn.ok_or_else(no_worker)?;
        loop {
            let backend = self.backend(deadline)?;
            match backend.open_connection(deadline.at_most(PROBE_TIMEOUT)) {
                // Opened too late to be cancelled.
                Ok(_) if self.state.lock().context.is_none() => {
                    return Err(Problem::shutting_down());
                }
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::error!(%error, "no connection to a REST worker");
                    backend.mark_lost();
                }
            }
        }
    }

    /// Whether a connection need not be kept, because its server was replaced.
    pub(super) fn is_outdated(&self, connection: &BackendConnection) -> bool {
        let state = self.state.lock();
        match &state.current {
            Some(current) => !Arc::ptr_eq(current, &connection.backend),
            None => state.context.is_none(),
        }
    }

    #[cfg(test)]
    pub(super) fn current(&self) -> Option<Arc<Backend>> {
        self.state.lock().current.clone()
    }

    /// Cancels every exchange, and opens no more connections.
    pub(super) fn cancel(&self) {
        let mut state = self.state.lock();
        state.context = None;
        let replaced = state.replaced.iter().filter_map(Weak::upgrade);
        let backends: Vec<_> = replaced.chain(state.current.clone()).collect();
        drop(state);
        self.closed.notify_all();
        backends.iter().for_each(|backend| backend.cancel());
    }

    /// Ends the current server and joins the workers of all; `false` if some did not end by the deadline. No connection
    /// must be left.
    pub(super) fn end(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        state.context = None;
        let current = state.current.take();
        drop(state);
        self.closed.notify_all();
        drop(current);
        self.ended.join_all(deadline)
    }

    /// The current server, or a new one if it is lost. Waits until one may be started.
    fn backend(&self, deadline: Deadline) -> Result<Arc<Backend>, Problem> {
        loop {
            let mut state = self.state.lock();
            let Some(context) = state.context.clone() else {
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
            self.replace(&context)?;
        }
    }

    /// Replaces the lost server. Its connections are dropped when they come back.
    fn replace(&self, context: &WorkerContext) -> Result<(), Problem> {
        let stuck = self.ended.join_ended();
        if stuck >= self.workers * MAX_STUCK {
            tracing::error!(stuck, "too many REST workers do not end");
            return Err(no_worker());
        }
        match self.start_backend(context) {
            Ok(backend) => {
                tracing::warn!("tiny_http was restarted");
                let mut state = self.state.lock();
                // If the supervisor was closed meanwhile, the new server ends with this function.
                if state.context.is_some() {
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

    fn start_backend(&self, context: &WorkerContext) -> io::Result<Arc<Backend>> {
        let started = context
            .panics
            .catch(|| Backend::start(self.workers, context, &self.ended));
        let backend = started.unwrap_or_else(|| Err(io::Error::other("tiny_http panicked")))?;
        Ok(Arc::new(backend))
    }
}

fn no_worker() -> Problem {
    Problem::unavailable("No REST worker can be reached")
}
