//! The life of one connection as HTTP: request after request, until it closes or becomes a WebSocket.
//!
//! Knows the order of things at the edge: head, `/ws`, permission, origin, body, workers, answer. Decides nothing about
//! topics.

use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::answer::{Answer, Delivery};
use super::deadline::{Deadline, close_gently, write_by, write_while_taken};
use super::fields::BodyLength;
use super::gateway::Gateway;
use super::head::Head;
use super::media;
use super::message::Request;
use super::origin;
use super::problem::Problem;
use super::stream::{ReadEnd, RequestLimits, RequestStream};
use super::waiting_answers::WaitingAnswers;
use crate::metrics::SharedMetrics;
use crate::server::panics::Panics;
use crate::server::presence::Presence;
use crate::sync::{Arc, AtomicBool, Ordering};

/// What all connections share.
pub(crate) struct Edge {
    pub(crate) gateway: Gateway,
    pub(crate) limits: RequestLimits,
    pub(crate) write_timeout: Duration,
    pub(crate) waiting_answers: WaitingAnswers,
    pub(crate) permit: Box<Permit>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) wait: Box<Wait>,
    /// Set while the server goes down: every answer to what is asked then is the last on its connection.
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) panics: Panics,
    pub(crate) metrics: SharedMetrics,
}

/// Judges by its head who makes a request, and whether he may; notes whose connection it is. A stranger gets status 401.
pub(crate) type Permit = dyn Fn(&Head, &Presence) -> Result<(), Problem> + Send + Sync;

/// Waits for what a handler asked for in [`WAIT_HEADER`]; `true` when asking it again makes sense.
pub(crate) type Wait = dyn Fn(&Request, &str) -> bool + Send + Sync;

/// The header in which a handler says what it would have to wait for. It never leaves the server.
pub(crate) const WAIT_HEADER: &str = "x-threadcast-wait";

/// How a connection ended as HTTP.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The socket is shut down; the rest is for the log.
    Closed { reason: &'static str, requests: u64 },
    /// A request for `/ws`, by whatever method and unanswered, and the bytes behind its head.
    Upgrade { head: Head, received: Vec<u8> },
}

/// Answers requests in order until the connection ends.
pub(crate) fn serve(stream: &Arc<TcpStream>, presence: &Presence, edge: &Edge) -> Ended {
    let mut connection = Connection {
        stream,
        presence,
        edge,
        requests: RequestStream::new(Arc::clone(stream), edge.limits, Arc::clone(&edge.metrics)),
        head_only: false,
        answered: 0,
    };
    let end = connection.run();
    match end {
        End::Upgrade(head) => Ended::Upgrade {
            head,
            received: connection.requests.into_received(),
        },
        End::Closed(reason) => {
            // Gone already if the peer went first.
            let _ = stream.shutdown(Shutdown::Both);
            Ended::Closed {
                reason,
                requests: connection.answered,
            }
        }
    }
}

/// Answers with a problem and ends the connection so that the answer arrives. `head_only` when it answers a HEAD.
pub(crate) fn refuse(stream: &TcpStream, problem: &Problem, head_only: bool, edge: &Edge) {
    let bytes = refusal(problem, head_only);
    if write_by(stream, &bytes, Deadline::after(edge.write_timeout)).is_ok() {
        edge.metrics.http_sent(bytes.len());
        close_gently(stream);
    }
}

/// A problem as the last answer of a connection.
pub(crate) fn refusal(problem: &Problem, head_only: bool) -> Vec<u8> {
    Answer::from(problem).encode(Delivery {
        head_only,
        close: true,
    })
}

struct Connection<'a> {
    stream: &'a Arc<TcpStream>,
    presence: &'a Presence,
    edge: &'a Edge,
    requests: RequestStream,
    /// The request that is being answered is a HEAD.
    head_only: bool,
    answered: u64,
}

enum End {
    Upgrade(Head),
    Closed(&'static str),
}

impl Connection<'_> {
    fn run(&mut self) -> End {
        loop {
            match self.serve_one() {
                Ok(()) => self.answered += 1,
                Err(Stop::Upgrade(head)) => return End::Upgrade(*head),
                Err(Stop::Read(ReadEnd::Closed(reason))) => return End::Closed(reason),
                Err(Stop::Read(ReadEnd::Refused(problem))) => {
                    self.answered += 1;
                    refuse(self.stream, &problem, self.head_only, self.edge);
                    return End::Closed(problem.code);
                }
            }
        }
    }

    /// `Ok` when the connection is ready for the next request.
    fn serve_one(&mut self) -> Result<(), Stop> {
        self.head_only = false;
        let panics = &self.edge.panics;
        // Nothing of the answer has been sent: a panic can still be told.
        let prepared = panics.catch(|| self.prepare());
        let (answer, delivery) = prepared.unwrap_or_else(|| Err(Problem::internal().into()))?;
        self.deliver(answer, delivery)
    }

    fn prepare(&mut self) -> Result<(Answer, Delivery), Stop> {
        let head = self.requests.read_head();
        self.head_only = match &head {
            Ok(head) => head.is_for_head(),
            // A head that is refused is still there.
            Err(_) => self.requests.begins_with_head(),
        };
        let head = head?;
        self.presence.heard();
        tracing::trace!(method = head.method, "request");
        if head.is_websocket_path() {
            return Err(Stop::Upgrade(Box::new(head)));
        }
        let allowed = self.check(&head)?;
        let body = self.requests.read_body(&head)?;
        self.presence.heard();
        let delivery = Delivery {
            head_only: self.head_only,
            close: !head.keep_alive,
        };
        // Asked before the answer: a client that asks as the drain begins may ask again, and is told.
        let is_draining = self.edge.draining.load(Ordering::SeqCst);
        let answer = match allowed {
            Ok(()) => self.answer(&request(head, body)),
            Err(problem) => Answer::from(&problem),
        };
        let close = delivery.close || is_draining || self.presence.is_closing();
        Ok((answer, Delivery { close, ..delivery }))
    }

    /// Whether the request is carried out once it is read. A stranger's body is not even read.
    fn check(&self, head: &Head) -> Result<Result<(), Problem>, Stop> {
        match (self.edge.permit)(head, self.presence) {
            Ok(()) => Ok(check_origin(head, &self.edge.allowed_origins)),
            Err(problem) if problem.is_unauthorized() && head.body != BodyLength::None => {
                Err(problem.into())
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// A handler that would have to wait says so at once; the wait is this thread's, not a worker's.
    fn answer(&self, request: &Request) -> Answer {
        loop {
            let mut answer = self.edge.gateway.exchange(request);
            match answer.take_header(WAIT_HEADER) {
                Some(what) if (self.edge.wait)(request, &what) => {}
                _ => return answer,
            }
        }
    }

    /// A large answer is refused while too many others wait for their clients.
    fn deliver(&mut self, answer: Answer, delivery: Delivery) -> Result<(), Stop> {
        let mut bytes = answer.encode(delivery);
        // No second copy while the client takes the first.
        drop(answer);
        let place = self.edge.waiting_answers.place(bytes.len());
        if place.is_none() {
            let problem = Problem::unavailable("Too many large answers are on their way");
            bytes = Answer::from(&problem).encode(delivery);
        }
        if write_while_taken(&**self.stream, &bytes, self.edge.write_timeout).is_err() {
            return Err(Stop::closed("an answer was not taken in time"));
        }
        drop(place);
        self.edge.metrics.http_sent(bytes.len());
        if delivery.close {
            self.answered += 1;
            close_gently(self.stream);
            return Err(Stop::closed("closed as asked"));
        }
        Ok(())
    }
}

/// Why there is no next request.
enum Stop {
    Upgrade(Box<Head>),
    Read(ReadEnd),
}

impl Stop {
    fn closed(reason: &'static str) -> Stop {
        Stop::Read(ReadEnd::Closed(reason))
    }
}

impl From<ReadEnd> for Stop {
    fn from(end: ReadEnd) -> Stop {
        Stop::Read(end)
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Read(ReadEnd::Refused(problem))
    }
}

/// Reading is harmless, a page cannot see the answer; everything else is asked for by the same host or a listed one.
fn check_origin(head: &Head, allowed_origins: &[String]) -> Result<(), Problem> {
    let is_harmless = matches!(head.method.as_str(), "GET" | "HEAD");
    if is_harmless || origin::allowed(head, allowed_origins) {
        return Ok(());
    }
    let detail = "Requests from this origin are not allowed";
    Err(Problem::forbidden(detail))
}

fn request(head: Head, body: Vec<u8>) -> Request {
    Request {
        headers: media::of_request(&head.headers),
        method: head.method,
        path: head.path,
        query: head.query,
        body,
        keep_alive: head.keep_alive,
    }
}

#[cfg(test)]
mod tests;
