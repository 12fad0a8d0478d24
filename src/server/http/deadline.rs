//! Blocking reads and writes under an absolute deadline; and writes of responses, which fail when the peer is too slow.
//!
//! The timeout of a socket restarts with every call, so the remaining time is set before each call.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::server::write_deadline::WriteDeadline;

const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time at which an operation fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Deadline {
        Deadline::of(Instant::now(), duration)
    }

    /// For an operation that began at `start`.
    pub(crate) fn of(start: Instant, duration: Duration) -> Deadline {
        Deadline(start + duration.min(FAR_FUTURE))
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// The same, or `duration` from now if that is earlier.
    pub(crate) fn at_most(self, duration: Duration) -> Deadline {
        Deadline(self.0.min(Deadline::after(duration).0))
    }

    /// The remaining time, never zero; `TimedOut` if there is none.
    pub(crate) fn remaining(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

/// Reads once. 0 is the end of the stream; `TimedOut` is the deadline.
pub(crate) fn read_by<S>(stream: &S, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize>
where
    S: AsFd,
    for<'a> &'a S: Read,
{
    loop {
        SockRef::from(stream).set_read_timeout(Some(deadline.remaining()?))?;
        let mut reader = stream;
        match reader.read(buffer) {
            Err(error) if is_transient(&error) => {}
            result => return result,
        }
    }
}

/// Writes everything or fails.
pub(crate) fn write_by<S>(stream: &S, bytes: &[u8], deadline: Deadline) -> io::Result<()>
where
    S: AsFd,
    for<'a> &'a S: Write,
{
    send_by(bytes, deadline, |rest, wait| {
        SockRef::from(stream).set_write_timeout(Some(wait))?;
        let mut writer = stream;
        writer.write(rest)
    })
}

/// Sends everything or fails. `send` sends once, waiting at most a given time.
pub(crate) fn send_by(
    mut bytes: &[u8],
    deadline: Deadline,
    send: impl Fn(&[u8], Duration) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = sent(send(bytes, deadline.remaining()?))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Sends everything, or fails when the peer receives too little for too long. `send` is as of [`send_by`].
pub(crate) fn send_while_taken(
    mut bytes: &[u8],
    timeout: Duration,
    send: impl Fn(&[u8], Duration) -> io::Result<usize>,
) -> io::Result<()> {
    let mut deadline = WriteDeadline::new(timeout, Instant::now());
    while !bytes.is_empty() {
        let wait = deadline.next_wait(Instant::now())?;
        let written = sent(send(bytes, wait))?;
        deadline.taken(written, Instant::now());
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// How many bytes a send took; none when it only timed out.
fn sent(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Ok(0) => Err(ErrorKind::WriteZero.into()),
        Err(error) if is_transient(&error) => Ok(0),
        sent => sent,
    }
}

/// A timeout of the socket is transient: only the deadline decides whether time is over.
fn is_transient(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}

/// Whether the peer has closed its side of the connection. Does not wait, and reads nothing.
#[cfg(target_os = "linux")]
pub(crate) fn has_peer_left(stream: &TcpStream) -> bool {
    use nix::libc::POLLRDHUP;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let closed = PollFlags::from_bits_retain(POLLRDHUP);
    let mut polled = [PollFd::new(stream.as_fd(), closed)];
    // Errors and the end of both sides are always reported.
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Whether the peer has closed its side, or is gone. Only Linux reports that while sent bytes are unread; elsewhere it
/// is noticed when they have been read.
#[cfg(not(target_os = "linux"))]
pub(crate) fn has_peer_left(stream: &TcpStream) -> bool {
    is_at_end(stream)
}

/// Whether a read would report the end of the stream or an error. Does not wait, and reads nothing.
#[cfg(any(test, not(target_os = "linux")))]
fn is_at_end(stream: &TcpStream) -> bool {
    use nix::libc::{MSG_DONTWAIT, MSG_PEEK};

    let mut next = [std::mem::MaybeUninit::uninit()];
    match SockRef::from(stream).recv_with_flags(&mut next, MSG_PEEK | MSG_DONTWAIT) {
        Ok(peeked) => peeked == 0,
        Err(error) => !is_transient(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_read_ends_at_the_deadline_though_bytes_drip_in() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let dripper = thread::spawn(move || {
            while (&theirs).write(b"x").is_ok() {
                thread::yield_now();
            }
        });
        let deadline = Deadline::after(SHORT);
        let error = loop {
            match read_by(&ours, &mut [0; 1], deadline) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(ours);
        dripper.join().unwrap();
    }

    #[test]
    fn a_write_to_a_peer_that_does_not_read_ends_at_the_deadline() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let started = Instant::now();
        let error = write_by(&ours, &vec![0; 8 << 20], Deadline::after(SHORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(started.elapsed() >= SHORT);
    }

    #[test]
    fn a_write_while_taken_outlives_its_timeout_and_ends_with_the_reading() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let timeout = SHORT * 4;
        let (pause, paused) = std::sync::mpsc::channel::<()>();
        let reader = thread::spawn(move || {
            let started = Instant::now();
            let mut sink = vec![0; 16 << 10];
            while started.elapsed() < timeout * 3 {
                (&theirs).read_exact(&mut sink).unwrap();
                assert!(paused.recv_timeout(SHORT / 10).is_err());
            }
            (theirs, Instant::now())
        });
        let send = |bytes: &[u8], wait| {
            ours.set_write_timeout(Some(wait))?;
            (&ours).write(bytes)
        };
        let error = send_while_taken(&vec![0; 256 << 20], timeout, send).unwrap_err();
        let ended = Instant::now();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let (_theirs, stopped) = reader.join().unwrap();
        assert!(ended >= stopped, "given up while it read");
        assert!(ended < stopped + timeout * 3);
        drop(pause);
    }

    #[test]
    fn where_only_a_read_reports_the_end_it_is_noticed_behind_what_was_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut ours, _) = listener.accept().unwrap();
        assert!(!is_at_end(&ours));
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        ours.peek(&mut [0; 1]).unwrap();
        assert!(!is_at_end(&ours));
        ours.read_exact(&mut [0; 1]).unwrap();
        ours.peek(&mut [0; 1]).unwrap();
        assert!(is_at_end(&ours));
    }

    #[test]
    fn a_deadline_that_is_over_reads_and_writes_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"x").unwrap();
        let over = Deadline::after(Duration::ZERO);
        assert!(read_by(&ours, &mut [0; 1], over).is_err());
        assert!(write_by(&ours, b"x", over).is_err());
        assert!(read_by(&ours, &mut [0; 1], Deadline::after(Duration::MAX)).is_ok());
    }
}
