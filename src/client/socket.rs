//! A TCP stream whose every read and write ends at a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The shortest socket timeout. Zero would mean none.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

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

    /// Does not make the stream non-blocking, since that would affect the `Socket` that writes to it.
    fn read_available(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut arrived = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut arrived, PollTimeout::ZERO)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            _ => (&*self.stream).read(buffer),
        }
    }
}

fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(Instant::now()))
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match left(self.read_until) {
                Some(Duration::ZERO) => self.read_available(buffer),
                left => {
                    let timeout = left.map(|left| left.max(MIN_TIMEOUT));
                    self.stream.set_read_timeout(timeout)?;
                    (&*self.stream).read(buffer)
                }
            };
            match read {
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
            let timeout = left.map(|left| left.max(MIN_TIMEOUT));
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
