//! The rejecting thread: sends 503 to connections for which the server has no place, many at once.
//!
//! Never waits for a peer: the response fits into the empty buffer of a new socket. With TLS it follows the handshake, for which the
//! peer has [`HANDSHAKE_TIME`]. The socket is closed when the peer has left, after [`LINGER`], or when [`MAX_KEPT`] others are open.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::http::Problem;
use super::http::serve::last_response;
use super::panics::Panics;
use super::transport::Transport;
use crate::metrics::Metrics;
use crate::sync::channel::{Receiver, RecvTimeoutError};

/// How long a socket is kept after its response: a request that arrives meanwhile is read, or a reset could overtake the response.
const LINGER: Duration = Duration::from_millis(100);
/// How long a peer may take for the handshake of TLS.
const HANDSHAKE_TIME: Duration = Duration::from_secs(1);
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);
/// Sockets that are kept at once; each uses a descriptor.
const MAX_KEPT: usize = 256;
/// How much is read from one socket at a time.
const MAX_SWEPT_BYTES: usize = 64 << 10;

/// A connection without a place.
pub(super) struct Rejection {
    pub(super) transport: Transport,
    /// Why.
    pub(super) problem: Problem,
}

impl Rejection {
    /// Of a server that has no place for anybody.
    pub(super) fn full(transport: Transport) -> Rejection {
        let problem = Problem::unavailable("The server has all the connections it can hold");
        Rejection { transport, problem }
    }
}

/// Runs until the acceptor ends.
pub(super) fn run(rejected: &Receiver<Rejection>, panics: &Panics, metrics: &Metrics) {
    let mut kept = VecDeque::new();
    let mut next_sweep = Instant::now();
    loop {
        let arrived = if kept.is_empty() {
            rejected.recv().map_err(RecvTimeoutError::from)
        } else {
            rejected.recv_timeout(SWEEP_INTERVAL)
        };
        match arrived {
            Ok(rejection) => {
                if kept.len() == MAX_KEPT {
                    kept.pop_front();
                }
                let begin = || {
                    let mut rejected = Rejected::new(rejection);
                    rejected.go_on(metrics).then_some(rejected)
                };
                kept.extend(panics.catch(begin).flatten());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= next_sweep {
            kept.retain_mut(|rejected: &mut Rejected| {
                let go_on = || now < rejected.until && rejected.go_on(metrics);
                panics.catch(go_on).unwrap_or(false)
            });
            next_sweep = now + SWEEP_INTERVAL;
        }
    }
}

/// A connection that is not closed yet.
struct Rejected {
    transport: Transport,
    /// What is sent after the handshake of TLS, if there is one; `None` when it is sent.
    response: Option<Vec<u8>>,
    until: Instant,
}

impl Rejected {
    fn new(rejection: Rejection) -> Rejected {
        let Rejection { transport, problem } = rejection;
        tracing::debug!(reason = problem.detail, "a connection is rejected");
        Rejected {
            transport,
            response: Some(last_response(&problem, false)),
            until: Instant::now() + HANDSHAKE_TIME,
        }
    }

    /// Goes on without waiting; `false` when there is nothing to wait for.
    fn go_on(&mut self, metrics: &Metrics) -> bool {
        let Some(response) = &self.response else {
            return self.sweep();
        };
        match self.transport.try_handshake() {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
        let Ok(written) = self.transport.try_send(response) else {
            return false;
        };
        let is_whole = written == response.len();
        metrics.http_sent(written);
        self.transport.shutdown(Shutdown::Write);
        self.response = None;
        self.until = Instant::now() + LINGER;
        is_whole
    }

    /// Discards what has arrived; `false` when the peer has left.
    fn sweep(&mut self) -> bool {
        let mut sink = [0; 4 << 10];
        let mut swept = 0;
        while swept < MAX_SWEPT_BYTES {
            match self.transport.read(&mut sink) {
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
        if self.response.is_none() {
            self.sweep();
        }
    }
}
