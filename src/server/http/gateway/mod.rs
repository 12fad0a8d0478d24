//! Sends REST requests to the workers through tiny_http and receives their responses.
//!
//! tiny_http listens on a private Unix socket, to which only this gateway connects. There are as many connections as
//! workers, so a request that has a connection has a worker. No unchecked byte of a client reaches tiny_http. Every wait
//! for it has a deadline, and a tiny_http that is lost is replaced.

mod backend;
mod connection;
mod private_socket;
mod slots;
mod supervisor;
mod workers;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::deadline::Deadline;
use super::head::Head;
use super::problem::Problem;
use super::request::Request;
use super::response::Response;
use crate::server::panics::Panics;
use crate::server::rest::Api;
use crate::server::semaphore::{Denied, Semaphore};
use connection::BackendConnection;
use slots::Slots;
use supervisor::Supervisor;
use workers::WorkerContext;

/// A worker in this process answers a probe at once. If it takes longer, the start has failed.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayOptions {
    /// At least 1.
    pub(crate) workers: usize,
    /// How long a request may wait for a free worker.
    pub(crate) queue_timeout: Duration,
    /// How long a handler may take for a response.
    pub(crate) answer_timeout: Duration,
}

pub(crate) struct Gateway {
    options: GatewayOptions,
    /// One unit for each worker; requests get one in the order they arrive.
    workers: Arc<Semaphore>,
    /// The connections that are not in use; `None` when the gateway is closed.
    idle: Mutex<Option<Vec<BackendConnection>>>,
    slots: Arc<Slots>,
    supervisor: Supervisor,
}

impl Gateway {
    pub(crate) fn start(
        options: GatewayOptions,
        api: &Arc<Api>,
        panics: &Panics,
    ) -> io::Result<Gateway> {
        let slots = Arc::<Slots>::default();
        let context = WorkerContext {
            api: Arc::clone(api),
            panics: panics.clone(),
            slots: Arc::clone(&slots),
        };
        let supervisor = Supervisor::start(options.workers, context)?;
        let deadline = Deadline::after(OPEN_TIMEOUT);
        let open = |_| supervisor.open_connection(deadline);
        let connections: Result<Vec<_>, Problem> = (0..options.workers).map(open).collect();
        let connections = connections.map_err(|problem| io::Error::other(problem.detail))?;
        Ok(Gateway {
            options,
            workers: Semaphore::new(options.workers),
            idle: Mutex::new(Some(connections)),
            slots,
            supervisor,
        })
    }

    /// The response of a worker, or the problem that prevented it.
    pub(crate) fn exchange(&self, head: &Head, request: &Request) -> Response {
        self.try_exchange(head, request)
            .unwrap_or_else(|problem| Response::from(&problem))
    }

    fn try_exchange(&self, head: &Head, request: &Request) -> Result<Response, Problem> {
        let deadline = Deadline::after(self.options.queue_timeout);
        let worker = self.workers.acquire(1, deadline.instant());
        let _worker = worker.map_err(|denied| match denied {
            Denied::TimedOut => Problem::unavailable("All REST workers are busy"),
            Denied::Closed => Problem::shutting_down(),
        })?;
        let connection = self.take_connection(deadline)?;
        let ticket = self.slots.open(request.without_body());
        let deadline = Deadline::after(self.options.answer_timeout);
        match connection.exchange(head, &request.body, &ticket, deadline) {
            // tiny_http itself has responded, because the request got lost inside it; it closes the connection then.
            Ok(response) if response.content_type.is_empty() => Err(Problem::internal()),
            Ok(response) => {
                self.give_back(connection);
                Ok(response)
            }
            Err(_) if self.is_closed() => Err(Problem::shutting_down()),
            Err(error) => Err(exchange_failed(&connection, &error)),
        }
    }

    fn take_connection(&self, deadline: Deadline) -> Result<BackendConnection, Problem> {
        let idle = match &mut *self.idle.lock() {
            Some(idle) => idle.pop(),
            None => return Err(Problem::shutting_down()),
        };
        match idle {
            Some(connection) => Ok(connection),
            None => self.supervisor.open_connection(deadline),
        }
    }

    fn give_back(&self, connection: BackendConnection) {
        if self.supervisor.is_outdated(&connection) {
            return;
        }
        if let Some(idle) = &mut *self.idle.lock() {
            idle.push(connection);
        }
    }

    fn is_closed(&self) -> bool {
        self.idle.lock().is_none()
    }

    /// Cancels every request that waits or is being answered, and refuses later ones.
    pub(crate) fn cancel(&self) {
        self.workers.close();
        drop(self.idle.lock().take());
        self.supervisor.cancel();
    }

    /// Refuses new requests, waits for those under way, and joins the workers, all within `grace`. Later calls do
    /// nothing.
    pub(crate) fn shutdown(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.workers.close();
        if !self.workers.wait_until_unused(deadline) {
            tracing::warn!("a REST request was still under way at shutdown");
            self.cancel();
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

/// A handler that takes too long may never end, so its worker needs a replacement.
fn exchange_failed(connection: &BackendConnection, error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::TimedOut {
        tracing::error!("a REST handler took too long");
        connection.backend.mark_lost();
        return Problem::unavailable("The answer took too long");
    }
    tracing::error!(%error, "the connection to a REST worker failed");
    Problem::internal()
}

#[cfg(test)]
mod tests;
