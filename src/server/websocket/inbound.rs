//! The bytes that a peer sends: receives them into memory, scans them for abuse, and passes them to tungstenite.
//!
//! tungstenite never uses the socket. Once it has read all received bytes, it gets `WouldBlock`, and the reader flushes
//! before it waits for more. Bytes that tungstenite writes (its own pongs and close frames) are discarded, because only the
//! outbox may write.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use tungstenite::error::ProtocolError;

use super::scanner::FrameScanner;
use crate::metrics::{Protocol, SharedMetrics};
use crate::server::transport::Transport;

/// The initial buffer size. Small, because thousands of subscribers that send little have one each.
const SMALL_BYTES: usize = 1 << 10;
/// The most that the buffer of a busy publisher grows to.
const LARGE_BYTES: usize = 64 << 10;
/// How many received bytes a waiting publisher searches for a close frame.
const LOOK_AHEAD_BYTES: usize = 256 << 10;

pub(super) struct Inbound {
    metrics: SharedMetrics,
    transport: Transport,
    buffer: Vec<u8>,
    /// The part of the buffer that tungstenite has not read yet.
    unread: std::ops::Range<usize>,
    scanner: FrameScanner,
    /// When the first bytes of an incomplete message arrived.
    message_began: Option<Instant>,
    timeout: Duration,
}

/// The result of waiting for bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Bytes,
    /// The peer closed its side.
    Eof,
    /// Nothing came within the time.
    Silence,
    /// A message was not finished in time.
    Unfinished,
    TooManyFragments,
    /// A frame is wrong, as its first two bytes show.
    Wrong(ProtocolError),
    Failed,
}

impl Inbound {
    /// Takes over a socket and the bytes already received from it.
    pub(super) fn new(transport: Transport, received: Vec<u8>, metrics: SharedMetrics) -> Inbound {
        let mut inbound = Inbound {
            metrics,
            transport,
            unread: 0..received.len(),
            buffer: received,
            scanner: FrameScanner::default(),
            message_began: None,
            timeout: Duration::ZERO,
        };
        inbound.watch();
        inbound
    }

    /// Whether [`Inbound::fill`] would not wait.
    pub(super) fn has_arrived(&self) -> bool {
        self.transport.has_arrived()
    }

    /// Whether the peer has gone, or its close frame is among the received bytes, including those still in the socket as far
    /// as they can be peeked at.
    pub(super) fn is_peer_leaving(&self) -> bool {
        if self.scanner.saw_close() || self.transport.has_peer_left() {
            return true;
        }
        if !self.has_arrived() {
            return false;
        }
        let mut sent = vec![0; LOOK_AHEAD_BYTES];
        let arrived = self.transport.peek(&mut sent).unwrap_or(0);
        let mut ahead = self.scanner.clone();
        ahead.scan(&sent[..arrived]);
        ahead.saw_close()
    }

    /// Whether tungstenite has read everything, and no frame or message is incomplete.
    pub(super) fn is_between_messages(&self) -> bool {
        self.unread.is_empty() && self.scanner.between_messages()
    }

    /// Frees the buffer, which must have no unread bytes. The next read allocates a small one.
    pub(super) fn release_buffer(&mut self) {
        debug_assert!(self.unread.is_empty());
        self.unread = 0..0;
        self.buffer = Vec::new();
    }

    /// Waits for bytes, at most for `silence`, and at most until an incomplete message is `message_timeout` old.
    pub(super) fn fill(&mut self, silence: Duration, message_timeout: Duration) -> Filled {
        if self.scanner.too_many_fragments() {
            return Filled::TooManyFragments;
        }
        if let Some(violation) = self.scanner.violation() {
            return Filled::Wrong(violation.clone());
        }
        let left = self
            .message_began
            .map(|began| message_timeout.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Filled::Unfinished;
        }
        if self
            .set_timeout(left.map_or(silence, |left| left.min(silence)))
            .is_err()
        {
            return Filled::Failed;
        }
        match self.receive() {
            Ok(0) => Filled::Eof,
            Ok(_) => Filled::Bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                if left.is_some_and(|left| left < silence) {
                    Filled::Unfinished
                } else {
                    Filled::Silence
                }
            }
            Err(_) => Filled::Failed,
        }
    }

    /// Reads and discards bytes until the end of the stream or an error.
    pub(super) fn discard(&mut self) {
        self.unread = 0..0;
        if self.transport.set_read_timeout(None).is_err() {
            return;
        }
        self.buffer.resize(SMALL_BYTES, 0);
        loop {
            match self.transport.read(&mut self.buffer) {
                Ok(0) | Err(_) => return,
                Ok(discarded) => self.metrics.received(Protocol::WebSocket, discarded),
            }
        }
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        if self.timeout != timeout {
            self.transport
                .set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
            self.timeout = timeout;
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        debug_assert!(self.unread.is_empty());
        if self.buffer.len() < SMALL_BYTES {
            self.buffer.resize(SMALL_BYTES, 0);
        }
        let received = self.transport.read(&mut self.buffer)?;
        self.metrics.received(Protocol::WebSocket, received);
        self.unread = 0..received;
        self.watch();
        self.fit(received);
        Ok(received)
    }

    /// Scans the new bytes, and drops those from a wrong frame on, or after too many fragments.
    fn watch(&mut self) {
        self.unread.end = self.scanner.scan(&self.buffer[self.unread.clone()]);
        if self.scanner.between_messages() {
            self.message_began = None;
        } else if self.message_began.is_none() || self.scanner.finished_one() {
            self.message_began = Some(Instant::now());
        }
    }

    /// Adapts the buffer for the next read: grows a full one, shrinks one that is mostly empty.
    fn fit(&mut self, received: usize) {
        let size = self.buffer.len();
        if received == size && size < LARGE_BYTES {
            self.buffer.resize(2 * size, 0);
        } else if received < size / 8 && size > SMALL_BYTES {
            self.buffer.truncate((size / 2).max(received));
            self.buffer.shrink_to_fit();
        }
    }
}

impl Read for Inbound {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = (&self.buffer[self.unread.clone()]).read(out)?;
        self.unread.start += taken;
        Ok(taken)
    }
}

impl Write for Inbound {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
