//! WebSocket connections (RFC 6455): a reader thread, a writer thread, and the outbox between them.
//!
//! In reading order: the [`reader`] takes messages out of the [`inbound`] bytes (which a [`scanner`] watches), the
//! [`session`] does what they ask and fans out its [`dirty_topics`], the [`outbox`] sends, the [`writer`] sends what has
//! to wait, and a [`connection`] is what publishers and takers-over see of it all. Nothing here parses JSON or knows
//! what a log is.

mod connection;
mod dirty_topics;
mod end;
mod handshake;
mod inbound;
#[cfg(all(test, shuttle))]
pub(super) mod models;
mod outbox;
mod pace;
mod reader;
mod scanner;
mod session;
mod slow_log;
pub(crate) mod subprotocol;

mod unsent;
mod writer;

pub(crate) use self::connection::Connection;
pub(crate) use self::end::EndReason;
pub(crate) use self::handshake::accept;
use self::slow_log::SlowConsumerLog;

use self::inbound::Inbound;
use self::outbox::{Outbox, Work};
use self::reader::{Reader, ReaderLimits};
use self::session::Session;
use crate::access::Principal;
use crate::broker::Broker;
use crate::config::Config;
use crate::metrics::{Metrics, SharedMetrics};
use crate::server::connection_info::ConnectionInfo;
use crate::server::panics::Panics;
use crate::server::transport::Transport;
use crate::sync::channel::{Receiver, bounded};
use crate::sync::{Arc, thread};

/// A writer only copies bytes between buffers on the heap.
const WRITER_STACK_BYTES: usize = 64 << 10;

/// What all WebSockets of a server tell their troubles to.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(in crate::server) slow_log: Arc<SlowConsumerLog>,
    pub(crate) panics: Panics,
    pub(crate) metrics: SharedMetrics,
}

/// A WebSocket whose threads are about to run.
pub(crate) struct Opening {
    pub(crate) connection: Arc<Connection>,
    work: Receiver<Work>,
}

impl Opening {
    pub(crate) fn new(
        info: Arc<ConnectionInfo>,
        principal: Principal,
        transport: Transport,
        config: &Config,
        shared: &Shared,
    ) -> Opening {
        let Shared {
            slow_log,
            panics,
            metrics,
        } = shared.clone();
        let (outbox, work) = Outbox::new(transport, config.write_timeout, metrics);
        let connection = Connection::new(info, principal, outbox, slow_log, panics);
        Opening {
            connection: Arc::new(connection),
            work,
        }
    }

    /// Starts the writer thread, lets `answer` send the handshake's answer, and lets `read` read on this thread until
    /// the connection has ended and nothing of it is left. `read` returns how many messages it received.
    ///
    /// # Errors
    /// When the writer thread cannot be started; nothing has been sent then.
    pub(crate) fn run(
        self,
        answer: impl FnOnce() -> std::io::Result<()>,
        read: impl FnOnce(&Arc<Connection>) -> u64,
    ) -> std::io::Result<()> {
        let Opening { connection, work } = self;
        let (answered, wait_for_answer) = bounded::<()>(1);
        let writer = thread::Builder::new()
            .name(format!("ws-w-{}", connection.info.id))
            .stack_size(WRITER_STACK_BYTES)
            .spawn({
                let connection = Arc::clone(&connection);
                move || {
                    // It is dropped, not sent to.
                    let _ = wait_for_answer.recv();
                    write(&connection, &work);
                }
            })?;
        let metrics = &connection.outbox.metrics;
        metrics.websocket_opened();
        let messages = connection.panics.catch(|| {
            tracing::info!(connection = connection.info.id, peer = %connection.info.peer, key = connection.principal.name(), "websocket opened");
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
        // The writer catches its panics.
        let _ = writer.join();
        connection.end_subscriptions();
        count_closed(&connection, metrics);
        log_closed(&connection, messages.unwrap_or(0));
        Ok(())
    }
}

/// Writes to the end. After a panic it begins anew, once, to say how the connection ends.
fn write(connection: &Connection, work: &Receiver<Work>) {
    let ran = connection.panics.catch(|| writer::run(connection, work));
    if ran.is_none() {
        connection.panics.catch(|| {
            connection.end(EndReason::Internal);
            writer::run(connection, work);
        });
    }
    connection.abort(EndReason::PeerGone);
}

/// Reads to the end what was received already, then from the socket. A panic ends this connection and no other, and what
/// was done before it is told and delivered.
pub(crate) fn read(
    connection: &Arc<Connection>,
    transport: Transport,
    received: Vec<u8>,
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
        config.max_subscriptions,
        config.max_publish_rate,
    );
    let inbound = Inbound::new(
        transport,
        received,
        SharedMetrics::clone(&connection.outbox.metrics),
    );
    let mut reader = Reader::new(Arc::clone(connection), session, inbound, limits);
    let panics = &connection.panics;
    let end = panics.catch(|| reader.run()).unwrap_or_else(|| {
        panics.catch(|| reader.salvage());
        Some(EndReason::Internal)
    });
    if let Some(reason) = end {
        // In order, also when the peer sends no more: what it asked for before is answered, as far as it takes it.
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

fn log_closed(connection: &Connection, messages: u64) {
    let (delivered, undelivered) = connection.tally();
    let reason = reason_of_end(connection);
    if *reason == EndReason::Internal {
        tracing::error!(
            connection = connection.info.id,
            "a panic ended the connection"
        );
    }
    tracing::info!(connection = connection.info.id, %reason, messages, delivered, undelivered, "websocket closed");
}
