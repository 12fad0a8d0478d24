//! The transport of a connection: what the server holds instead of a socket. TCP, or TLS over it; in models, a socket of the model.
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
use super::tls::{Certificate, HandshakeError, TlsStream};
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
    Tls(Arc<TlsStream>),
    #[cfg(all(test, shuttle))]
    Model(ModelSocket),
}

impl Transport {
    pub(crate) fn tcp(stream: TcpStream) -> Transport {
        Transport(Kind::Tcp(Arc::new(stream)))
    }

    /// A connection that needs a [handshake](Transport::handshake) before anything else.
    pub(crate) fn tls(stream: TcpStream, certificate: &Certificate) -> io::Result<Transport> {
        let stream = TlsStream::new(stream, &certificate.config)?;
        Ok(Transport(Kind::Tls(Arc::new(stream))))
    }

    /// What is under TLS; else the same.
    pub(crate) fn without_tls(&self) -> Transport {
        match &self.0 {
            Kind::Tls(stream) => Transport(Kind::Tcp(Arc::clone(stream.socket()))),
            _ => self.clone(),
        }
    }

    /// The handshake of TLS, if this is TLS.
    pub(crate) fn handshake(&self, deadline: Deadline) -> Result<(), HandshakeError> {
        match &self.0 {
            Kind::Tls(stream) => stream.handshake(deadline),
            _ => Ok(()),
        }
    }

    /// As much of the handshake as needs no waiting; whether it is done. The socket waits for nothing from now on.
    pub(crate) fn try_handshake(&self) -> io::Result<bool> {
        self.stream().set_nonblocking(true)?;
        match &self.0 {
            Kind::Tls(stream) => stream.try_handshake(),
            _ => Ok(true),
        }
    }

    #[cfg(all(test, shuttle))]
    pub(crate) fn model(socket: ModelSocket) -> Transport {
        Transport(Kind::Model(socket))
    }

    /// Reads once. 0 is the end of the stream; `TimedOut` is the deadline.
    pub(crate) fn read_by(&self, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        match &self.0 {
            Kind::Tls(stream) => stream.read_by(buffer, deadline),
            _ => deadline::read_by(self.stream(), buffer, deadline),
        }
    }

    /// How long [`Transport::read`] waits; `None` is without end.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        if let Kind::Tls(stream) = &self.0 {
            stream.set_read_timeout(timeout);
            return Ok(());
        }
        self.stream().set_read_timeout(timeout)
    }

    /// Reads once. 0 is the end of the stream; `WouldBlock` or `TimedOut` is the read timeout.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Kind::Tls(stream) = &self.0 {
            return stream.read(buffer);
        }
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
        match &self.0 {
            Kind::Tls(stream) => stream.peek(buffer),
            _ => self.stream().peek(buffer),
        }
    }

    /// Whether [`Transport::read`] would not wait.
    pub(crate) fn has_arrived(&self) -> bool {
        if let Kind::Tls(stream) = &self.0 {
            return stream.has_arrived();
        }
        let mut polled = [PollFd::new(self.stream().as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Whether the peer has closed its side of the connection. Does not wait, and reads nothing.
    pub(crate) fn has_peer_left(&self) -> bool {
        deadline::has_peer_left(self.stream())
    }

    /// Sends once without waiting; returns how much the kernel took.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::Tls(stream) => return stream.try_send(bytes),
            #[cfg(all(test, shuttle))]
            Kind::Model(socket) => return socket.try_send(bytes),
            Kind::Tcp(_) => {}
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

    /// Sends once, waiting for the peer at most this long; returns how much the kernel took. `WouldBlock` or `Interrupted`: nothing.
    pub(crate) fn send_within(&self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        match &self.0 {
            Kind::Tls(stream) => return stream.send_within(bytes, timeout),
            #[cfg(all(test, shuttle))]
            Kind::Model(socket) => return socket.send_within(bytes),
            Kind::Tcp(_) => {}
        }
        let stream = self.stream();
        stream.set_write_timeout(Some(timeout))?;
        SockRef::from(stream).send_with_flags(bytes, MSG_NOSIGNAL)
    }

    /// Writes everything or fails.
    pub(crate) fn write_by(&self, bytes: &[u8], deadline: Deadline) -> io::Result<()> {
        deadline::send_by(bytes, deadline, |rest, wait| self.send_within(rest, wait))
    }

    /// Writes everything to a peer that goes on taking some of it, or fails.
    pub(crate) fn write_while_taken(&self, bytes: &[u8], timeout: Duration) -> io::Result<()> {
        deadline::send_while_taken(bytes, timeout, |rest, wait| self.send_within(rest, wait))
    }

    /// Wakes whoever reads or writes. Fails silently if the connection is gone.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        match &self.0 {
            Kind::Tcp(stream) => {
                let _ = stream.shutdown(how);
            }
            Kind::Tls(stream) => stream.shutdown(how),
            #[cfg(all(test, shuttle))]
            Kind::Model(socket) => socket.shutdown(how),
        }
    }

    /// Closes the writing side, then discards received bytes, so that no reset overtakes the last response.
    pub(crate) fn close_gently(&self) {
        self.shutdown(Shutdown::Write);
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
            Kind::Tls(stream) => stream.socket(),
            #[cfg(all(test, shuttle))]
            Kind::Model(_) => unreachable!("a model only sends and shuts down"),
        }
    }
}
