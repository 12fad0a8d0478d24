//! Tells connections that find no place why: many at once, so that nobody waits behind one that stays.
//!
//! Never waits for a peer: the answer goes into the empty buffer of a new socket, and the socket is closed when the
//! peer has left, when it had its time, or when another one needs the place.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::http::Problem;
use super::http::serve::refusal;
use super::panics::Panics;
use crate::metrics::Metrics;
use crate::sync::Arc;
use crate::sync::channel::{Receiver, RecvTimeoutError};

/// How long a socket is kept after its answer: a request that is on its way is read, or a reset would overtake the answer.
const LINGER: Duration = Duration::from_millis(100);
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);
/// Sockets kept at once; each is a descriptor.
const MAX_KEPT: usize = 256;
/// What is read from one socket at a time.
const MAX_SWEPT_BYTES: usize = 64 << 10;

/// Answers until nobody hands over any more.
pub(super) fn run(refused: &Receiver<Arc<TcpStream>>, panics: &Panics, metrics: &Metrics) {
    let problem = Problem::unavailable("The server has all the connections it can hold");
    let mut kept = VecDeque::new();
    let mut next_sweep = Instant::now();
    loop {
        let arrived = if kept.is_empty() {
            refused.recv().map_err(RecvTimeoutError::from)
        } else {
            refused.recv_timeout(SWEEP_INTERVAL)
        };
        match arrived {
            Ok(socket) => {
                if kept.len() == MAX_KEPT {
                    kept.pop_front();
                }
                kept.extend(
                    panics
                        .catch(|| Refused::tell(socket, &problem, metrics))
                        .flatten(),
                );
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= next_sweep {
            kept.retain_mut(|refused| now < refused.until && refused.sweep());
            next_sweep = now + SWEEP_INTERVAL;
        }
    }
}

/// A connection that was told, and is not closed yet.
struct Refused {
    socket: Arc<TcpStream>,
    until: Instant,
}

impl Refused {
    /// `None` when there is nobody to tell.
    fn tell(socket: Arc<TcpStream>, problem: &Problem, metrics: &Metrics) -> Option<Refused> {
        tracing::debug!("a connection is refused: the server is full");
        let answer = refusal(problem, false);
        socket.set_nonblocking(true).ok()?;
        let written = (&*socket).write(&answer).ok()?;
        metrics.http_sent(written);
        socket.shutdown(Shutdown::Write).ok()?;
        (written == answer.len()).then(|| Refused {
            socket,
            until: Instant::now() + LINGER,
        })
    }

    /// Reads over what has come; `false` when the peer has left.
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

impl Drop for Refused {
    fn drop(&mut self) {
        self.sweep();
    }
}
