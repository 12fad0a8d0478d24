//! Large responses: bounds the memory of all of them together, and how many workers build one at a time.
//!
//! A handler whose response would be larger than the request allows builds nothing and reports how much memory it needs.
//! The connection's thread reserves that memory and sends the request to a worker again. So a history or a long list,
//! which a request of a few bytes asks for, takes memory only within the budget, from before it is built until the client
//! has received it.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::deadline::Deadline;
use super::gateway::Gateway;
use super::head::Head;
use super::problem::Problem;
use super::request::{Request, SMALL_RESPONSE_BYTES};
use super::response::{JSON, Response, Retry};
use crate::server::semaphore::{Denied, Semaphore};

/// For all large responses of a server together. A larger one is sent when there is no other.
const MAX_BYTES: usize = 64 << 20;

pub(crate) struct LargeResponses {
    memory: Arc<Semaphore>,
    /// At most half of the workers, so that the others can serve short requests.
    builders: Arc<Semaphore>,
    timeout: Duration,
}

impl LargeResponses {
    /// `timeout` is how long a request may wait for memory.
    pub(crate) fn new(workers: usize, timeout: Duration) -> LargeResponses {
        LargeResponses {
            memory: Semaphore::new(MAX_BYTES),
            builders: Semaphore::new((workers / 2).max(1)),
            timeout,
        }
    }

    /// The response of a worker, with the memory that is reserved for it.
    pub(crate) fn exchange(
        &self,
        gateway: &Gateway,
        head: &Head,
        request: &mut Request,
    ) -> Response {
        request.max_response_bytes = SMALL_RESPONSE_BYTES;
        let mut response = gateway.exchange(head, request);
        let deadline = Deadline::after(self.timeout);
        while let Some(Retry::Memory { bytes }) = response.retry {
            request.max_response_bytes = bytes;
            response = self
                .exchange_with_memory(gateway, head, request, deadline)
                .unwrap_or_else(|denied| {
                    Response::from(&match denied {
                        Denied::TimedOut => {
                            Problem::unavailable("Too many large answers are on their way")
                        }
                        Denied::Closed => Problem::shutting_down(),
                    })
                });
        }
        response
    }

    /// Refuses every request that waits for memory or is still to come.
    pub(crate) fn close(&self) {
        self.memory.close();
        self.builders.close();
    }

    /// Reserves the memory first: a request that waits for it must not occupy a worker.
    fn exchange_with_memory(
        &self,
        gateway: &Gateway,
        head: &Head,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Response, Denied> {
        let bytes = request.max_response_bytes;
        let mut memory = self.memory.acquire(bytes, deadline.instant())?;
        let builder = self.builders.acquire(1, deadline.instant())?;
        let mut response = gateway.exchange(head, request);
        drop(builder);
        memory.resize(response.body.len());
        response.memory = Some(memory);
        Ok(response)
    }
}

/// A body that is written in parts and never becomes larger than the request allows.
#[derive(Debug)]
pub(crate) struct BoundedBody {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl BoundedBody {
    /// Fails when more is expected than allowed. Allocates the expected bytes at once, so that the body is not copied
    /// while it grows.
    pub(crate) fn new(expected: usize, max_bytes: usize) -> Result<BoundedBody, Response> {
        if expected > max_bytes {
            return Err(Response::needs_memory(expected));
        }
        Ok(BoundedBody {
            bytes: Vec::with_capacity(expected),
            max_bytes,
        })
    }

    /// The body without spare capacity.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.shrink_to_fit();
        self.bytes
    }
}

impl Write for BoundedBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max_bytes - self.bytes.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Response {
    /// A list as JSON, no larger than the request allows. `expected` is about how many bytes it will have, with those
    /// needed to write it; if that is too little, twice as much is requested. `read` makes the list, once there is room.
    pub(crate) fn list<L: Serialize>(
        request: &Request,
        expected: usize,
        read: impl FnOnce() -> Result<L, Problem>,
    ) -> Result<Response, Problem> {
        let allowed = request.max_response_bytes;
        let mut body = match BoundedBody::new(expected, allowed) {
            Ok(body) => body,
            Err(response) => return Ok(response),
        };
        match serde_json::to_writer(&mut body, &read()?) {
            Ok(()) => Ok(Response::new(200, JSON, body.finish())),
            Err(error) if error.is_io() => Ok(Response::needs_memory(allowed.max(expected) * 2)),
            Err(error) => {
                tracing::error!(%error, "a list could not be written as JSON");
                Err(Problem::internal())
            }
        }
    }

    /// Requests to be built again with memory for this many bytes. Clients never see it.
    pub(crate) fn needs_memory(bytes: usize) -> Response {
        Response::from(&Problem::unavailable("There is no room for this answer"))
            .with_retry(Retry::Memory { bytes })
    }

    /// The response, unless it is larger than the request allows. Only a request that changes nothing is carried out
    /// twice.
    pub(crate) fn bounded(self, request: &Request) -> Response {
        let bytes = self.body.len();
        if bytes > request.max_response_bytes && request.route.only_reads() {
            return Response::needs_memory(bytes);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::rest::Route;

    fn request(route: Route, max_response_bytes: usize) -> Request {
        Request {
            route,
            body_may_be_json: true,
            body: Vec::new(),
            max_response_bytes,
            place: None,
        }
    }

    fn read(max_response_bytes: usize) -> Request {
        request(Route::ListTopics(None), max_response_bytes)
    }

    fn needed(response: &Response) -> Option<usize> {
        match response.retry? {
            Retry::Memory { bytes } => Some(bytes),
            Retry::Publish { .. } => None,
        }
    }

    #[test]
    fn a_list_that_fits_is_written() {
        let response = Response::list(&read(5), 3, || Ok(["a"])).unwrap();
        assert_eq!(
            (response.status, &response.body[..]),
            (200, &b"[\"a\"]"[..])
        );
    }

    #[test]
    fn a_list_that_does_not_fit_says_how_much_it_needs() {
        let expected = Response::list(&read(5), 6, || Ok(["a"])).unwrap();
        assert_eq!(needed(&expected), Some(6));
        let unexpected = Response::list(&read(4), 3, || Ok(["a"])).unwrap();
        assert_eq!(needed(&unexpected), Some(8));
    }

    #[test]
    fn every_body_is_bounded_whoever_wrote_it() {
        let response = || Response::new(200, JSON, vec![b'1'; 10]);
        assert_eq!(response().bounded(&read(10)).body, response().body);
        assert_eq!(needed(&response().bounded(&read(9))), Some(10));
        let create = request(Route::CreateTopic, 9);
        let bounded = response().bounded(&create);
        assert_eq!((needed(&bounded), bounded.body), (None, response().body));
    }
}
