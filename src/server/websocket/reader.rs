//! The reader thread of a WebSocket: reads messages, sends the heartbeat, and decides how the connection ends.

use std::io;
use std::time::{Duration, Instant};

use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::connection::Connection;
use super::end::EndReason;
use super::inbound::{Filled, Inbound};
use super::pace::ControlRate;
use super::session::Session;
use crate::protocol::{Notice, ping_frame, pong_frame, push_notice};
use crate::sync::Arc;

/// How much tungstenite reads at a time. Its buffer grows to the size of a larger frame, and never shrinks by itself.
const READ_BUFFER_BYTES: usize = 1 << 10;
/// The buffers of a larger message are freed before the reader waits for the next one.
const LARGE_MESSAGE_BYTES: usize = 64 << 10;

/// The limits that a reader enforces.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReaderLimits {
    pub(super) max_message_bytes: usize,
    pub(super) heartbeat: Duration,
    pub(super) heartbeat_json: bool,
    pub(super) message_timeout: Duration,
}

pub(super) struct Reader {
    connection: Arc<Connection>,
    session: Session,
    inbound: Inbound,
    frames: WebSocketContext,
    /// Length of the largest message since `frames` was made.
    largest_bytes: usize,
    limits: ReaderLimits,
    control_rate: ControlRate,
    pinged: bool,
    /// Since when the peer has sent nothing, or was pinged. Only kept for a token, whose timer interrupts the silence.
    silent_since: Option<Instant>,
    /// Messages received.
    pub(super) messages: u64,
}

impl Reader {
    pub(super) fn new(
        connection: Arc<Connection>,
        session: Session,
        inbound: Inbound,
        limits: ReaderLimits,
    ) -> Reader {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limits.max_message_bytes))
            .max_frame_size(Some(limits.max_message_bytes));
        Reader {
            connection,
            session,
            inbound,
            frames: WebSocketContext::new(Role::Server, Some(config)),
            largest_bytes: 0,
            limits,
            control_rate: ControlRate::new(Instant::now()),
            pinged: false,
            silent_since: None,
            messages: 0,
        }
    }

    /// Reads until there is a reason to end the connection, or until another thread has ended it (`None`). Then all requests
    /// read before are done and flushed.
    pub(super) fn run(&mut self) -> Option<EndReason> {
        let mut end = None;
        while end.is_none() && self.connection.is_open() {
            end = match self.frames.read(&mut self.inbound) {
                Ok(message) => self.message(message),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                Err(error) => Some(end_of(error)),
            };
        }
        self.session.flush();
        end
    }

    /// Flushes what was done before a panic.
    pub(super) fn flush_after_panic(&mut self) {
        self.session.flush_after_panic();
    }

    /// Reads and discards bytes until the peer closes its side, or the writer aborts, which it does after a bounded time.
    pub(super) fn discard(&mut self) {
        self.inbound.discard();
    }

    fn message(&mut self, message: Message) -> Option<EndReason> {
        if self.session.has_expired() {
            return Some(EndReason::TokenExpired);
        }
        self.messages += 1;
        self.largest_bytes = self.largest_bytes.max(message.len());
        match message {
            Message::Text(text) => {
                let is_peer_leaving = || self.inbound.is_peer_leaving();
                self.session.text(text.as_str(), &is_peer_leaving);
            }
            Message::Binary(_) => self.session.binary(),
            Message::Ping(payload) => {
                self.session.reply(&pong_frame(&payload));
                return self.control_frame();
            }
            Message::Pong(_) => return self.control_frame(),
            Message::Close(frame) => {
                return Some(EndReason::PeerClosed(frame.map(|frame| frame.code.into())));
            }
            Message::Frame(_) => {}
        }
        None
    }

    fn control_frame(&mut self) -> Option<EndReason> {
        let allowed = self.control_rate.allow(Instant::now());
        (!allowed).then_some(EndReason::Policy("too many control frames"))
    }

    /// Flushes, because all received requests are done, then waits for more bytes.
    fn wait(&mut self) -> Option<EndReason> {
        self.session.flush_until(|| self.inbound.has_arrived());
        if !self.connection.is_open() {
            return None;
        }
        self.release_buffers(LARGE_MESSAGE_BYTES);
        if self.session.check_token() {
            return Some(EndReason::TokenExpired);
        }
        let (wait, is_whole) = self.silence();
        match self.inbound.fill(wait, self.limits.message_timeout) {
            Filled::Silence if !is_whole => None,
            Filled::Bytes => {
                self.pinged = false;
                self.silent_since = None;
                self.connection.info.heard();
                self.session.bytes_arrived();
                None
            }
            Filled::Silence if self.pinged => Some(EndReason::Heartbeat),
            Filled::Silence => {
                self.session.release_memory();
                self.release_buffers(READ_BUFFER_BYTES);
                self.ping();
                None
            }
            Filled::Eof | Filled::Failed => Some(EndReason::PeerGone),
            Filled::Unfinished => Some(EndReason::Policy("a message was not finished in time")),
            Filled::Wrong(violation) => Some(EndReason::Protocol(violation.to_string())),
            Filled::TooManyFragments => Some(EndReason::Policy("too many fragments")),
        }
    }

    /// How long to wait for bytes, and whether the heartbeat is due then: the timer of a token may come first.
    fn silence(&mut self) -> (Duration, bool) {
        let heartbeat = self.limits.heartbeat;
        let Some(timer) = self.session.token_timer() else {
            return (heartbeat, true);
        };
        let now = Instant::now();
        let since = *self.silent_since.get_or_insert(now);
        let left = (since + heartbeat).saturating_duration_since(now);
        let until_token = timer.left(now);
        (left.min(until_token), left <= until_token)
    }

    /// Frees both buffers if a message was larger than this. Replaces the state of tungstenite to free its buffer: between
    /// messages that state holds nothing else that is needed, because its writes are discarded and a close frame ends the
    /// reading.
    fn release_buffers(&mut self, above_bytes: usize) {
        if self.largest_bytes > above_bytes && self.inbound.is_between_messages() {
            let config = *self.frames.get_config();
            self.frames = WebSocketContext::new(Role::Server, Some(config));
            self.largest_bytes = 0;
            self.inbound.release_buffer();
        }
    }

    fn ping(&mut self) {
        self.pinged = true;
        self.silent_since = None;
        if self.limits.heartbeat_json {
            let mut notice = Vec::new();
            push_notice(&mut notice, Notice::Ping);
            self.session.reply(&notice);
        }
        self.session.reply(&ping_frame());
    }
}

/// The end reason for an error of tungstenite.
fn end_of(error: Error) -> EndReason {
    match error {
        Error::Protocol(what) => EndReason::Protocol(what.to_string()),
        Error::Utf8(_) => EndReason::InvalidUtf8,
        Error::Capacity(_) => EndReason::TooBig,
        _ => EndReason::PeerGone,
    }
}
