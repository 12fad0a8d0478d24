//! The connection for publishing. Publishing threads write to it; a thread of its own reads the answers and passes each to
//! the thread that waits for it.
//!
//! Locks: `writer` guards the writing half of the WebSocket and is held for one frame; `pending` is held for one entry.
//! `pending` and `pong` may be taken under `writer`, nothing may be taken under those.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;
use tungstenite::protocol::Role;
use tungstenite::{Bytes, Error as WsError, Message, Utf8Bytes, WebSocket};

use super::Error;
use super::connect::{Ws, config};
use super::connection::{CLOSE_TIMEOUT, Connection, Received, is_timeout, normal_close};
use super::pending_acks::{Answer, PendingAcks};
use super::settings::Settings;
use super::socket::Socket;
use super::stream::Stream;
use super::wire::{self, Frame};

/// How long a pong may block the reading thread. The rest of its frame is written with the next message.
const PONG_TIMEOUT: Duration = Duration::from_millis(1);
/// Why a connection was left.
const UNAVAILABLE: &str = "the server is unavailable";

#[derive(Debug)]
pub(super) struct PublishConnection {
    stream: Arc<Stream>,
    writer: Mutex<Ws>,
    pong: Mutex<Option<Bytes>>,
    pending: Mutex<PendingAcks>,
    opened: Instant,
    /// The age from which it is left when the server refuses a message as `UNAVAILABLE`; `None` if there is no other server.
    leave_after: Option<Duration>,
    /// Whether it takes no new messages, and ends with the last answer.
    is_leaving: AtomicBool,
    /// Milliseconds from `opened` to the last frame.
    last_received: AtomicU64,
    /// Disconnected when the reading thread has ended.
    ended: Receiver<()>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// Fails the pending acks when the reading thread ends, also by a panic.
struct FailPendingOnDrop(Arc<PublishConnection>);

impl Drop for FailPendingOnDrop {
    fn drop(&mut self) {
        self.0
            .pending
            .lock()
            .end(Error::lost(None, "the reading thread panicked"));
    }
}

/// Why a message was not written. The server has not received it.
#[derive(Debug)]
pub(super) enum SendError {
    Ended(Arc<Error>),
    TooLarge,
    TimedOut,
}

/// A message that was sent and waits for its answer.
#[derive(Debug)]
pub(super) struct PendingAck {
    request: u64,
    connection: Arc<PublishConnection>,
    answer: Receiver<Answer>,
    sent: Instant,
}

impl PublishConnection {
    pub(super) fn start(ws: Ws, settings: &Settings) -> Result<Arc<PublishConnection>, Error> {
        let mut input = Connection::new(ws, settings.heartbeat, settings.connect_timeout);
        input.disable_writing();
        let stream = Arc::clone(input.stream());
        let writer = Socket::new(Arc::clone(&stream));
        let (reader_running, ended) = bounded(0);
        let connection = Arc::new(PublishConnection {
            stream,
            writer: Mutex::new(WebSocket::from_raw_socket(
                writer,
                Role::Client,
                Some(config(settings).read_buffer_size(0)),
            )),
            pong: Mutex::default(),
            pending: Mutex::default(),
            opened: Instant::now(),
            leave_after: (settings.addresses.count() > 1).then_some(settings.backoff.last),
            is_leaving: AtomicBool::new(false),
            last_received: AtomicU64::new(0),
            ended,
            reader: Mutex::default(),
        });
        let reading = Arc::clone(&connection);
        let read = move || {
            // Dropped in this order, also on a panic: pending acks fail before the connection counts as ended.
            let _on_exit = (FailPendingOnDrop(Arc::clone(&reading)), reader_running);
            reading.read(input);
        };
        let reader = thread::Builder::new()
            .name("client-reader".to_owned())
            .spawn(read)
            .map_err(Error::System)?;
        *connection.reader.lock() = Some(reader);
        Ok(connection)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.pending.lock().end_reason().is_some()
    }

    /// Whether new messages may be sent.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_leaving.load(Ordering::SeqCst) && !self.has_ended()
    }

    /// Whether it ended for a reason that another server may not have.
    pub(super) fn may_work_elsewhere(&self) -> bool {
        let pending = self.pending.lock();
        pending.end_reason().is_none_or(Error::is_temporary)
    }

    /// Writes one whole message. After an error the server cannot have received it.
    pub(super) fn send(
        self: &Arc<PublishConnection>,
        request: u64,
        text: &Utf8Bytes,
        deadline: Instant,
    ) -> Result<PendingAck, SendError> {
        let Some(mut writer) = self.writer.try_lock_until(deadline) else {
            return Err(SendError::TimedOut);
        };
        let answer = self.pending.lock().register(request);
        let answer = answer.map_err(SendError::Ended)?;
        let pending_ack = PendingAck {
            request,
            connection: Arc::clone(self),
            answer,
            sent: Instant::now(),
        };
        writer.get_mut().write_until = Some(deadline);
        let written = writer.send(Message::Text(text.clone()));
        drop(writer);
        match written {
            Ok(()) => {
                self.send_pong();
                Ok(pending_ack)
            }
            Err(error) => Err(self.not_written(&pending_ack, &error)),
        }
    }

    /// Handles a failed write. A partial frame makes the connection unusable. If the server closed it, the reading thread knows
    /// why.
    fn not_written(&self, pending_ack: &PendingAck, error: &WsError) -> SendError {
        let is_stuck = matches!(error, WsError::Io(error) if is_timeout(error.kind()));
        if is_stuck || self.ended.recv_timeout(CLOSE_TIMEOUT) != DISCONNECTED {
            self.abort();
        }
        match pending_ack.try_wait() {
            _ if is_stuck => SendError::TimedOut,
            Some(Answer::TooLarge) => SendError::TooLarge,
            Some(Answer::Lost(end) | Answer::NotProcessed(end)) => SendError::Ended(end),
            _ => SendError::Ended(Arc::new(Error::lost(None, error.to_string()))),
        }
    }

    /// Shuts the connection down without a closing handshake, and waits for the reading thread.
    fn abort(&self) {
        self.stream.shutdown(Shutdown::Both);
        let _ = self.ended.recv();
    }

    /// Closes the connection with a close frame, in little more than [`CLOSE_TIMEOUT`].
    pub(super) fn close(&self) {
        if !self.has_ended() {
            if let Some(mut writer) = self.writer.try_lock_for(CLOSE_TIMEOUT) {
                writer.get_mut().write_until = Some(Instant::now() + CLOSE_TIMEOUT);
                let _ = writer.close(Some(normal_close()));
            }
            if self.ended.recv_timeout(CLOSE_TIMEOUT) != DISCONNECTED {
                self.abort();
            }
        }
        if let Some(reader) = self.reader.lock().take() {
            let _ = reader.join();
        }
    }

    fn read(&self, mut input: Connection) {
        let end = loop {
            if self.has_left() {
                break Error::lost(None, UNAVAILABLE);
            }
            match input.receive(None) {
                Ok(Received::Text(text)) => {
                    self.note_received();
                    if let Err(error) = self.dispatch(&text) {
                        break error;
                    }
                }
                Ok(Received::Ping(data)) => {
                    self.note_received();
                    *self.pong.lock() = Some(data);
                    self.send_pong();
                }
                Ok(Received::Silence) => {
                    if let Some(mut writer) = self.writer.try_lock() {
                        writer.get_mut().write_until = Some(Instant::now() + PONG_TIMEOUT);
                        let _ = writer.send(Message::Ping(Bytes::new()));
                    }
                }
                Ok(Received::Pong) => self.note_received(),
                Ok(Received::Nothing) => {}
                Err(error) => break error,
            }
        };
        if let Some(mut writer) = self.writer.try_lock() {
            writer.get_mut().write_until = Some(Instant::now() + PONG_TIMEOUT);
            let _ = writer.close(None);
        }
        self.stream.shutdown(Shutdown::Both);
        self.pending.lock().end(end);
    }

    fn note_received(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_received.store(now, Ordering::Relaxed);
    }

    fn dispatch(&self, text: &str) -> Result<(), Error> {
        let (request, answer) = match wire::parse(text)? {
            Frame::Ack(ack) => (
                ack.request_id,
                Answer::Acked {
                    seq: ack.seq,
                    ts: ack.ts.into_owned(),
                    duplicate: ack.duplicate,
                },
            ),
            Frame::Refused {
                request_id,
                code,
                message,
            } => {
                self.note_refusal(&code);
                (request_id, Answer::Refused(Error::refused(&code, &message)))
            }
            _ => return Ok(()),
        };
        let pending = request
            .parse()
            .ok()
            .and_then(|request| self.pending.lock().take(request));
        if let Some(to) = pending {
            // The receiver may be gone after a timeout.
            let _ = to.try_send(answer);
        }
        Ok(())
    }

    /// An unavailable server is left for another one, but not at once after it was chosen: all may be unavailable.
    fn note_refusal(&self, code: &str) {
        let age = self.opened.elapsed();
        if code == "UNAVAILABLE" && self.leave_after.is_some_and(|min_age| min_age <= age) {
            self.is_leaving.store(true, Ordering::SeqCst);
        }
    }

    /// Ends the connection if it is being left and no answer is pending.
    fn has_left(&self) -> bool {
        let end = || Error::lost(None, UNAVAILABLE);
        self.is_leaving.load(Ordering::SeqCst) && self.pending.lock().end_if_idle(end)
    }

    /// Sends the pending pong, unless another thread is writing: that thread then sends it when done. So the reading thread
    /// never waits for a writing thread, which may itself wait until the server reads its answers.
    fn send_pong(&self) {
        while self.pong.lock().is_some() {
            let Some(mut writer) = self.writer.try_lock() else {
                return;
            };
            let pong = self.pong.lock().take();
            if let Some(data) = pong {
                writer.get_mut().write_until = Some(Instant::now() + PONG_TIMEOUT);
                let _ = writer.send(Message::Pong(data));
            }
        }
    }
}

const DISCONNECTED: Result<(), crossbeam_channel::RecvTimeoutError> =
    Err(crossbeam_channel::RecvTimeoutError::Disconnected);

impl PendingAck {
    /// Waits for the answer.
    pub(super) fn wait(&self, deadline: Instant) -> Answer {
        match self.answer.recv_deadline(deadline) {
            Ok(answer) => answer,
            Err(_) => {
                self.close_if_silent();
                Answer::TimedOut
            }
        }
    }

    /// The answer, if it has arrived.
    pub(super) fn try_wait(&self) -> Option<Answer> {
        self.answer.try_recv().ok()
    }

    /// When the message was sent.
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    pub(super) fn connection(&self) -> &Arc<PublishConnection> {
        &self.connection
    }

    /// Shuts the connection down if nothing was received since the message was sent.
    fn close_if_silent(&self) {
        let sent = self.sent.duration_since(self.connection.opened).as_millis();
        if u128::from(self.connection.last_received.load(Ordering::Relaxed)) <= sent {
            self.connection.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for PendingAck {
    fn drop(&mut self) {
        self.connection.pending.lock().take(self.request);
    }
}
