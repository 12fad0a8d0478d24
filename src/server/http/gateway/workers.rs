//! The threads that answer REST requests: they take them from tiny_http and call the handler.
//!
//! A handler that panics costs its own request an INTERNAL answer and nothing else.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::super::message::{Request, Response};
use super::super::problem::Problem;
use super::bodies::{Bodies, TICKET_HEADER};
use super::lane::PROBE_HEADER;
use crate::server::panics::Panics;

/// What answers a request. Called from several threads at once.
pub(crate) type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// tiny_http adds these to an answer that has none. They stay on the private connection. Its own `Date` makes it panic
/// when the clock shows a time before 1970 or after 9999, and then the answer never comes.
const PRIVATE_FIELDS: [(&str, &str); 2] = [
    ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Server", "threadcast"),
];

/// What all workers of a gateway are given.
#[derive(Clone)]
pub(super) struct Duty {
    pub(super) handler: Arc<Handler>,
    pub(super) panics: Panics,
    pub(super) bodies: Arc<Bodies>,
}

/// The workers of one tiny_http server. Dropping it ends them, without waiting.
pub(super) struct Workers {
    server: Arc<tiny_http::Server>,
    /// Set once no request is under way; tells the end apart from an error of tiny_http.
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    ended: Arc<EndedWorkers>,
}

impl Workers {
    /// `lost` is set when tiny_http accepts no more connections, or a worker ends before it should.
    pub(super) fn start(
        server: tiny_http::Server,
        count: usize,
        duty: &Duty,
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
            let thread = workers.spawn(number, duty.clone(), Arc::clone(lost))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    fn spawn(
        &self,
        number: usize,
        duty: Duty,
        lost: Arc<AtomicBool>,
    ) -> io::Result<JoinHandle<()>> {
        let server = Arc::clone(&self.server);
        let stopping = Arc::clone(&self.stopping);
        let is_alive = self.ended.alive.lock().clone();
        thread::Builder::new()
            .name(format!("rest-{number}"))
            .spawn(move || {
                let _is_alive = is_alive;
                let _tells_loss = MarkLostOnDrop {
                    stopping: &stopping,
                    lost: &lost,
                };
                run(&server, &stopping, &lost, &duty);
            })
    }
}

/// Each worker first finishes what it is at.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for _ in &self.threads {
            self.server.unblock();
        }
        self.ended.threads.lock().append(&mut self.threads);
    }
}

/// A worker that ends although it was not told to.
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

/// Workers that were told to end, and still have to be joined.
#[derive(Debug)]
pub(super) struct EndedWorkers {
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Every worker holds a clone, so that the channel is closed when the last one has ended.
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

    /// Joins those that have ended; returns how many have not.
    pub(super) fn join_ended(&self) -> usize {
        let mut threads = self.threads.lock();
        let (ended, running): (Vec<_>, Vec<_>) =
            threads.drain(..).partition(|thread| thread.is_finished());
        *threads = running;
        ended.into_iter().for_each(join);
        threads.len()
    }

    /// Joins all of them, once no worker is started any more; `false` if the deadline came first. Later calls do nothing.
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

fn run(server: &tiny_http::Server, stopping: &AtomicBool, lost: &AtomicBool, duty: &Duty) {
    loop {
        match server.recv() {
            Ok(request) => serve_one(request, duty),
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) => {
                tracing::error!(%error, "tiny_http accepts no more connections");
                lost.store(true, Ordering::Release);
            }
        }
    }
}

/// A panic outside the handler, too, must not cost the pool a thread.
fn serve_one(request: tiny_http::Request, duty: &Duty) {
    if let Some(Err(error)) = duty.panics.catch(|| answer(request, duty)) {
        tracing::warn!(%error, "a REST answer was not written");
    }
}

/// Responds in every case: a request that is dropped without is answered by tiny_http itself, with its own `Date`.
fn answer(mut request: tiny_http::Request, duty: &Duty) -> io::Result<()> {
    let response = duty.panics.catch(|| prepare(&mut request, duty));
    request.respond(response.unwrap_or_else(|| encode(Response::problem(&Problem::internal()))))
}

fn prepare(request: &mut tiny_http::Request, duty: &Duty) -> Encoded {
    if header(request, PROBE_HEADER).is_some() {
        return encode(Response::new(200, "text/plain", Vec::new()));
    }
    let ticket = header(request, TICKET_HEADER).and_then(|ticket| ticket.parse().ok());
    let mut response = match read_request(request) {
        Ok(request) => (duty.handler)(&request),
        Err(error) => {
            tracing::warn!(%error, "a REST request was not read");
            Response::problem(&Problem::internal())
        }
    };
    if let Some(ticket) = ticket {
        match duty
            .bodies
            .leave(ticket, std::mem::take(&mut response.body))
        {
            Ok(()) => response = response.with_header(TICKET_HEADER, "1"),
            Err(body) => response.body = body,
        }
    }
    encode(response)
}

fn header<'a>(request: &'a tiny_http::Request, name: &'static str) -> Option<&'a str> {
    let mut headers = request.headers().iter();
    let header = headers.find(|header| header.field.equiv(name))?;
    Some(header.value.as_str())
}

fn read_request(request: &mut tiny_http::Request) -> io::Result<Request> {
    let mut body = Vec::new();
    request.as_reader().read_to_end(&mut body)?;
    let (path, query) = match request.url().split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (request.url().to_owned(), None),
    };
    let headers = request.headers().iter().map(|header| {
        let name = header.field.as_str().as_str().to_ascii_lowercase();
        (name, header.value.as_str().to_owned())
    });
    Ok(Request {
        method: request.method().to_string(),
        path,
        query,
        headers: headers.collect(),
        body,
        keep_alive: true,
    })
}

type Encoded = tiny_http::Response<Cursor<Vec<u8>>>;

/// Always with a `Content-Length`, never chunked.
fn encode(response: Response) -> Encoded {
    let mut encoded = tiny_http::Response::from_data(response.body)
        .with_status_code(response.status)
        .with_chunked_threshold(usize::MAX);
    let content_type = ("Content-Type", response.content_type.to_owned());
    let private = PRIVATE_FIELDS.map(|(name, value)| (name, value.to_owned()));
    let headers = response.headers.into_iter().chain([content_type]);
    for (name, value) in headers.chain(private) {
        match plain_header(name, value) {
            Some(header) => encoded.add_header(header),
            None => tracing::error!(
                name,
                "a response header that is not plain text was left out"
            ),
        }
    }
    encoded
}

fn plain_header(name: &'static str, value: String) -> Option<tiny_http::Header> {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let encoded = tiny_http::Header::from_bytes(name, value).ok();
    encoded.filter(|_| is_plain)
}
