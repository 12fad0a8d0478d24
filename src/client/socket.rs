//! A TCP stream whose every read and write ends at a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A write timeout of zero would be no timeout.
const SHORTEST: Duration = Duration::from_millis(1);
/// Some systems accept no longer timeout for one poll.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The stream may be shared: one `Socket` writes to a publishing connection, another reads from it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
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
    pub(super) fn new(stream: Arc<TcpStream>) -> Socket {
        Socket {
            stream,
            last_received: None,
            read_until: None,
            write_until: None,
            is_write_disabled: false,
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Waits until a read returns at once; `WouldBlock` when `read_until` has passed. Polls, because a non-blocking
    /// stream would be non-blocking for the side that writes, too.
    fn wait_for_input(&self) -> io::Result<()> {
        loop {
            let wait = left(self.read_until).map_or(LONGEST, |left| left.min(LONGEST));
            let mut polled = [PollFd::new(&*self.stream, PollFlags::IN)];
            if poll(&mut polled, Timespec::try_from(wait).ok().as_ref())? > 0 {
                return Ok(());
            }
            if left(self.read_until) == Some(Duration::ZERO) {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
    }
}

fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(Instant::now()))
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.wait_for_input();
            match input.and_then(|()| (&*self.stream).read(buffer)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => {
                    if matches!(read, Ok(1..)) {
                        self.last_received = Some(Instant::now());
                    }
                    return read;
                }
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_write_disabled {
            return Ok(bytes.len());
        }
        loop {
            let left = left(self.write_until);
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let timeout = left.map(|left| left.max(SHORTEST));
            self.stream.set_write_timeout(timeout)?;
            match (&*self.stream).write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
