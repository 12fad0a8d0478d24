//! The bytes a peer sends: received in pieces, watched for abuse, and handed to tungstenite out of memory.
//!
//! tungstenite never touches the socket: reading past what was received is `WouldBlock`, which is the reader's moment to
//! flush before it blocks; and what tungstenite would write (its own pongs and close replies) is discarded, because only
//! the outbox may write.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::scanner::FrameScanner;
use crate::metrics::{Protocol, SharedMetrics};
use crate::server::transport::Transport;

/// Enough for what a subscriber says; of many thousands of them it is a good part of the memory.
const SMALL_BYTES: usize = 1 << 10;
/// What the buffer of a busy publisher grows to.
const LARGE_BYTES: usize = 64 << 10;
/// How far a publisher that waits looks ahead for a close frame. Only what has arrived is touched.
const LOOK_AHEAD_BYTES: usize = 256 << 10;

pub(super) struct Inbound {
    metrics: SharedMetrics,
    transport: Transport,
    buffer: Vec<u8>,
    /// The part of the buffer that tungstenite has not taken yet.
    unread: std::ops::Range<usize>,
    scanner: FrameScanner,
    /// When the message that is on its way began.
    message_began: Option<Instant>,
    timeout: Duration,
}

/// What waiting for bytes brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Bytes,
    /// The peer closed its side.
    Eof,
    /// Nothing came within the time.
    Silence,
    /// A message was begun and not finished in time.
    Unfinished,
    TooManyFragments,
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

    /// Whether the peer has gone, or has said that it goes: its close frame is among what it has sent, as far as that can be
    /// seen without reading on.
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

    /// Whether tungstenite has taken everything, and nothing of it is the start of a frame or of a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.unread.is_empty() && self.scanner.between_messages()
    }

    /// Lets the buffer go, of which nothing is unread. The next bytes get a small one.
    pub(super) fn release_buffer(&mut self) {
        debug_assert!(self.unread.is_empty());
        self.unread = 0..0;
        self.buffer = Vec::new();
    }

    /// Waits for bytes, at most `silence`, and at most until a begun message is `message_timeout` old.
    pub(super) fn fill(&mut self, silence: Duration, message_timeout: Duration) -> Filled {
        if self.scanner.too_many_fragments() {
            return Filled::TooManyFragments;
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

    /// Reads and forgets until there is nothing more to read.
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

    /// Lets the scanner see what came, and hides what stands behind a fragment too many.
    fn watch(&mut self) {
        self.unread.end = self.scanner.scan(&self.buffer[self.unread.clone()]);
        if self.scanner.between_messages() {
            self.message_began = None;
        } else if self.message_began.is_none() || self.scanner.finished_one() {
            self.message_began = Some(Instant::now());
        }
    }

    /// A full buffer grows for the next time, one that is mostly empty shrinks.
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
