//! The stream of a connection: TCP, or TLS over it. Shared by the thread that reads and the threads that write.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

#[cfg(feature = "tls")]
use super::tls::Session;

/// A timeout of zero would be no timeout.
const SHORTEST: Duration = Duration::from_millis(1);
/// Some systems accept no longer timeout for one poll.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Stream {
    tcp: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Session>,
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream) -> Stream {
        Stream {
            tcp,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A stream that needs a [handshake](Stream::handshake) before anything else.
    #[cfg(feature = "tls")]
    pub(super) fn encrypted(tcp: TcpStream, session: Session) -> Stream {
        Stream {
            tcp,
            tls: Some(session),
        }
    }

    /// The handshake of TLS, if this is TLS.
    #[cfg(feature = "tls")]
    pub(super) fn handshake(&self, until: Instant) -> io::Result<()> {
        match &self.tls {
            Some(session) => session.handshake(&self.tcp, until),
            None => Ok(()),
        }
    }

    /// Wakes whoever reads or writes. Fails silently if the connection is gone.
    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = self.tcp.shutdown(how);
    }

    /// Reads once; `WouldBlock` when the time has come. Bytes that have arrived are read even after it.
    pub(super) fn read(&self, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.tls {
            return session.read(&self.tcp, buffer, until);
        }
        receive(&self.tcp, buffer, until)
    }

    /// Writes once; `WouldBlock` when the time has come.
    pub(super) fn write(&self, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.tls {
            return session.write(&self.tcp, bytes, until);
        }
        send(&self.tcp, bytes, until)
    }

    /// Writes what earlier writes have left; `WouldBlock` when the time has come.
    pub(super) fn flush(&self, until: Option<Instant>) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.tls {
            return session.flush(&self.tcp, until);
        }
        let _ = until;
        Ok(())
    }
}

#[cfg(feature = "tls")]
impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(session) = &self.tls {
            session.close(&self.tcp);
        }
    }
}

/// One receive. Polls, because a non-blocking stream would be non-blocking for the side that writes, too.
pub(super) fn receive(
    tcp: &TcpStream,
    buffer: &mut [u8],
    until: Option<Instant>,
) -> io::Result<usize> {
    loop {
        let received = wait_for_input(tcp, until).and_then(|()| (&mut &*tcp).read(buffer));
        match received {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

/// Waits until a receive returns at once.
fn wait_for_input(tcp: &TcpStream, until: Option<Instant>) -> io::Result<()> {
    loop {
        let wait = left(until).map_or(LONGEST, |left| left.min(LONGEST));
        let mut polled = [PollFd::new(tcp, PollFlags::IN)];
        if poll(&mut polled, Timespec::try_from(wait).ok().as_ref())? > 0 {
            return Ok(());
        }
        if left(until) == Some(Duration::ZERO) {
            return Err(ErrorKind::WouldBlock.into());
        }
    }
}

/// One send.
pub(super) fn send(tcp: &TcpStream, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
    loop {
        let left = left(until);
        if left.is_some_and(|left| left.is_zero()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        tcp.set_write_timeout(left.map(|left| left.max(SHORTEST)))?;
        match (&mut &*tcp).write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

fn left(until: Option<Instant>) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(Instant::now()))
}
