//! One connection as HTTP: reads requests and sends responses, until it closes, or becomes a WebSocket or an event stream.
//!
//! Knows the order of the steps at the HTTP edge: head, route, `/ws`, right, origin, body, worker, response. Decides
//! nothing about topics.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::cors::Cors;
use super::deadline::Deadline;
use super::fields::BodyLength;
use super::gateway::Gateway;
use super::head::Head;
use super::large_responses::LargeResponses;
use super::media;
use super::origin_policy::OriginPolicy;
use super::problem::Problem;
use super::request::{Request, SMALL_RESPONSE_BYTES};
use super::response::{Delivery, Response, Retry};
use super::stream::{End, RequestLimits, RequestStream};
use crate::broker::Broker;
use crate::metrics::SharedMetrics;
use crate::server::address_limits::{AddressLimits, AddressPlace};
use crate::server::authorization::Authorization;
use crate::server::client_address::{ClientAddress, TrustedProxies};
use crate::server::connection_info::ConnectionInfo;
use crate::server::panics::Panics;
use crate::server::rest::{PublishWait, Route, check_ready};
use crate::server::token_bucket::TokenBucket;
use crate::server::transport::Transport;
use crate::sync::{Arc, AtomicBool, Ordering};

/// What all connections share.
pub(crate) struct Edge {
    pub(crate) gateway: Gateway,
    pub(crate) limits: RequestLimits,
    pub(crate) write_timeout: Duration,
    pub(crate) large_responses: LargeResponses,
    pub(crate) authorization: Arc<Authorization>,
    pub(crate) origins: OriginPolicy,
    pub(crate) addresses: Arc<AddressLimits>,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Publishes per second of one connection; 0 is unlimited.
    pub(crate) max_publish_rate: u32,
    pub(crate) broker: Arc<Broker>,
    /// Set while the server shuts down: each connection ends after its next response.
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) panics: Panics,
    pub(crate) metrics: SharedMetrics,
}

impl Edge {
    /// The place of a connection that its peer opened, or a trusted proxy named with a PROXY header. A proxy needs none: its
    /// requests are those of many clients.
    pub(crate) fn place_of_connection(
        &self,
        opener: ClientAddress,
    ) -> Result<AddressPlace, Problem> {
        match self.trusted_proxies.contain(opener) {
            true => Ok(AddressPlace::default()),
            false => self.addresses.take_place(opener),
        }
    }

    /// Cancels every request that waits for a worker, for its response, or for memory.
    pub(crate) fn cancel(&self) {
        self.large_responses.close();
        self.gateway.cancel();
    }
}

/// Sends a problem and ends the connection so that the problem arrives. `head_only` in response to HEAD.
pub(crate) fn refuse(transport: &Transport, problem: &Problem, head_only: bool, edge: &Edge) {
    send_last(transport, &last_response(problem, head_only), edge);
}

/// Sends the last bytes of a connection and ends it so that they arrive.
pub(crate) fn send_last(transport: &Transport, bytes: &[u8], edge: &Edge) {
    let deadline = Deadline::after(edge.write_timeout);
    if transport.write_by(bytes, deadline).is_ok() {
        edge.metrics.http_sent(bytes.len());
        transport.close_gently();
    }
}

/// A problem as the last response of a connection.
pub(crate) fn last_response(problem: &Problem, head_only: bool) -> Vec<u8> {
    let close = true;
    Response::from(problem).encode(Delivery { head_only, close })
}

pub(crate) struct HttpConnection<'a> {
    transport: &'a Transport,
    info: &'a ConnectionInfo,
    edge: &'a Edge,
    requests: RequestStream,
    publish_rate: TokenBucket,
    /// The proxy that opened the connection, if it did and is trusted.
    proxy: Option<ClientAddress>,
    /// Of the current request, if a proxy passed it on.
    place: AddressPlace,
    /// The current request is a HEAD.
    head_only: bool,
    /// What the page that sent the current request may read.
    cors: Cors,
    /// How many requests have got a response.
    pub(crate) answered: u64,
}

impl HttpConnection<'_> {
    pub(crate) fn new<'a>(
        transport: &'a Transport,
        info: &'a ConnectionInfo,
        edge: &'a Edge,
    ) -> HttpConnection<'a> {
        let metrics = Arc::clone(&edge.metrics);
        let first_head = Deadline::of(info.opened(), edge.limits.request_timeout);
        HttpConnection {
            transport,
            info,
            edge,
            requests: RequestStream::new(transport.clone(), edge.limits, first_head, metrics),
            publish_rate: TokenBucket::new(edge.max_publish_rate, Instant::now()),
            proxy: Some(info.client()).filter(|opener| edge.trusted_proxies.contain(*opener)),
            place: AddressPlace::default(),
            head_only: false,
            cors: Cors::default(),
            answered: 0,
        }
    }

    /// Answers requests in order until the connection ends: never [`End::Refused`], which is sent here. The socket is shut
    /// down unless a WebSocket or an event stream is requested.
    pub(crate) fn run(&mut self) -> End {
        let reason = loop {
            match self.serve_one() {
                Ok(()) => self.answered += 1,
                Err(End::Closed(reason)) => break reason,
                Err(End::Refused(problem)) => {
                    self.answered += 1;
                    let problem = self.cors.on_problem(problem);
                    refuse(self.transport, &problem, self.head_only, self.edge);
                    break problem.code;
                }
                Err(end) => return end,
            }
        };
        self.transport.shutdown(Shutdown::Both);
        End::Closed(reason)
    }

    /// The bytes behind the last request, and its place, which belongs to the connection from then on.
    pub(crate) fn into_received(self) -> (Vec<u8>, AddressPlace) {
        (self.requests.into_received(), self.place)
    }

    /// `Ok` when the connection is ready for the next request.
    fn serve_one(&mut self) -> Result<(), End> {
        self.head_only = false;
        self.cors = Cors::default();
        let panics = &self.edge.panics;
        // No byte of the response has been sent, so a panic can still be reported.
        let prepared = panics.catch(|| self.prepare());
        let (response, delivery) = prepared.unwrap_or_else(|| Err(Problem::internal().into()))?;
        self.deliver(response, delivery)
    }

    fn prepare(&mut self) -> Result<(Response, Delivery), End> {
        let head = self.requests.read_head();
        let origins = &self.edge.origins;
        (self.head_only, self.cors) = match &head {
            Ok(head) => (head.is_for_head(), origins.cors(head)),
            // A refused head is still in the buffer.
            Err(_) => {
                let received = self.requests.received();
                let cors = origins.cors_of_refused_head(received);
                (received.starts_with(b"HEAD "), cors)
            }
        };
        let head = head?;
        self.info.heard();
        tracing::trace!(method = head.method, "request");
        let route = Route::of(&head);
        if let Some(proxy) = self.proxy {
            let forwarded = head.values("x-forwarded-for");
            let client = self.edge.trusted_proxies.client_of(proxy, forwarded);
            self.info.serves(client);
        }
        let within_limits = self.check_address(&route);
        if route == Route::WebSocket {
            within_limits?;
            return Err(End::Upgrade(Box::new(head)));
        }
        let allowed = within_limits.and_then(|()| self.check(&head, &route));
        // The body of a stranger is not read.
        if let Err(problem) = &allowed
            && problem.is_unauthorized()
            && head.body != BodyLength::None
        {
            return Err(problem.clone().into());
        }
        let body = self.requests.read_body(&head)?;
        self.info.heard();
        let route = match (route, &allowed) {
            (Route::StreamEvents(query), Ok(())) => {
                return Err(End::EventStream(Box::new(head), query));
            }
            (route, _) => route,
        };
        // Read before the response is made: a client that asks as the drain begins may ask once more.
        let is_draining = self.edge.draining.load(Ordering::SeqCst);
        let response = match allowed.and_then(|()| self.check_rate(&route)) {
            Ok(()) => self.answer(&head, route, body),
            Err(problem) => Response::from(&problem),
        };
        let delivery = Delivery {
            head_only: self.head_only,
            close: !head.keep_alive || is_draining || self.info.is_closing(),
        };
        Ok((response, delivery))
    }

    /// Whether the client's address may have one more connection, if a proxy passed the request on, and send one more
    /// request. What says only how the server is, or what a page may ask, is not counted.
    fn check_address(&mut self, route: &Route) -> Result<(), Problem> {
        match route {
            Route::Livez | Route::Readyz | Route::Options(_) | Route::Preflight(_) => return Ok(()),
            Route::WebSocket => {}
            _ => self.edge.addresses.check_request(self.info.client())?,
        }
        if self.proxy.is_some() {
            self.place = self.edge.addresses.take_place(self.info.client())?;
        }
        Ok(())
    }

    /// Whether the request may be carried out once it is read.
    fn check(&self, head: &Head, route: &Route) -> Result<(), Problem> {
        self.edge.authorization.check(head, route, self.info)?;
        self.edge.origins.check(head, route, self.info)
    }

    /// Checked last, so that only a publish that would be carried out counts.
    fn check_rate(&mut self, route: &Route) -> Result<(), Problem> {
        let counts = self.publish_rate.is_limited() && matches!(route, Route::PublishMessage(_));
        if counts && !self.publish_rate.allow(Instant::now()) {
            let detail = "More publishes per second than this connection may have";
            return Err(Problem::rate_limited(detail));
        }
        Ok(())
    }

    fn answer(&self, head: &Head, route: Route, body: Vec<u8>) -> Response {
        match route {
            Route::Preflight(methods) => Cors::preflight(methods),
            // Answers the plain check of a proxy, which asks so whether the server takes requests.
            Route::Options(allow) => match check_ready(&self.edge.broker) {
                Ok(()) => Response::empty(204).with_header("Allow", allow),
                Err(problem) => Response::from(&problem),
            },
            route => self.answer_by_worker(head, route, body),
        }
    }

    /// Sends the request to a worker, and once more after each wait. This thread waits, never a worker.
    fn answer_by_worker(&self, head: &Head, route: Route, body: Vec<u8>) -> Response {
        let mut request = Request {
            route,
            body_may_be_json: media::body_may_be_json(&head.headers),
            body,
            max_response_bytes: SMALL_RESPONSE_BYTES,
            place: None,
        };
        let mut wait = PublishWait::default();
        let edge = self.edge;
        loop {
            let response = edge
                .large_responses
                .exchange(&edge.gateway, head, &mut request);
            let Some(Retry::Publish { event_bytes }) = response.retry else {
                return response;
            };
            let waited = wait.wait(
                &edge.broker,
                &mut request,
                event_bytes,
                || self.transport.has_peer_left(),
                || self.refuse_further().is_some(),
            );
            match (waited, self.refuse_further()) {
                (_, Some(problem)) => return Response::from(&problem),
                (Ok(()), None) => {}
                // The response says that the topic waits for a slow subscriber.
                (Err(_), None) => return response,
            }
        }
    }

    /// Why a request that has waited is not carried out.
    fn refuse_further(&self) -> Option<Problem> {
        if self.info.is_closing() {
            let detail = "An administrator closed this connection";
            return Some(Problem::unavailable(detail));
        }
        let is_valid = self.edge.authorization.is_still_valid(self.info);
        (!is_valid).then(Problem::unauthorized)
    }

    /// Sends a response. Its memory is released once the client has received it.
    fn deliver(&mut self, mut response: Response, delivery: Delivery) -> Result<(), End> {
        self.cors.add_to(&mut response);
        let (start, rest) = response.encode_in_parts(delivery);
        let timeout = self.edge.write_timeout;
        let write = |bytes: &[u8]| self.transport.write_while_taken(bytes, timeout);
        let written = write(&start).and_then(|()| write(rest));
        if written.is_err() {
            return Err(End::Closed("an answer was not taken in time"));
        }
        self.edge.metrics.http_sent(start.len() + rest.len());
        drop(response);
        self.place = AddressPlace::default();
        if delivery.close {
            self.answered += 1;
            self.transport.close_gently();
            return Err(End::Closed("closed as asked"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
