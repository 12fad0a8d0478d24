//! WebSocket connections (RFC 6455): a reader thread, a writer thread, and the outbox between them.
//!
//! In reading order: the [`reader`] takes messages out of the [`inbound`] bytes (which a [`scanner`] watches), the
//! [`session`] does what they ask, the [`outbox`] sends, the [`writer`] sends what has to wait, and a [`connection`] is
//! what publishers and takers-over see of it all. Nothing here parses JSON or knows what a log is.

mod connection;
mod end;
mod handshake;
mod inbound;
mod outbox;
mod pace;
mod reader;
mod scanner;
mod session;
mod slow_log;
pub(crate) mod subprotocol;
mod unsent;
mod writer;

use std::net::TcpStream;
use std::thread;

pub(crate) use self::connection::Connection;
pub(crate) use self::end::EndReason;
pub(crate) use self::handshake::accept;
pub(crate) use self::slow_log::SlowConsumerLog;

use self::inbound::Inbound;
use self::outbox::{Outbox, Work};
use self::reader::{Reader, ReaderLimits};
use self::session::Session;
use crate::access::Principal;
use crate::broker::Broker;
use crate::config::Config;
use crate::server::panics::Panics;
use crate::server::presence::Presence;
use crate::sync::Arc;
use crate::sync::channel::{Receiver, bounded};

/// A writer only copies bytes between buffers on the heap.
const WRITER_STACK_BYTES: usize = 64 << 10;

/// A WebSocket whose threads are about to run.
pub(crate) struct Opening {
    pub(crate) connection: Arc<Connection>,
    work: Receiver<Work>,
    socket: Arc<TcpStream>,
}

impl Opening {
    pub(crate) fn new(
        presence: Arc<Presence>,
        principal: Principal,
        socket: Arc<TcpStream>,
        config: &Config,
        slow_log: Arc<SlowConsumerLog>,
        panics: Panics,
    ) -> Opening {
        let (outbox, work) = Outbox::new(Arc::clone(&socket), config.write_timeout);
        let connection = Connection::new(presence, principal, outbox, slow_log, panics);
        Opening {
            connection: Arc::new(connection),
            work,
            socket,
        }
    }

    /// Starts the writer thread, lets `answer` send the handshake's answer, and reads on this thread until the
    /// connection has ended and nothing of it is left.
    ///
    /// # Errors
    /// When the writer thread cannot be started; nothing has been sent then.
    pub(crate) fn run(
        self,
        received: Vec<u8>,
        broker: &Arc<Broker>,
        config: &Config,
        answer: impl FnOnce() -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let Opening {
            connection,
            work,
            socket,
        } = self;
        let (answered, wait_for_answer) = bounded::<()>(1);
        let writer = thread::Builder::new()
            .name(format!("ws-w-{}", connection.presence.id))
            .stack_size(WRITER_STACK_BYTES)
            .spawn({
                let connection = Arc::clone(&connection);
                move || {
                    // It is dropped, not sent to.
                    let _ = wait_for_answer.recv();
                    write(&connection, &work);
                }
            })?;
        let messages = connection.panics.catch(|| {
            tracing::info!(connection = connection.presence.id, peer = %connection.presence.peer, key = connection.principal.name(), "websocket opened");
            let answer = answer();
            connection.outbox.open();
            drop(answered);
            if answer.is_err() {
                connection.abort(EndReason::PeerGone);
                return 0;
            }
            read(&connection, Inbound::new(socket, received), broker, config)
        });
        if messages.is_none() {
            connection.abort(EndReason::Internal);
        }
        connection.outbox.reader_left();
        // The writer catches its panics.
        let _ = writer.join();
        connection.release_subscriptions();
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

/// Reads to the end. A panic ends this connection and no other, and what was done before it is told and delivered.
fn read(
    connection: &Arc<Connection>,
    inbound: Inbound,
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
    let mut reader = Reader::new(Arc::clone(connection), session, inbound, limits);
    let panics = &connection.panics;
    let end = panics.catch(|| reader.run()).unwrap_or_else(|| {
        panics.catch(|| reader.salvage());
        Some(EndReason::Internal)
    });
    match end {
        Some(EndReason::PeerGone) => connection.abort(EndReason::PeerGone),
        Some(reason) => {
            connection.end(reason);
            reader.discard();
        }
        None => reader.discard(),
    }
    reader.messages
}

fn log_closed(connection: &Connection, messages: u64) {
    let (delivered, undelivered) = connection.tally();
    let reason = connection.end_reason().unwrap_or(&EndReason::Internal);
    if *reason == EndReason::Internal {
        tracing::error!(
            connection = connection.presence.id,
            "a panic ended the connection"
        );
    }
    tracing::info!(connection = connection.presence.id, %reason, messages, delivered, undelivered, "websocket closed");
}
