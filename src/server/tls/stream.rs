//! A TLS connection over a socket. Any thread may send; one at a time reads.
//!
//! The lock of the session guards the state of TLS. It is never held while a thread waits for the peer: what is done under it
//! sends and receives without waiting.
//!
//! A caller owns what it sends until the kernel has it, as with a plain socket. So bytes that are encrypted, while the kernel has
//! not taken all of their ciphertext, are not reported as sent: the caller presents them again, and they are skipped.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use crate::server::http::deadline::Deadline;
use crate::sync::{Arc, AtomicU64, Lock, Mutex, Ordering, mutex};
use crate::tls::{End, RECORD_BYTES, Received};

/// Received at a time, on the stack of the reader.
const RECEIVE_BYTES: usize = 4 << 10;
/// The first byte of the record with which a handshake begins.
const HANDSHAKE_RECORD: u8 = 0x16;

pub(crate) struct TlsStream {
    socket: Arc<TcpStream>,
    session: Mutex<Session>,
    /// How long [`TlsStream::read`] waits, in microseconds.
    read_timeout: AtomicU64,
    /// The timeout that the socket has.
    socket_timeout: AtomicU64,
}

struct Session {
    tls: ServerConnection,
    /// Plaintext bytes that are encrypted and not reported as sent.
    unreported: usize,
    received: Received,
}

/// Why there is no session.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The peer speaks HTTP without TLS.
    PlainHttp,
    Io(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> HandshakeError {
        HandshakeError::Io(error)
    }
}

impl TlsStream {
    /// A connection whose handshake has not begun.
    pub(crate) fn new(socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<TlsStream> {
        let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let session = Session {
            tls,
            unreported: 0,
            received: Received::default(),
        };
        Ok(TlsStream {
            socket: Arc::new(socket),
            session: mutex(Lock::TlsSession, session),
            read_timeout: AtomicU64::new(u64::MAX),
            socket_timeout: AtomicU64::new(u64::MAX),
        })
    }

    /// The socket, whose bytes are no plaintext.
    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Agrees with the peer on keys. Waits for the peer, on the thread of the connection.
    pub(crate) fn handshake(&self, deadline: Deadline) -> Result<(), HandshakeError> {
        let mut is_first = true;
        let mut bytes = [0; RECEIVE_BYTES];
        loop {
            let (handshakes, wants_write) = {
                let mut session = self.session.lock();
                session.flush(&self.socket)?;
                (session.tls.is_handshaking(), session.tls.wants_write())
            };
            if wants_write {
                self.wait_for(PollFlags::POLLOUT, deadline.remaining()?)?;
            } else if !handshakes {
                return Ok(());
            } else {
                let count = self.receive(&mut bytes, deadline.remaining()?)?;
                if std::mem::take(&mut is_first) && is_plain_http(&bytes[..count]) {
                    return Err(HandshakeError::PlainHttp);
                }
                let mut session = self.session.lock();
                session.accept(&bytes[..count], &self.socket)?;
                if count == 0 {
                    return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
                }
            }
        }
    }

    /// As [`TlsStream::handshake`], without waiting. Whether it is done.
    pub(crate) fn try_handshake(&self) -> io::Result<bool> {
        let mut session = self.session.lock();
        if session.tls.is_handshaking() {
            session.receive_arrived(&self.socket, 1)?;
        }
        session.flush(&self.socket)?;
        if session.received.end.is_some() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(!session.tls.is_handshaking() && !session.tls.wants_write())
    }

    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.read_timeout.store(micros(timeout), Ordering::Relaxed);
    }

    /// Reads once. 0 is the end of the stream; `WouldBlock` or `TimedOut` is the read timeout, also when a part of a record came.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = self.read_timeout.load(Ordering::Relaxed);
        let mut began = None;
        self.read_from(buffer, |bytes| {
            let now = Instant::now();
            let passed = now.duration_since(*began.get_or_insert(now));
            match timeout.saturating_sub(micros(Some(passed))) {
                0 => Err(ErrorKind::TimedOut.into()),
                _ if timeout == u64::MAX => self.receive_within(bytes, timeout),
                left => self.receive_within(bytes, left),
            }
        })
    }

    /// Reads once. 0 is the end of the stream; `TimedOut` is the deadline.
    pub(crate) fn read_by(&self, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        self.read_from(buffer, |bytes| self.receive(bytes, deadline.remaining()?))
    }

    /// What [`TlsStream::read`] would read, as far as it has arrived.
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session.lock();
        session.receive_arrived(&self.socket, buffer.len())?;
        let unread = session.received.unread();
        let count = unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&unread[..count]);
        Ok(count)
    }

    /// Whether [`TlsStream::read`] would not wait.
    pub(crate) fn has_arrived(&self) -> bool {
        let mut session = self.session.lock();
        let received = session.receive_arrived(&self.socket, 1);
        received.is_err() || session.received.end.is_some() || !session.received.unread().is_empty()
    }

    /// Sends once without waiting; returns how many bytes the kernel has whole.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.session.lock().send(&self.socket, bytes)
    }

    /// Sends once, waiting for the peer at most this long. `WouldBlock`: the kernel took nothing.
    pub(crate) fn send_within(&self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        let deadline = Instant::now() + timeout;
        loop {
            let sent = self.try_send(bytes)?;
            if sent > 0 || bytes.is_empty() {
                return Ok(sent);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.wait_for(PollFlags::POLLOUT, left)?;
        }
    }

    /// Wakes whoever reads or writes. What is shut down for writing ends with the notice that nothing follows.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        if how == Shutdown::Read {
            let _ = self.socket.shutdown(how);
            return;
        }
        let mut session = self.session.lock();
        if !session.tls.is_handshaking() && session.received.end != Some(End::Broken) {
            session.tls.send_close_notify();
            let _ = session.flush(&self.socket);
        }
        // Under the lock, so that nobody sends behind the notice.
        let _ = self.socket.shutdown(how);
    }

    /// Reads what is decrypted; only if that is nothing, waits with `receive`. After a full receive, more has often arrived: as much
    /// of it is decrypted as the caller has room for.
    fn read_from(
        &self,
        buffer: &mut [u8],
        mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut bytes = [0; RECEIVE_BYTES];
        loop {
            {
                let mut session = self.session.lock();
                if let Some(count) = session.received.take(buffer)? {
                    return Ok(count);
                }
            }
            let count = receive(&mut bytes)?;
            let mut session = self.session.lock();
            session.accept(&bytes[..count], &self.socket)?;
            if count == bytes.len() {
                session.receive_arrived(&self.socket, buffer.len())?;
            }
        }
    }

    /// One receive that waits at most this long.
    fn receive(&self, bytes: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let received = self.receive_within(bytes, micros(Some(timeout)));
        received.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        })
    }

    fn receive_within(&self, bytes: &mut [u8], timeout: u64) -> io::Result<usize> {
        if self.socket_timeout.load(Ordering::Relaxed) != timeout {
            let limit = (timeout != u64::MAX).then(|| Duration::from_micros(timeout.max(1)));
            self.socket.set_read_timeout(limit)?;
            self.socket_timeout.store(timeout, Ordering::Relaxed);
        }
        loop {
            match (&*self.socket).read(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => return received,
            }
        }
    }

    /// Returns when the socket is ready, or after this time; an error of the socket counts as ready.
    fn wait_for(&self, what: PollFlags, time: Duration) -> io::Result<()> {
        let time = time.max(Duration::from_millis(1));
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.socket.as_fd(), what)];
        match poll(&mut polled, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Session {
    /// Encrypts and sends, a record at a time, until the kernel refuses some of it.
    fn send(&mut self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        debug_assert!(self.unreported <= bytes.len());
        let mut sent = 0;
        loop {
            sent += self.flush(socket)?;
            let rest = &bytes[sent.min(bytes.len())..];
            if self.tls.wants_write() || rest.is_empty() {
                return Ok(sent);
            }
            let record = &rest[..rest.len().min(RECORD_BYTES)];
            self.unreported = self.tls.writer().write(record)?;
        }
    }

    /// Sends ciphertext without waiting. Returns how many plaintext bytes may be reported as sent: all if the kernel took
    /// everything, else fewer, so that the caller comes back.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let mut sent = 0;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut WithoutWaiting(socket)) {
                Ok(count) => sent += count,
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let reported = match self.tls.wants_write() {
            true => sent.min(self.unreported.saturating_sub(1)),
            false => self.unreported,
        };
        self.unreported -= reported;
        Ok(reported)
    }

    /// Decrypts what was received. What TLS itself has to say goes behind what a sender has left, with that. Whether the socket has
    /// failed shows the next send or receive.
    fn accept(&mut self, bytes: &[u8], socket: &TcpStream) -> io::Result<()> {
        let is_behind = self.unreported > 0;
        self.received.accept(&mut self.tls, bytes, |tls| {
            while !is_behind
                && tls.wants_write()
                && tls.write_tls(&mut WithoutWaiting(socket)).is_ok()
            {}
        })
    }

    /// Decrypts what has arrived, until at least this much can be read.
    fn receive_arrived(&mut self, socket: &TcpStream, enough: usize) -> io::Result<()> {
        let mut bytes = [0; RECEIVE_BYTES];
        while self.received.end.is_none() && self.received.unread().len() < enough {
            match WithoutWaiting(socket).read(&mut bytes) {
                Ok(count) => self.accept(&bytes[..count], socket)?,
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The socket, for sends and receives that do not wait.
struct WithoutWaiting<'a>(&'a TcpStream);

impl Write for WithoutWaiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self.0).send_with_flags(bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        SockRef::from(self.0).send_vectored_with_flags(parts, MSG_DONTWAIT | MSG_NOSIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for WithoutWaiting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT)?)
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Whether these are the first bytes of an HTTP request: a method.
fn is_plain_http(bytes: &[u8]) -> bool {
    let first = bytes.first();
    first.is_some_and(|first| *first != HANDSHAKE_RECORD && first.is_ascii_uppercase())
}

fn micros(time: Option<Duration>) -> u64 {
    time.map_or(u64::MAX, |time| {
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
