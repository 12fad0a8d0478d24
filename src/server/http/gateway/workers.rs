//! The threads that answer REST requests: each receives them from tiny_http, calls the handler, and responds through
//! tiny_http.
//!
//! A handler that panics answers its own request with INTERNAL; nothing else happens.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::super::problem::Problem;
use super::super::response::Response;
use super::slots::{Slots, TICKET_HEADER};
use crate::server::panics::Panics;
use crate::server::rest::Api;

/// tiny_http adds these to a response that has none. They stay on the private connection. When the clock shows a time
/// before 1970 or after 9999, tiny_http panics over its own `Date` and never responds.
const PRIVATE_FIELDS: [(&str, &str); 2] = [
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Server", "threadcast"),
];

/// What all workers of a gateway share.
#[derive(Clone)]
pub(super) struct WorkerContext {
    pub(super) api: Arc<Api>,
    pub(super) panics: Panics,
    pub(super) slots: Arc<Slots>,
}

/// The workers of one tiny_http server. Dropping it lets them end, without waiting.
pub(super) struct Workers {
    server: Arc<tiny_http::Server>,
    /// Set when the workers are to end; distinguishes that from an error of tiny_http.
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    ended: Arc<EndedWorkers>,
}

impl Workers {
    /// `lost` is set when tiny_http accepts no more connections, or a worker ends before it should.
    pub(super) fn start(
        server: tiny_http::Server,
        count: usize,
        context: &WorkerContext,
        lost: &Arc<AtomicBool>,
        ended: &Arc<EndedWorkers>,
    ) -> io::Result<Workers> {
        let mut workers = Workers {
            server: Arc::new(server),
            stopping: Arc::default(),
            threads: Vec::with_capacity(count),
            ended: Arc::clone(ended),
        };
        for number in 0..count {
            let thread = workers.spawn(number, context.clone(), Arc::clone(lost))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    fn spawn(
        &self,
        number: usize,
        context: WorkerContext,
        lost: Arc<AtomicBool>,
    ) -> io::Result<JoinHandle<()>> {
        let server = Arc::clone(&self.server);
        let stopping = Arc::clone(&self.stopping);
        let is_alive = self.ended.alive.lock().clone();
        thread::Builder::new()
            .name(format!("rest-{number}"))
            .spawn(move || {
                let _is_alive = is_alive;
                let _mark_lost = MarkLostOnDrop {
                    stopping: &stopping,
                    lost: &lost,
                };
                run(&server, &stopping, &lost, &context);
            })
    }
}

/// Each worker finishes its request first.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for _ in &self.threads {
            self.server.unblock();
        }
        self.ended.threads.lock().append(&mut self.threads);
    }
}

/// Notices a worker that ends too early.
struct MarkLostOnDrop<'a> {
    stopping: &'a AtomicBool,
    lost: &'a AtomicBool,
}

impl Drop for MarkLostOnDrop<'_> {
    fn drop(&mut self) {
        if !self.stopping.load(Ordering::Acquire) {
            self.lost.store(true, Ordering::Release);
        }
    }
}

/// Workers that are to end and have to be joined.
#[derive(Debug)]
pub(super) struct EndedWorkers {
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Every worker holds a clone, so that the channel closes when the last one has ended.
    alive: Mutex<Option<Sender<()>>>,
    none_alive: Receiver<()>,
}

impl EndedWorkers {
    pub(super) fn new() -> Arc<EndedWorkers> {
        let (alive, none_alive) = bounded(0);
        Arc::new(EndedWorkers {
            threads: Mutex::default(),
            alive: Mutex::new(Some(alive)),
            none_alive,
        })
    }

    /// Joins those that have ended; returns the number of the others.
    pub(super) fn join_ended(&self) -> usize {
        let mut threads = self.threads.lock();
        let (ended, running): (Vec<_>, Vec<_>) =
            threads.drain(..).partition(|thread| thread.is_finished());
        *threads = running;
        ended.into_iter().for_each(join);
        threads.len()
    }

    /// Joins all of them, once no more workers are started; `false` if the deadline came first. Later calls do nothing.
    pub(super) fn join_all(&self, deadline: Instant) -> bool {
        if self.alive.lock().take().is_none() {
            return true;
        }
        let in_time = self
            .none_alive
            .recv_deadline(deadline)
            .is_err_and(|error| error.is_disconnected());
        if in_time {
            self.threads.lock().drain(..).for_each(join);
        }
        in_time
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a REST worker ended in a panic");
    }
}

fn run(
    server: &tiny_http::Server,
    stopping: &AtomicBool,
    lost: &AtomicBool,
    context: &WorkerContext,
) {
    loop {
        match server.recv() {
            Ok(request) => serve_one(request, context),
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) => {
                tracing::error!(%error, "tiny_http accepts no more connections");
                lost.store(true, Ordering::Release);
            }
        }
    }
}

/// A panic outside the handler must not end the worker either.
fn serve_one(request: tiny_http::Request, context: &WorkerContext) {
    if let Some(Err(error)) = context.panics.catch(|| answer(request, context)) {
        tracing::warn!(%error, "a REST response was not written");
    }
}

/// Responds in every case: tiny_http itself responds to a request that is dropped, with its own `Date`.
fn answer(mut request: tiny_http::Request, context: &WorkerContext) -> io::Result<()> {
    let response = context.panics.catch(|| respond(&mut request, context));
    let response = response.unwrap_or_else(|| Response::from(&Problem::internal()));
    request.respond(encode(response))
}

/// Joins the two ways of a request: its body comes through tiny_http, all else from its slot.
fn respond(received: &mut tiny_http::Request, context: &WorkerContext) -> Response {
    let Some(ticket) = ticket(received) else {
        return Response::new(200, "text/plain", Vec::new());
    };
    let Some(mut request) = context.slots.take_request(ticket) else {
        return Response::from(&Problem::internal());
    };
    if let Err(error) = received.as_reader().read_to_end(&mut request.body) {
        tracing::warn!(%error, "a REST request was not read");
        return Response::from(&Problem::internal());
    }
    let mut response = context.api.respond(&request);
    context.slots.leave(ticket, &mut response);
    response
}

/// `None` for the probe of a new connection.
fn ticket(request: &tiny_http::Request) -> Option<u64> {
    let mut headers = request.headers().iter();
    let header = headers.find(|header| header.field.equiv(TICKET_HEADER))?;
    header.value.as_str().parse().ok()
}

/// Always with a `Content-Length`, never chunked.
fn encode(response: Response) -> tiny_http::Response<Cursor<Vec<u8>>> {
    let mut encoded = tiny_http::Response::from_data(response.body)
        .with_status_code(response.status)
        .with_chunked_threshold(usize::MAX);
    let content_type = ("Content-Type".into(), response.content_type.into_owned());
    let private = PRIVATE_FIELDS.map(|(name, value)| (name.into(), value.to_owned()));
    let headers = response.headers.into_iter().chain([content_type]);
    for (name, value) in headers.chain(private) {
        match plain_header(&name, value) {
            Some(header) => encoded.add_header(header),
            None => tracing::error!(
                %name,
                "a response header that is not plain text was left out"
            ),
        }
    }
    encoded
}

fn plain_header(name: &str, value: String) -> Option<tiny_http::Header> {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let encoded = tiny_http::Header::from_bytes(name, value).ok();
    encoded.filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_that_is_not_plain_is_left_out() {
        let response = Response::json(200, &1)
            .with_header("X-Bad", "a\r\nX-Worse: b")
            .with_header("X-Odd", "é")
            .with_header("X-Good", "a");
        let encoded = encode(response);
        assert_eq!(encoded.status_code(), 200);
        let names = encoded.headers().iter();
        let names: Vec<_> = names.map(|header| header.field.as_str().as_str()).collect();
        let kept: Vec<_> = names
            .into_iter()
            .filter(|name| name.starts_with("X-"))
            .collect();
        assert_eq!(kept, ["X-Good"]);
    }
}
