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

/// Runs until the acceptor ends.
pub(super) fn run(rejected: &Receiver<Transport>, panics: &Panics, metrics: &Metrics) {
    let problem = Problem::unavailable("The server has all the connections it can hold");
    let response = last_response(&problem, false);
    let mut kept = VecDeque::new();
    let mut next_sweep = Instant::now();
    loop {
        let arrived = if kept.is_empty() {
            rejected.recv().map_err(RecvTimeoutError::from)
        } else {
            rejected.recv_timeout(SWEEP_INTERVAL)
        };
        match arrived {
            Ok(transport) => {
                if kept.len() == MAX_KEPT {
                    kept.pop_front();
                }
                let begin = || {
                    let mut rejected = Rejected::new(transport);
                    rejected.go_on(&response, metrics).then_some(rejected)
                };
                kept.extend(panics.catch(begin).flatten());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        if now >= next_sweep {
            kept.retain_mut(|rejected: &mut Rejected| {
                let go_on = || now < rejected.until && rejected.go_on(&response, metrics);
                panics.catch(go_on).unwrap_or(false)
            });
            next_sweep = now + SWEEP_INTERVAL;
        }
    }
}

/// A connection that is not closed yet.
struct Rejected {
    transport: Transport,
    stage: Stage,
    until: Instant,
}

#[derive(PartialEq, Eq)]
enum Stage {
    /// The response can be sent after the handshake of TLS.
    Handshake,
    Answered,
}

impl Rejected {
    fn new(transport: Transport) -> Rejected {
        tracing::debug!("a connection is rejected: the server is full");
        Rejected {
            transport,
            stage: Stage::Handshake,
            until: Instant::now() + HANDSHAKE_TIME,
        }
    }

    /// Goes on without waiting; `false` when there is nothing to wait for.
    fn go_on(&mut self, response: &[u8], metrics: &Metrics) -> bool {
        if self.stage == Stage::Answered {
            return self.sweep();
        }
        match self.transport.try_handshake() {
            Ok(true) => self.answer(response, metrics),
            Ok(false) => true,
            Err(_) => false,
        }
    }

    fn answer(&mut self, response: &[u8], metrics: &Metrics) -> bool {
        let Ok(written) = self.transport.try_send(response) else {
            return false;
        };
        metrics.http_sent(written);
        self.transport.shutdown(Shutdown::Write);
        self.stage = Stage::Answered;
        self.until = Instant::now() + LINGER;
        written == response.len()
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
        if self.stage == Stage::Answered {
            self.sweep();
        }
    }
}
