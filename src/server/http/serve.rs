//! The life of one connection as HTTP: request after request, until it closes or becomes a WebSocket.
//!
//! Knows the order of things at the edge: head, `/ws`, permission, origin, body, workers, answer. Decides nothing about
//! topics.

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::answer::{Answer, Delivery};
use super::deadline::{Deadline, close_gently, has_peer_left, write_by, write_while_taken};
use super::fields::BodyLength;
use super::gateway::Gateway;
use super::head::Head;
use super::large_answers::LargeAnswers;
use super::media;
use super::message::{Request, WAIT_HEADER};
use super::origin;
use super::problem::Problem;
use super::stream::{ReadEnd, RequestLimits, RequestStream};
use crate::access::Guard;
use crate::broker::Broker;
use crate::metrics::SharedMetrics;
use crate::server::connection_info::ConnectionInfo;
use crate::server::panics::Panics;
use crate::server::publish_rate::PublishRate;
use crate::server::rest::waiting::PublishWait;
use crate::sync::{Arc, AtomicBool, Ordering};

/// What all connections share.
pub(crate) struct Edge {
    pub(crate) gateway: Gateway,
    pub(crate) limits: RequestLimits,
    pub(crate) write_timeout: Duration,
    pub(crate) large_answers: LargeAnswers,
    pub(crate) permit: Box<Permit>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) is_publish: IsPublish,
    /// Publishes per second of one connection; 0 is unlimited.
    pub(crate) max_publish_rate: u32,
    pub(crate) broker: Arc<Broker>,
    pub(crate) guard: Arc<Guard>,
    /// Set while the server goes down: every answer to what is asked then is the last on its connection.
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) panics: Panics,
    pub(crate) metrics: SharedMetrics,
}

impl Edge {
    /// Gives up every request that waits for a worker, for its answer, or for room.
    pub(crate) fn cut(&self) {
        self.large_answers.close();
        self.gateway.cut();
    }
}

/// Judges by its head who makes a request, and whether he may; notes whose connection it is. A stranger gets status 401.
pub(crate) type Permit = dyn Fn(&Head, &ConnectionInfo) -> Result<(), Problem> + Send + Sync;

/// Whether a request publishes a message.
pub(crate) type IsPublish = fn(&Head) -> bool;

/// How a connection ended as HTTP.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The socket is shut down; the rest is for the log.
    Closed { reason: &'static str, requests: u64 },
    /// A request for `/ws`, by whatever method and unanswered, and the bytes behind its head.
    Upgrade { head: Head, received: Vec<u8> },
}

/// Answers requests in order until the connection ends.
pub(crate) fn serve(stream: &Arc<TcpStream>, info: &ConnectionInfo, edge: &Edge) -> Ended {
    let mut connection = Connection {
        stream,
        info,
        edge,
        requests: RequestStream::new(Arc::clone(stream), edge.limits, Arc::clone(&edge.metrics)),
        publish_rate: PublishRate::new(edge.max_publish_rate, Instant::now()),
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
    let bytes = last_response(problem, head_only);
    if write_by(stream, &bytes, Deadline::after(edge.write_timeout)).is_ok() {
        edge.metrics.http_sent(bytes.len());
        close_gently(stream);
    }
}

/// A problem as the last response of a connection.
pub(crate) fn last_response(problem: &Problem, head_only: bool) -> Vec<u8> {
    Answer::from(problem).encode(Delivery {
        head_only,
        close: true,
    })
}

struct Connection<'a> {
    stream: &'a Arc<TcpStream>,
    info: &'a ConnectionInfo,
    edge: &'a Edge,
    requests: RequestStream,
    publish_rate: PublishRate,
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
        self.info.heard();
        tracing::trace!(method = head.method, "request");
        if head.is_websocket_path() {
            return Err(Stop::Upgrade(Box::new(head)));
        }
        let allowed = self.check(&head)?;
        let body = self.requests.read_body(&head)?;
        self.info.heard();
        let delivery = Delivery {
            head_only: self.head_only,
            close: !head.keep_alive,
        };
        // Asked before the answer: a client that asks as the drain begins may ask again, and is told.
        let is_draining = self.edge.draining.load(Ordering::SeqCst);
        let answer = match allowed.and_then(|()| self.check_rate(&head)) {
            Ok(()) => self.answer(request(head, body)),
            Err(problem) => Answer::from(&problem),
        };
        let close = delivery.close || is_draining || self.info.is_closing();
        Ok((answer, Delivery { close, ..delivery }))
    }

    /// Whether the request is carried out once it is read. A stranger's body is not even read.
    fn check(&self, head: &Head) -> Result<Result<(), Problem>, Stop> {
        match (self.edge.permit)(head, self.info) {
            Ok(()) => Ok(check_origin(head, &self.edge.allowed_origins)),
            Err(problem) if problem.is_unauthorized() && head.body != BodyLength::None => {
                Err(problem.into())
            }
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// Asked last, so that only a publish that would be carried out uses the rate up.
    fn check_rate(&mut self, head: &Head) -> Result<(), Problem> {
        let counts = self.publish_rate.is_limited() && (self.edge.is_publish)(head);
        if counts && !self.publish_rate.allow(Instant::now()) {
            let detail = "More publishes per second than this connection may have";
            return Err(Problem::rate_limited(detail));
        }
        Ok(())
    }

    /// A handler that would have to wait says so at once; the wait is this thread's, not a worker's.
    fn answer(&self, mut request: Request) -> Answer {
        let mut publish = PublishWait::default();
        loop {
            let mut answer = self.edge.large_answers.ask(&self.edge.gateway, &request);
            let Some(event_bytes) = answer.take_header(WAIT_HEADER) else {
                return answer;
            };
            let waited = publish.wait(
                &self.edge.broker,
                &mut request,
                &event_bytes,
                || self.has_left(),
                || self.refuse_further().is_some(),
            );
            match (waited, self.refuse_further()) {
                (_, Some(problem)) => return Answer::from(&problem),
                (Ok(()), None) => {}
                // It says that the topic waits for a slow subscriber.
                (Err(_), None) => return answer,
            }
        }
    }

    fn has_left(&self) -> bool {
        has_peer_left(self.stream)
    }

    /// Why a request that waits is not carried out after all.
    fn refuse_further(&self) -> Option<Problem> {
        if self.info.is_closing() {
            let detail = "An administrator closed this connection";
            return Some(Problem::unavailable(detail));
        }
        let is_admitted = self.info.is_admitted_by(&self.edge.guard);
        (!is_admitted).then(Problem::unauthorized)
    }

    /// The room of a large answer is given back once its client has taken it.
    fn deliver(&mut self, answer: Answer, delivery: Delivery) -> Result<(), Stop> {
        let (start, rest) = answer.encode_in_parts(delivery);
        let timeout = self.edge.write_timeout;
        let write = |bytes: &[u8]| write_while_taken(&**self.stream, bytes, timeout);
        let written = write(&start).and_then(|()| write(rest));
        if written.is_err() {
            return Err(Stop::closed("an answer was not taken in time"));
        }
        self.edge.metrics.http_sent(start.len() + rest.len());
        drop(answer);
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
