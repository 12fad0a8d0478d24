//! The socket as the outbox uses it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use socket2::SockRef;

use crate::sync::Arc;

/// The sending half of a connection's socket, and the end of both.
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    pub(crate) fn new(socket: Arc<TcpStream>) -> Socket {
        Socket(socket)
    }

    /// One send that does not wait; how much the kernel took.
    pub(super) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match SockRef::from(&*self.0).send_with_flags(bytes, MSG_DONTWAIT | MSG_NOSIGNAL) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            sent => sent,
        }
    }

    /// One send that waits for the peer, at most this long; how much the kernel took. `WouldBlock` if nothing in that time.
    pub(super) fn send_within(&self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        self.0.set_write_timeout(Some(timeout))?;
        match SockRef::from(&*self.0).send_with_flags(bytes, MSG_NOSIGNAL) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            sent => sent,
        }
    }

    pub(super) fn shutdown(&self, how: Shutdown) {
        // One that is gone already is shut down.
        let _ = self.0.shutdown(how);
    }
}
