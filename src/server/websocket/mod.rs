//! WebSocket connections (RFC 6455): a reader thread, a writer thread, and the outbox between them. Event streams have the
//! same connection, outbox and writer; only their reader is in `event_stream`.
//!
//! In reading order: the [`reader`] reads messages from the [`inbound`] bytes (checked by a [`scanner`]), the [`session`]
//! carries out their requests and fans out its [`dirty_topics`], the [`outbox`] sends, the [`writer`] sends whatever has to
//! wait for the peer, and a [`connection`] is the part that other threads use: publishers, takeovers, administrators.
//! Nothing here parses JSON or reads a log directly.

mod connection;
mod dirty_topics;
mod end;
mod handshake;
mod held_publishes;
mod inbound;
#[cfg(all(test, shuttle))]
pub(super) mod models;
mod opening;
mod outbox;
mod pace;
mod reader;
mod scanner;
mod session;
pub(crate) mod subprotocol;
mod subscriptions;
mod token_timer;
mod unsent;
mod writer;

pub(crate) use self::connection::{Connection, SlowConsumerLog};
pub(crate) use self::end::EndReason;
pub(crate) use self::handshake::accept;
pub(super) use self::session::Session;

use self::inbound::Inbound;
use self::outbox::{Outbox, Work};
use self::reader::{Reader, ReaderLimits};
use crate::access::Principal;
use crate::broker::Broker;
use crate::config::Config;
use crate::metrics::{Metrics, Protocol, SharedMetrics};
use crate::protocol::{Encoding, UserName};
use crate::server::authorization::Authorization;
use crate::server::connection_info::ConnectionInfo;
use crate::server::panics::Panics;
use crate::server::transport::Transport;
use crate::sync::channel::{Receiver, bounded};
use crate::sync::{Arc, thread};

/// A writer only copies bytes between buffers on the heap.
const WRITER_STACK_BYTES: usize = 64 << 10;

/// Where all WebSockets and event streams of a server log and count.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(in crate::server) slow_log: Arc<SlowConsumerLog>,
    pub(crate) panics: Panics,
    pub(crate) metrics: SharedMetrics,
}

/// A WebSocket or an event stream whose threads are not running yet.
pub(crate) struct Opening {
    pub(crate) connection: Arc<Connection>,
    work: Receiver<Work>,
}

impl Opening {
    pub(crate) fn new(
        info: Arc<ConnectionInfo>,
        user: Option<UserName>,
        transport: Transport,
        encoding: Encoding,
        config: &Config,
        shared: &Shared,
    ) -> Opening {
        let Shared {
            slow_log,
            panics,
            metrics,
        } = shared.clone();
        let (outbox, work) = Outbox::new(transport, encoding, config.write_timeout, metrics);
        let max = config.max_subscriptions;
        let connection = Connection::new(info, user, max, outbox, slow_log, panics);
        Opening {
            connection: Arc::new(connection),
            work,
        }
    }

    /// Starts the writer thread, sends the response of the handshake with `answer`, and reads on this thread with `read`, which
    /// returns how many messages it received. Returns once the connection has ended and its writer is joined.
    ///
    /// # Errors
    /// If the writer thread cannot be started. Nothing has been sent then, and its subscriptions have ended.
    pub(crate) fn run(
        self,
        answer: impl FnOnce() -> std::io::Result<()>,
        read: impl FnOnce(&Arc<Connection>) -> u64,
    ) -> std::io::Result<()> {
        let Opening { connection, work } = self;
        let (answered, wait_for_answer) = bounded::<()>(1);
        let (name, kind) = match connection.protocol() {
            Protocol::EventStream => ("sse-w", "event stream"),
            _ => ("ws-w", "websocket"),
        };
        let writer = thread::Builder::new()
            .name(format!("{name}-{}", connection.info.id))
            .stack_size(WRITER_STACK_BYTES)
            .spawn({
                let connection = Arc::clone(&connection);
                move || {
                    // The sender is dropped, nothing is sent: it always fails.
                    let _ = wait_for_answer.recv();
                    writer::run(&connection, &work);
                }
            });
        let writer = writer.inspect_err(|_| connection.end(EndReason::Internal))?;
        let metrics = &connection.outbox.metrics;
        metrics.opened(connection.protocol());
        let messages = connection.panics.catch(|| {
            let user = connection.caller().user.map(UserName::as_str);
            tracing::info!(connection = connection.info.id, peer = %connection.info.client(), key = connection.info.key(), user, "{kind} opened");
            let answer = answer();
            connection.outbox.open();
            drop(answered);
            if answer.is_err() {
                connection.abort(EndReason::PeerGone);
                return 0;
            }
            read(&connection)
        });
        if messages.is_none() {
            connection.abort(EndReason::Internal);
        }
        connection.outbox.reader_left();
        // The writer catches its own panics.
        let _ = writer.join();
        connection.end_subscriptions();
        count_closed(&connection, metrics);
        log_closed(&connection, kind, messages.unwrap_or(0));
        Ok(())
    }
}

/// Who uses a WebSocket at first, and what checks its further tokens.
pub(crate) struct Caller<'a> {
    pub(crate) principal: Principal,
    pub(crate) authorization: &'a Arc<Authorization>,
}

/// Reads the bytes received so far, then from the socket, until the connection ends. A panic ends only this connection;
/// requests done before it are acknowledged and their events delivered.
pub(crate) fn read(
    connection: &Arc<Connection>,
    transport: Transport,
    received: Vec<u8>,
    caller: Caller<'_>,
    broker: &Arc<Broker>,
    config: &Config,
) -> u64 {
    let limits = ReaderLimits {
        max_message_bytes: config.max_message_bytes,
        heartbeat: config.heartbeat,
        heartbeat_json: config.heartbeat_json,
        message_timeout: config.request_timeout,
    };
    let session = Session::new(
        Arc::clone(connection),
        Arc::clone(broker),
        caller.principal,
        config.max_publish_rate,
    );
    let session = session.renewable(caller.authorization);
    let inbound = Inbound::new(
        transport,
        received,
        SharedMetrics::clone(&connection.outbox.metrics),
    );
    let mut reader = Reader::new(Arc::clone(connection), session, inbound, limits);
    let panics = &connection.panics;
    let end = panics.catch(|| reader.run()).unwrap_or_else(|| {
        panics.catch(|| reader.flush_after_panic());
        Some(EndReason::Internal)
    });
    if let Some(reason) = end {
        // Not aborted, even if the peer sends no more: it may still read the replies to its requests.
        connection.end(reason);
    }
    reader.discard();
    reader.messages
}

fn count_closed(connection: &Connection, metrics: &Metrics) {
    let (_, undelivered) = connection.tally();
    let reason = reason_of_end(connection);
    metrics.disconnects.count(reason.label());
    match reason {
        EndReason::SlowConsumer(_, policy) => metrics.dropped(*policy, undelivered),
        _ => metrics.undelivered(undelivered),
    }
    if *reason == EndReason::Unauthorized {
        metrics.auth_failures.count("connection");
    }
}

fn reason_of_end(connection: &Connection) -> &EndReason {
    connection.end_reason().unwrap_or(&EndReason::Internal)
}

fn log_closed(connection: &Connection, kind: &str, messages: u64) {
    let (delivered, undelivered) = connection.tally();
    let reason = reason_of_end(connection);
    if *reason == EndReason::Internal {
        tracing::error!(
            connection = connection.info.id,
            "a panic ended the connection"
        );
    }
    tracing::info!(connection = connection.info.id, %reason, messages, delivered, undelivered, "{kind} closed");
}
