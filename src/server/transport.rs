//! The transport of a connection: what the server holds instead of a socket. TCP; in models, a socket of the model.
//!
//! Everything that reads from a client or writes to it goes through here. Any thread may use any method; who may write
//! when is for the callers to decide.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

use super::http::deadline::{self, Deadline};
#[cfg(all(test, shuttle))]
use super::websocket::models::socket::ModelSocket;
use crate::sync::Arc;

/// What a peer may still send after the last response, in bytes and in time, so that the response reaches it.
const MAX_DRAIN_BYTES: usize = 4 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to a client. A clone is the same connection.
#[derive(Clone)]
pub(crate) struct Transport(Kind);

#[derive(Clone)]
enum Kind {
    Tcp(Arc<TcpStream>),
    #[cfg(all(test, shuttle))]
    Model(ModelSocket),
}

impl Transport {
    pub(crate) fn tcp(stream: TcpStream) -> Transport {
        Transport(Kind::Tcp(Arc::new(stream)))
    }

    #[cfg(all(test, shuttle))]
    pub(crate) fn model(socket: ModelSocket) -> Transport {
        Transport(Kind::Model(socket))
    }

    /// Reads once. 0 is the end of the stream; `TimedOut` is the deadline.
    pub(crate) fn read_by(&self, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        deadline::read_by(self.stream(), buffer, deadline)
    }

    /// How long [`Transport::read`] waits; `None` is without end.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream().set_read_timeout(timeout)
    }

    /// Reads once. 0 is the end of the stream; `WouldBlock` or `TimedOut` is the read timeout.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream().read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    /// How long sent bytes may stay unacknowledged by the peer's system before the connection fails.
    pub(crate) fn set_user_timeout(&self, timeout: Duration) {
        // Elsewhere than on Linux the system's own time holds.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(self.stream()).set_tcp_user_timeout(Some(timeout));
        #[cfg(not(target_os = "linux"))]
        let _ = timeout;
    }

    /// What [`Transport::read`] would read, as far as it has arrived.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().peek(buffer)
    }

    /// Whether [`Transport::read`] would not wait.
    pub(crate) fn has_arrived(&self) -> bool {
        let mut polled = [PollFd::new(self.stream().as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Whether the peer has closed its side of the connection. Does not wait, and reads nothing.
    pub(crate) fn has_peer_left(&self) -> bool {
        deadline::has_peer_left(self.stream())
    }

    /// Sends once without waiting; returns how much the kernel took.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(all(test, shuttle))]
        if let Kind::Model(socket) = &self.0 {
            return socket.try_send(bytes);
        }
        match SockRef::from(self.stream()).send_with_flags(bytes, MSG_DONTWAIT | MSG_NOSIGNAL) {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            sent => sent,
        }
    }

    /// Sends once, waiting for the peer at most this long; returns how much the kernel took. `WouldBlock`: nothing.
    pub(crate) fn send_within(&self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        #[cfg(all(test, shuttle))]
        if let Kind::Model(socket) = &self.0 {
            return socket.send_within(bytes);
        }
        let stream = self.stream();
        stream.set_write_timeout(Some(timeout))?;
        match SockRef::from(stream).send_with_flags(bytes, MSG_NOSIGNAL) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            sent => sent,
        }
    }

    /// Writes everything or fails.
    pub(crate) fn write_by(&self, bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        deadline::write_by(self.stream(), bytes, deadline)
    }

    /// Writes everything to a peer that goes on taking some of it, or fails.
    pub(crate) fn write_while_taken(&self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        deadline::write_while_taken(self.stream(), bytes, timeout)
    }

    /// Writes what the kernel takes at once, and waits for nothing from now on.
    pub(crate) fn write_nonblocking(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream().set_nonblocking(true)?;
        self.try_send(bytes)
    }

    /// Wakes whoever reads or writes. Fails silently if the connection is gone.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        match &self.0 {
            Kind::Tcp(stream) => {
                let _ = stream.shutdown(how);
            }
            #[cfg(all(test, shuttle))]
            Kind::Model(socket) => socket.shutdown(how),
        }
    }

    /// Closes the writing side, then discards received bytes, so that no reset overtakes the last response.
    pub(crate) fn close_gently(&self) {
        if self.stream().shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Deadline::after(DRAIN_TIMEOUT);
        let mut sink = [0; 8 * 1024];
        let mut drained = 0;
        while drained < MAX_DRAIN_BYTES {
            match self.read_by(&mut sink, deadline) {
                Ok(0) | Err(_) => break,
                Ok(read) => drained += read,
            }
        }
        self.shutdown(Shutdown::Both);
    }

    fn stream(&self) -> &TcpStream {
        match &self.0 {
            Kind::Tcp(stream) => stream,
            #[cfg(all(test, shuttle))]
            Kind::Model(_) => unreachable!("a model only sends and shuts down"),
        }
    }
}
