//! What all connections share, and the life of a connection on its thread.

mod before_http;

use std::fmt::Display;
use std::io;

use super::address_limits::AddressLimits;
use super::authorization::Authorization;
use super::client_address::TrustedProxies;
use super::connection_info::ConnectionInfo;
use super::connections::Connections;
use super::event_stream;
use super::http::Problem;
use super::http::deadline::Deadline;
use super::http::gateway::{Gateway, GatewayOptions};
use super::http::head::Head;
use super::http::large_responses::LargeResponses;
use super::http::origin_policy::OriginPolicy;
use super::http::serve::{Edge, HttpConnection, refuse, send_last};
use super::http::stream::{End, RequestLimits};
use super::machine;
use super::panics::Panics;
use super::places::{Full, Place, Places};
use super::rest::{Api, EventsQuery, Vitals, problems};
use super::tls::Certificate;
use super::transport::Transport;
use super::websocket::{self, Connection, EndReason, Opening};
use crate::access::{Expiry, Guard, Principal};
use crate::broker::Broker;
use crate::config::{Config, Setting};
use crate::limited_log::{LimitedLog, limited};
use crate::metrics::SharedMetrics;
use crate::protocol::{Encoding, UserName};
use crate::sync::{Arc, Lock};

pub(super) struct Serving {
    pub(super) config: Config,
    pub(super) broker: Arc<Broker>,
    pub(super) guard: Arc<Guard>,
    pub(super) edge: Edge,
    /// With one, connections are encrypted.
    pub(super) certificate: Option<Arc<Certificate>>,
    websockets: websocket::Shared,
    users: Arc<Places<UserName>>,
    logs: Logs,
}

/// An event stream whose threads are not running yet.
struct OpenStream {
    opening: Opening,
    /// When its token expires, if it has one.
    expiry: Option<Expiry>,
    /// Held until the stream has ended.
    _place: Place<UserName>,
}

/// Log lines that a stranger can provoke.
struct Logs {
    closed: LimitedLog,
    failed_tls: LimitedLog,
    refused_handshakes: LimitedLog,
    refused_streams: LimitedLog,
    no_thread: LimitedLog,
    proxy_headers: LimitedLog,
    too_many_of_user: LimitedLog,
}

impl Serving {
    pub(super) fn start(
        config: Config,
        guard: Guard,
        certificate: Option<Arc<Certificate>>,
        connections: &Arc<Connections>,
        panics: Panics,
        settings: Vec<Setting>,
        address: String,
    ) -> io::Result<Serving> {
        let guard = Arc::new(guard);
        let networks = config.trusted_proxies.iter().map(String::as_str);
        // The settings are valid.
        let trusted_proxies = TrustedProxies::parse(networks).unwrap_or_default();
        let metrics = &connections.metrics;
        let metrics_of_broker = SharedMetrics::clone(metrics);
        let broker = match config.redis_url.is_empty() {
            true => Broker::counted(&config, metrics_of_broker),
            false => {
                let open = connections.open_count();
                Broker::in_cluster(&config, metrics_of_broker, address, open)?
            }
        };
        let declared = broker.declare_topics(&config.topics);
        declared.map_err(|error| io::Error::other(format!("PUBSUB_TOPICS: {error:?}")))?;
        let broker = Arc::new(broker);
        let vitals = Vitals {
            panics: panics.clone(),
            max_connections: connections.cap(),
            max_memory_bytes: config.max_memory_bytes,
            metrics_topics: config.metrics_topics,
        };
        let connected = Arc::clone(connections) as _;
        let api = Arc::new(Api::new(Arc::clone(&broker), connected, vitals, settings));
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
            gateway: Gateway::start(options, &api, &panics)?,
            limits: RequestLimits {
                request_timeout: config.request_timeout,
                keep_alive: config.keep_alive,
                max_body_bytes: config.max_message_bytes,
            },
            write_timeout: config.write_timeout,
            large_responses: LargeResponses::new(config.rest_workers, config.request_timeout),
            authorization: Arc::new(Authorization::new(
                Arc::clone(&guard),
                SharedMetrics::clone(metrics),
            )),
            origins: OriginPolicy::new(config.allowed_origins.clone()),
            addresses: AddressLimits::new(
                config.max_connections_per_ip,
                config.max_request_rate,
                SharedMetrics::clone(metrics),
            ),
            trusted_proxies,
            max_publish_rate: config.max_publish_rate,
            draining: broker.draining(),
            broker: Arc::clone(&broker),
            panics,
            metrics: SharedMetrics::clone(metrics),
        };
        Ok(Serving {
            users: Places::new(config.max_connections_per_user, Lock::Users),
            config,
            broker,
            guard,
            edge,
            certificate,
            websockets,
            logs: Logs {
                closed: LimitedLog::new("closed connections"),
                failed_tls: LimitedLog::new("failed TLS handshakes"),
                refused_handshakes: LimitedLog::new("refused handshakes"),
                refused_streams: LimitedLog::new("refused event streams"),
                no_thread: LimitedLog::new("connections refused for want of a writer thread"),
                proxy_headers: LimitedLog::new("connections without a valid PROXY header"),
                too_many_of_user: LimitedLog::new(
                    "connections refused for the number of their user",
                ),
            },
        })
    }

    /// The life of one connection, on its own thread.
    pub(super) fn run(
        &self,
        info: &Arc<ConnectionInfo>,
        transport: &Transport,
        connections: &Connections,
    ) {
        let id = info.id;
        tracing::debug!(connection = id, peer = %info.peer(), "connection opened");
        let Some(_place) = self.before_http(info, transport) else {
            return;
        };
        let mut http = HttpConnection::new(transport, info, &self.edge);
        let reason = match http.run() {
            End::Upgrade(head) => {
                let (received, _place) = http.into_received();
                return self.upgrade(info, transport, connections, &head, received);
            }
            End::EventStream(head, query) => {
                let (received, _place) = http.into_received();
                let surplus = received.len();
                return self.stream_events(info, transport, connections, &head, &query, surplus);
            }
            End::Closed(reason) => reason,
            End::Refused(problem) => problem.code,
        };
        let (peer, requests) = (info.client(), http.answered);
        limited!(self.logs.closed, info, "connection closed", connection = id, %peer, reason, requests);
    }

    /// Checks a handshake: who opens the WebSocket, and the bytes of the 101.
    fn check_handshake(
        &self,
        head: &Head,
        info: &ConnectionInfo,
    ) -> Result<(Principal, Vec<u8>), Problem> {
        tracing::trace!("handshake");
        let principal = self.edge.authorization.check_handshake(head, info)?;
        if self.broker.is_draining() {
            return Err(Problem::shutting_down());
        }
        let origins = &self.edge.origins;
        let response = websocket::accept(head, || origins.check_handshake(head, info))?;
        Ok((principal, response))
    }

    fn upgrade(
        &self,
        info: &Arc<ConnectionInfo>,
        transport: &Transport,
        connections: &Connections,
        head: &Head,
        received: Vec<u8>,
    ) {
        let (id, peer) = (info.id, info.client());
        let metrics = self.broker.metrics();
        let refuse = |problem: &Problem| {
            if problem.is_unauthorized() {
                metrics.auth_failures.count("handshake");
            }
            refuse(transport, problem, head.is_for_head(), &self.edge);
            let (log, reason) = (&self.logs.refused_handshakes, problem.code);
            limited!(log, info, "websocket refused", connection = id, %peer, reason);
        };
        let checked = self.edge.panics.catch(|| self.check_handshake(head, info));
        let (principal, response) = match checked.unwrap_or_else(|| Err(Problem::internal())) {
            Ok(checked) => checked,
            Err(problem) => return refuse(&problem),
        };
        let encoding = Encoding::WebSocket;
        let opened = self.open(info, transport, connections, &principal, encoding);
        let (opening, _place) = match opened {
            Ok(opened) => opened,
            Err(problem) => return refuse(&problem),
        };
        let answer = || {
            metrics.http_sent(response.len());
            let deadline = Deadline::after(self.config.write_timeout);
            transport.write_by(&response, deadline)
        };
        let read = |connection: &Arc<Connection>| {
            let transport = transport.clone();
            let caller = websocket::Caller {
                principal,
                authorization: &self.edge.authorization,
            };
            let (broker, config) = (&self.broker, &self.config);
            websocket::read(connection, transport, received, caller, broker, config)
        };
        if let Err(error) = opening.run(answer, read) {
            refuse(&self.no_thread(info, &error));
        }
    }

    /// The connection becomes an event stream, or ends with the response that says why not.
    fn stream_events(
        &self,
        info: &Arc<ConnectionInfo>,
        transport: &Transport,
        connections: &Connections,
        head: &Head,
        query: &EventsQuery,
        surplus: usize,
    ) {
        let cors = self.edge.origins.cors(head);
        let response_head = event_stream::response_head(event_stream::transfer_coding(head), &cors);
        let open = || self.open_stream(info, transport, connections, head, query, &response_head);
        let opened = self.edge.panics.catch(open);
        let opened = opened.unwrap_or_else(|| Err(Problem::internal()));
        let refused = match opened {
            Ok(Some(OpenStream {
                opening,
                expiry,
                _place,
            })) => {
                let heartbeat = self.config.heartbeat;
                let read = |connection: &Arc<Connection>| {
                    event_stream::read(connection, transport, heartbeat, expiry, surplus);
                    0
                };
                let ran = opening.run(|| Ok(()), read);
                ran.err().map(|error| self.no_thread(info, &error))
            }
            Ok(None) => {
                send_last(transport, &response_head, &self.edge);
                None
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = refused {
            let problem = cors.on_problem(problem);
            refuse(transport, &problem, head.is_for_head(), &self.edge);
            let (log, reason) = (&self.logs.refused_streams, problem.code);
            limited!(log, info, "event stream refused", connection = info.id, peer = %info.client(), reason);
        }
    }

    /// `None` for a HEAD, which subscribes to nothing.
    fn open_stream(
        &self,
        info: &Arc<ConnectionInfo>,
        transport: &Transport,
        connections: &Connections,
        head: &Head,
        query: &EventsQuery,
        response_head: &[u8],
    ) -> Result<Option<OpenStream>, Problem> {
        if self.broker.is_draining() {
            return Err(problems::shutting_down());
        }
        if head.is_for_head() {
            event_stream::check(&self.broker, query)?;
            return Ok(None);
        }
        // Its right was checked; nobody is noted where everyone may do everything.
        let principal = info.principal().unwrap_or(Principal::Everyone);
        let coding = event_stream::transfer_coding(head);
        let encoding = Encoding::EventStream(coding);
        let expiry = principal.expiry();
        let (opening, place) = self.open(info, transport, connections, &principal, encoding)?;
        let connection = &opening.connection;
        let subscribe = || {
            event_stream::subscribe(
                connection,
                coding,
                response_head,
                query,
                principal,
                &self.broker,
            )
        };
        match self.edge.panics.catch(subscribe) {
            Some(subscribed) => subscribed?,
            None => {
                // It may have subscribed before the panic.
                connection.end(EndReason::Internal);
                return Err(Problem::internal());
            }
        }
        Ok(Some(OpenStream {
            opening,
            expiry,
            _place: place,
        }))
    }

    /// A connection that the list knows, and whose threads are not running yet, with the place of its user.
    fn open(
        &self,
        info: &Arc<ConnectionInfo>,
        transport: &Transport,
        connections: &Connections,
        principal: &Principal,
        encoding: Encoding,
    ) -> Result<(Opening, Place<UserName>), Problem> {
        let place = match principal.user() {
            Some(user) => self.users.take(user),
            None => Ok(Place::default()),
        };
        let place = place.map_err(|Full| self.too_many_of_user(info, principal))?;
        if !machine::has_room_for_a_thread() {
            return Err(self.no_thread(info, &"no memory"));
        }
        info.belongs_to(principal.clone());
        let opening = Opening::new(
            Arc::clone(info),
            principal.user().cloned(),
            transport.clone(),
            encoding,
            &self.config,
            &self.websockets,
        );
        if !connections.upgrade(&opening.connection) {
            return Err(match info.is_closing() {
                true => Problem::unavailable("An administrator closed this connection"),
                false => Problem::shutting_down(),
            });
        }
        // A reload of the keys since the check has not seen this connection.
        if !self.guard.still_admits(principal) {
            return Err(Problem::unauthorized());
        }
        Ok((opening, place))
    }

    fn too_many_of_user(&self, info: &ConnectionInfo, principal: &Principal) -> Problem {
        let user = principal.user().map(UserName::as_str);
        limited!(
            self.logs.too_many_of_user,
            info,
            "a user has as many connections as it may have",
            connection = info.id,
            peer = %info.client(),
            user
        );
        self.broker.metrics().rejected.count("user");
        Problem::unavailable("This user has as many connections as it may have")
    }

    fn no_thread(&self, info: &ConnectionInfo, reason: &dyn Display) -> Problem {
        let log = &self.logs.no_thread;
        limited!(log, warn, "no thread for a new writer", connection = info.id, %reason);
        self.broker.metrics().rejected.count("no_thread");
        Problem::unavailable("The server cannot hold another connection")
    }
}
