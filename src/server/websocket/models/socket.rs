//! The socket of a model: passes the bytes of each send to the peer, as many as the modelled kernel takes.

use std::io;
use std::net::Shutdown;

use shuttle::rand::{Rng, thread_rng};

use crate::protocol::Encoding;
use crate::server::websocket::models::peer::{Received, Stream};
use crate::sync::{Arc, Condvar, Lock, Mutex, held_locks, mutex};

/// How much the kernel takes of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Everything,
    /// All, a part, or (if the send does not wait) nothing.
    Some,
    /// Nothing: the peer does not read.
    Nothing,
    /// Nothing; a send that waits times out.
    NothingInTime,
}

#[derive(Clone)]
pub(crate) struct ModelSocket {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    takes: Takes,
    closed: bool,
    stream: Stream,
}

impl ModelSocket {
    pub(crate) fn to_a_peer(takes: Takes) -> ModelSocket {
        ModelSocket::to_a_reader_of(Encoding::WebSocket, takes)
    }

    pub(crate) fn to_a_reader_of(encoding: Encoding, takes: Takes) -> ModelSocket {
        let state = State {
            takes,
            closed: false,
            stream: Stream::new(encoding),
        };
        ModelSocket {
            shared: Arc::new(Shared {
                state: mutex(Lock::Model, state),
                changed: Condvar::new(),
            }),
        }
    }

    pub(in crate::server) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let held = held_locks();
        assert!(!held.contains(&Lock::Topic), "sent under a topic's lock");
        let mut state = self.shared.state.lock();
        let taken = match state.takes {
            _ if state.closed => return Err(io::ErrorKind::BrokenPipe.into()),
            Takes::Everything => bytes.len(),
            Takes::Some => [0, a_part(bytes), bytes.len()][thread_rng().gen_range(0..3)],
            Takes::Nothing | Takes::NothingInTime => 0,
        };
        state.stream.receive(&bytes[..taken]);
        drop(state);
        self.shared.changed.notify_all();
        Ok(taken)
    }

    pub(in crate::server) fn send_within(&self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(held_locks(), [], "waited for the peer under a lock");
        let mut state = self.shared.state.lock();
        while state.takes == Takes::Nothing && !state.closed {
            self.shared.changed.wait(&mut state);
        }
        let taken = match state.takes {
            _ if state.closed => return Err(io::ErrorKind::BrokenPipe.into()),
            Takes::Some => a_part(bytes),
            Takes::NothingInTime => return Err(io::ErrorKind::TimedOut.into()),
            Takes::Everything | Takes::Nothing => bytes.len(),
        };
        state.stream.receive(&bytes[..taken]);
        drop(state);
        self.shared.changed.notify_all();
        Ok(taken)
    }

    pub(in crate::server) fn shutdown(&self, how: Shutdown) {
        let mut state = self.shared.state.lock();
        state.closed |= matches!(how, Shutdown::Both | Shutdown::Write);
        drop(state);
        self.shared.changed.notify_all();
    }

    pub(crate) fn take(&self, takes: Takes) {
        self.shared.state.lock().takes = takes;
        self.shared.changed.notify_all();
    }

    /// Waits until the received frames satisfy the condition. If they never do, the checker reports a deadlock.
    pub(crate) fn wait_until(&self, is_enough: impl Fn(&[Received]) -> bool) {
        let mut state = self.shared.state.lock();
        while !is_enough(&state.stream.received) {
            self.shared.changed.wait(&mut state);
        }
    }

    /// Waits until nothing can be sent any more.
    pub(crate) fn wait_until_closed(&self) {
        let mut state = self.shared.state.lock();
        while !state.closed {
            self.shared.changed.wait(&mut state);
        }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.state.lock().stream.received.clone()
    }

    /// The received frames; asserts that the last one is complete.
    pub(crate) fn received_whole(&self) -> Vec<Received> {
        let state = self.shared.state.lock();
        assert!(state.stream.is_whole(), "the stream ends within a frame");
        state.stream.received.clone()
    }
}

fn a_part(bytes: &[u8]) -> usize {
    thread_rng().gen_range(1..=bytes.len())
}
