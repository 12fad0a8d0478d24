//! The rejecting thread: sends 503 to connections for which the server has no place, many at once.
//!
//! Never waits for a peer: the response fits into the empty buffer of a new socket. The socket is closed when the peer
//! has left, after [`LINGER`], or when [`MAX_KEPT`] others are open.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::http::Problem;
use super::http::serve::last_response;
use super::panics::Panics;
use crate::metrics::Metrics;
use crate::sync::Arc;
use crate::sync::channel::{Receiver, RecvTimeoutError};

/// How long a socket is kept after its response: a request that arrives meanwhile is read, or a reset could overtake the response.
const LINGER: Duration = Duration::from_millis(100);
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);
/// Sockets that are kept at once; each uses a descriptor.
const MAX_KEPT: usize = 256;
/// How much is read from one socket at a time.
const MAX_SWEPT_BYTES: usize = 64 << 10;

/// Runs until the acceptor ends.
pub(super) fn run(rejected: &Receiver<Arc<TcpStream>>, panics: &Panics, metrics: &Metrics) {
    let problem = Problem::unavailable("The server has all the connections it can hold");
    let mut kept = VecDeque::new();
    let mut next_sweep = Instant::now();
    loop {
        let arrived = if kept.is_empty() {
            rejected.recv().map_err(RecvTimeoutError::from)
        } else {
            rejected.recv_timeout(SWEEP_INTERVAL)
        };
        match arrived {
            Ok(socket) => {
                if kept.len() == MAX_KEPT {
                    kept.pop_front();
                }
                kept.extend(
                    panics
                        .catch(|| Rejected::answer(socket, &problem, metrics))
                        .flatten(),
                );
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= next_sweep {
            kept.retain_mut(|rejected: &mut Rejected| now < rejected.until && rejected.sweep());
            next_sweep = now + SWEEP_INTERVAL;
        }
    }
}

/// A connection that has its response, and is not closed yet.
struct Rejected {
    socket: Arc<TcpStream>,
    until: Instant,
}

impl Rejected {
    /// `None` when the peer has left.
    fn answer(socket: Arc<TcpStream>, problem: &Problem, metrics: &Metrics) -> Option<Rejected> {
        tracing::debug!("a connection is rejected: the server is full");
        let response = last_response(problem, false);
        socket.set_nonblocking(true).ok()?;
        let written = (&*socket).write(&response).ok()?;
        metrics.http_sent(written);
        socket.shutdown(Shutdown::Write).ok()?;
        (written == response.len()).then(|| Rejected {
            socket,
            until: Instant::now() + LINGER,
        })
    }

    /// Discards what has arrived; `false` when the peer has left.
    fn sweep(&mut self) -> bool {
        let mut sink = [0; 4 << 10];
        let mut swept = 0;
        while swept < MAX_SWEPT_BYTES {
            match (&*self.socket).read(&mut sink) {
                Ok(0) => return false,
                Ok(count) => swept += count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

impl Drop for Rejected {
    fn drop(&mut self) {
        self.sweep();
    }
}
