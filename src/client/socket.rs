//! A stream whose every read and write ends at a deadline.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use super::stream::Stream;

/// The stream may be shared: one `Socket` writes to a publishing connection, another reads from it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<Stream>,
    /// When bytes were last read.
    pub(super) last_received: Option<Instant>,
    /// Deadline of reads, which then fail with `WouldBlock`. Bytes that have arrived are read even after it.
    pub(super) read_until: Option<Instant>,
    /// Deadline of writes.
    pub(super) write_until: Option<Instant>,
    /// Whether writes are discarded, because another `Socket` writes to the stream.
    pub(super) is_write_disabled: bool,
}

impl Socket {
    pub(super) fn new(stream: Arc<Stream>) -> Socket {
        Socket {
            stream,
            last_received: None,
            read_until: None,
            write_until: None,
            is_write_disabled: false,
        }
    }

    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer, self.read_until);
        if matches!(read, Ok(1..)) {
            self.last_received = Some(Instant::now());
        }
        read
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.is_write_disabled {
            true => Ok(bytes.len()),
            false => self.stream.write(bytes, self.write_until),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.is_write_disabled {
            true => Ok(()),
            false => self.stream.flush(self.write_until),
        }
    }
}
