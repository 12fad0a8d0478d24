//! A TCP stream whose every read and write ends at a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A timeout that the system takes for one, and not for none.
const SHORTEST: Duration = Duration::from_millis(1);

/// One side's view of a connection. The stream may be shared: a publishing connection is written by one `Socket`
/// and read by another.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// When something was last read.
    pub(super) heard: Option<Instant>,
    /// When reads give up with `WouldBlock`; what has arrived is read even after that.
    pub(super) read_until: Option<Instant>,
    /// When writes give up.
    pub(super) write_until: Option<Instant>,
    /// Whether whatever is written is dropped, because another `Socket` does the writing.
    pub(super) is_mute: bool,
}

impl Socket {
    pub(super) fn new(stream: Arc<TcpStream>) -> Socket {
        Socket {
            stream,
            heard: None,
            read_until: None,
            write_until: None,
            is_mute: false,
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Does not make the stream non-blocking, for it would be so for whoever writes to it, too.
    fn read_what_has_arrived(&self, buffer: &mut [u8]) -> io::Result<usize> {
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
                Some(Duration::ZERO) => self.read_what_has_arrived(buffer),
                left => {
                    let timeout = left.map(|left| left.max(SHORTEST));
                    self.stream.set_read_timeout(timeout)?;
                    (&*self.stream).read(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => {
                    if matches!(read, Ok(1..)) {
                        self.heard = Some(Instant::now());
                    }
                    return read;
                }
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_mute {
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
