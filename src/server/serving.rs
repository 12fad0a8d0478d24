//! What every connection shares, and what a new connection's thread does with it.

use std::fmt::Display;
use std::io;
use std::net::TcpStream;

use super::connection_info::ConnectionInfo;
use super::connections::Connections;
use super::http::deadline::{Deadline, write_by};
use super::http::gateway::{Gateway, GatewayOptions, Handler};
use super::http::head::Head;
use super::http::large_answers::LargeAnswers;
use super::http::serve::{Edge, Ended, Permit, refuse, serve};
use super::http::stream::RequestLimits;
use super::http::{Problem, Request};
use super::machine;
use super::panics::Panics;
use super::permit;
use super::rest::{self, Api, Vitals};
use super::websocket::{self, Connection, Opening, Socket};
use crate::access::{Guard, Principal};
use crate::broker::Broker;
use crate::config::{Config, Setting};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::sync::Arc;

pub(super) struct Serving {
    pub(super) config: Config,
    pub(super) broker: Arc<Broker>,
    pub(super) guard: Arc<Guard>,
    pub(super) edge: Edge,
    websockets: websocket::Shared,
    logs: Logs,
}

/// The lines of connections that a stranger can provoke.
struct Logs {
    closed: LimitedLog,
    refused_handshakes: LimitedLog,
    no_thread: LimitedLog,
}

impl Serving {
    pub(super) fn start(
        config: Config,
        guard: Guard,
        connections: &Arc<Connections>,
        panics: Panics,
        settings: Vec<Setting>,
    ) -> io::Result<Serving> {
        let guard = Arc::new(guard);
        let metrics = &connections.metrics;
        let broker = Arc::new(Broker::counted(&config, SharedMetrics::clone(metrics)));
        let vitals = Vitals {
            panics: panics.clone(),
            max_connections: connections.cap(),
            max_memory_bytes: config.max_memory_bytes,
            metrics_topics: config.metrics_topics,
        };
        let connected = Arc::clone(connections) as _;
        let api = Api::new(Arc::clone(&broker), connected, vitals, settings);
        let handler: Arc<Handler> = Arc::new(move |request: &Request| api.respond(request));
        let options = GatewayOptions {
            workers: config.rest_workers,
            queue_timeout: config.request_timeout,
            answer_timeout: config.request_timeout,
        };
        let websockets = websocket::Shared {
            slow_log: Arc::default(),
            panics: panics.clone(),
            metrics: SharedMetrics::clone(metrics),
        };
        let edge = Edge {
            gateway: Gateway::start(options, &handler, &panics)?,
            limits: RequestLimits {
                request_timeout: config.request_timeout,
                idle_timeout: config.heartbeat * 2,
                max_body_bytes: config.max_message_bytes,
            },
            write_timeout: config.write_timeout,
            large_answers: LargeAnswers::new(config.rest_workers, config.request_timeout),
            permit: permit(Arc::clone(&guard), SharedMetrics::clone(metrics)),
            allowed_origins: config.allowed_origins.clone(),
            is_publish: |head| rest::published_topic(&head.method, &head.path).is_some(),
            max_publish_rate: config.max_publish_rate,
            draining: broker.draining(),
            broker: Arc::clone(&broker),
            guard: Arc::clone(&guard),
            panics,
            metrics: SharedMetrics::clone(metrics),
        };
        Ok(Serving {
            config,
            broker,
            guard,
            edge,
            websockets,
            logs: Logs {
                closed: LimitedLog::new("closed connections"),
                refused_handshakes: LimitedLog::new("refused handshakes"),
                no_thread: LimitedLog::new("WebSockets refused for want of a thread"),
            },
        })
    }

    /// The life of one connection, on its own thread.
    pub(super) fn run(
        &self,
        info: &Arc<ConnectionInfo>,
        socket: &Arc<TcpStream>,
        connections: &Connections,
    ) {
        let (id, peer) = (info.id, info.peer);
        tracing::debug!(connection = id, %peer, "connection opened");
        match serve(socket, info, &self.edge) {
            Ended::Closed { reason, requests } => {
                limited!(self.logs.closed, info, "connection closed", connection = id, %peer, reason, requests);
            }
            Ended::Upgrade { head, received } => {
                self.upgrade(info, socket, connections, &head, received);
            }
        }
    }

    /// Who opens a WebSocket, and the bytes of the 101.
    fn judge(&self, head: &Head) -> Result<(Principal, Vec<u8>), Problem> {
        tracing::trace!("handshake");
        let principal = permit::handshake(&self.guard, head)?;
        if self.broker.is_draining() {
            return Err(Problem::shutting_down());
        }
        let response = websocket::accept(head, &self.config.allowed_origins)?;
        Ok((principal, response))
    }

    fn upgrade(
        &self,
        info: &Arc<ConnectionInfo>,
        socket: &Arc<TcpStream>,
        connections: &Connections,
        head: &Head,
        received: Vec<u8>,
    ) {
        let (id, peer) = (info.id, info.peer);
        let metrics = self.broker.metrics();
        let refuse = |problem: &Problem| {
            if problem.is_unauthorized() {
                metrics.auth_failures.count("handshake");
            }
            refuse(socket, problem, head.is_for_head(), &self.edge);
            let (log, reason) = (&self.logs.refused_handshakes, problem.code);
            limited!(log, info, "websocket refused", connection = id, %peer, reason);
        };
        let judged = self.edge.panics.catch(|| self.judge(head));
        let (principal, response) = match judged.unwrap_or_else(|| Err(Problem::internal())) {
            Ok(judged) => judged,
            Err(problem) => return refuse(&problem),
        };
        let no_thread = |reason: &dyn Display| {
            let log = &self.logs.no_thread;
            limited!(log, warn, "no thread for a new WebSocket", connection = id, %reason);
            metrics.rejected.count("no_thread");
            refuse(&Problem::unavailable(
                "The server cannot hold another connection",
            ));
        };
        if !machine::has_room_for_a_thread() {
            return no_thread(&"no memory");
        }
        info.belongs_to(principal.clone());
        let opening = Opening::new(
            Arc::clone(info),
            principal,
            Socket::new(Arc::clone(socket)),
            &self.config,
            &self.websockets,
        );
        if !connections.upgrade(&opening.connection) {
            return refuse(&match info.is_closing() {
                true => Problem::unavailable("An administrator closed this connection"),
                false => Problem::shutting_down(),
            });
        }
        // A reload in between went over the connections without this one.
        if !self.guard.still_admits(&opening.connection.principal) {
            return refuse(&Problem::unauthorized());
        }
        let answer = || {
            metrics.http_sent(response.len());
            let deadline = Deadline::after(self.config.write_timeout);
            write_by(&**socket, &response, deadline)
        };
        let read = |connection: &Arc<Connection>| {
            let socket = Arc::clone(socket);
            websocket::read(connection, socket, received, &self.broker, &self.config)
        };
        if let Err(error) = opening.run(answer, read) {
            no_thread(&error);
        }
    }
}

/// Judges REST requests; notes whose connection it is, or that a stranger was refused.
fn permit(guard: Arc<Guard>, metrics: SharedMetrics) -> Box<Permit> {
    let log = LimitedLog::new("requests without a valid credential");
    Box::new(move |head, info| {
        let permitted = permit::request(&guard, head).inspect_err(|problem| {
            if problem.is_unauthorized() {
                metrics.auth_failures.count("rest");
                limited!(
                    log,
                    info,
                    "a request without a valid credential was refused",
                    connection = info.id,
                    peer = %info.peer
                );
            }
        });
        if let Some(principal) = permitted? {
            info.belongs_to(principal);
        }
        Ok(())
    })
}
