//! The threads that answer REST requests: they take them from tiny_http and call the handler.
//!
//! A handler that panics costs its own request an INTERNAL answer and nothing else.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::super::message::{Request, Response};
use super::super::problem::Problem;
use super::lane::PROBE_HEADER;
use crate::server::panics::Panics;

/// What answers a request. Called from several threads at once.
pub(crate) type Handler = dyn Fn(&Request) -> Response + Send + Sync;

pub(super) struct Workers {
    server: Arc<tiny_http::Server>,
    /// Set once no request is under way; tells the end apart from an error of tiny_http.
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(
        server: tiny_http::Server,
        count: usize,
        handler: &Arc<Handler>,
        panics: &Panics,
    ) -> io::Result<Workers> {
        let mut workers = Workers {
            server: Arc::new(server),
            stopping: Arc::default(),
            threads: Vec::with_capacity(count),
        };
        for number in 0..count {
            let thread = workers.spawn(number, Arc::clone(handler), panics.clone())?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    fn spawn(
        &self,
        number: usize,
        handler: Arc<Handler>,
        panics: Panics,
    ) -> io::Result<JoinHandle<()>> {
        let server = Arc::clone(&self.server);
        let stopping = Arc::clone(&self.stopping);
        let name = format!("rest-{number}");
        thread::Builder::new()
            .name(name)
            .spawn(move || run(&server, &stopping, &*handler, &panics))
    }
}

/// Waits for every worker, each of which first finishes what it is at.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for _ in &self.threads {
            self.server.unblock();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a REST worker ended in a panic");
            }
        }
    }
}

fn run(server: &tiny_http::Server, stopping: &AtomicBool, handler: &Handler, panics: &Panics) {
    loop {
        match server.recv() {
            Ok(request) => serve_one(request, handler, panics),
            Err(_) if stopping.load(Ordering::Acquire) => return,
            Err(error) => tracing::error!(%error, "tiny_http accepts no more connections"),
        }
    }
}

/// A panic outside the handler, too, must not cost the pool a thread.
fn serve_one(request: tiny_http::Request, handler: &Handler, panics: &Panics) {
    if let Some(Err(error)) = panics.catch(|| answer(request, handler, panics)) {
        tracing::warn!(%error, "a REST answer was not written");
    }
}

fn answer(mut request: tiny_http::Request, handler: &Handler, panics: &Panics) -> io::Result<()> {
    let is_probe = request
        .headers()
        .iter()
        .any(|header| header.field.equiv(PROBE_HEADER));
    let response = if is_probe {
        Response::new(200, "text/plain", Vec::new())
    } else {
        let request = read_request(&mut request)?;
        let response = panics.catch(|| handler(&request));
        response.unwrap_or_else(|| Response::problem(&Problem::internal()))
    };
    request.respond(encode(response))
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

/// Always with a `Content-Length`, never chunked.
fn encode(response: Response) -> tiny_http::Response<Cursor<Vec<u8>>> {
    let mut encoded = tiny_http::Response::from_data(response.body)
        .with_status_code(response.status)
        .with_chunked_threshold(usize::MAX);
    let content_type = ("Content-Type", response.content_type.to_owned());
    for (name, value) in response.headers.into_iter().chain([content_type]) {
        match header(name, value) {
            Some(header) => encoded.add_header(header),
            None => tracing::error!(
                name,
                "a response header that is not plain text was left out"
            ),
        }
    }
    encoded
}

fn header(name: &'static str, value: String) -> Option<tiny_http::Header> {
    let is_plain = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let encoded = tiny_http::Header::from_bytes(name, value).ok();
    encoded.filter(|_| is_plain)
}
