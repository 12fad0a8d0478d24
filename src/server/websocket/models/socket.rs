//! The socket of a model: what the outbox sends goes straight to the peer, as much at a time as the kernel takes.

use std::io;
use std::net::Shutdown;

use shuttle::rand::{Rng, thread_rng};

use crate::server::websocket::models::peer::{Heard, Stream};
use crate::sync::{Arc, Condvar, Lock, Mutex, held_locks, mutex};

/// What the kernel takes of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Everything,
    /// All, a part, or (of a send that does not wait) nothing.
    Some,
    /// Nothing: the peer does not read.
    Nothing,
    /// Nothing, until the timeout of a send that waits.
    NothingInTime,
}

#[derive(Clone)]
pub(crate) struct ModelSocket {
    line: Arc<Line>,
}

struct Line {
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
        let state = State {
            takes,
            closed: false,
            stream: Stream::default(),
        };
        ModelSocket {
            line: Arc::new(Line {
                state: mutex(Lock::Model, state),
                changed: Condvar::new(),
            }),
        }
    }

    pub(in crate::server) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let held = held_locks();
        assert!(!held.contains(&Lock::Topic), "sent under a topic's lock");
        let mut state = self.line.state.lock();
        let taken = match state.takes {
            _ if state.closed => return Err(io::ErrorKind::BrokenPipe.into()),
            Takes::Everything => bytes.len(),
            Takes::Some => [0, a_part(bytes), bytes.len()][thread_rng().gen_range(0..3)],
            Takes::Nothing | Takes::NothingInTime => 0,
        };
        state.stream.receive(&bytes[..taken]);
        drop(state);
        self.line.changed.notify_all();
        Ok(taken)
    }

    pub(in crate::server) fn send_within(&self, bytes: &[u8]) -> io::Result<usize> {
        assert_eq!(held_locks(), [], "waited for the peer under a lock");
        let mut state = self.line.state.lock();
        while state.takes == Takes::Nothing && !state.closed {
            self.line.changed.wait(&mut state);
        }
        let taken = match state.takes {
            _ if state.closed => return Err(io::ErrorKind::BrokenPipe.into()),
            Takes::Some => a_part(bytes),
            Takes::NothingInTime => return Err(io::ErrorKind::TimedOut.into()),
            Takes::Everything | Takes::Nothing => bytes.len(),
        };
        state.stream.receive(&bytes[..taken]);
        drop(state);
        self.line.changed.notify_all();
        Ok(taken)
    }

    pub(in crate::server) fn shutdown(&self, how: Shutdown) {
        let mut state = self.line.state.lock();
        state.closed |= matches!(how, Shutdown::Both | Shutdown::Write);
        drop(state);
        self.line.changed.notify_all();
    }

    pub(crate) fn take(&self, takes: Takes) {
        self.line.state.lock().takes = takes;
        self.line.changed.notify_all();
    }

    /// Waits until the peer has heard this; in vain, the checker reports a deadlock.
    pub(crate) fn wait_until(&self, heard: impl Fn(&[Heard]) -> bool) {
        let mut state = self.line.state.lock();
        while !heard(&state.stream.heard) {
            self.line.changed.wait(&mut state);
        }
    }

    /// Waits until nothing can be sent any more.
    pub(crate) fn wait_until_closed(&self) {
        let mut state = self.line.state.lock();
        while !state.closed {
            self.line.changed.wait(&mut state);
        }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.line.state.lock().stream.heard.clone()
    }

    /// What the peer heard, none of it cut short.
    pub(crate) fn heard_whole(&self) -> Vec<Heard> {
        let state = self.line.state.lock();
        assert!(state.stream.is_whole(), "the stream ends within a frame");
        state.stream.heard.clone()
    }
}

fn a_part(bytes: &[u8]) -> usize {
    thread_rng().gen_range(1..=bytes.len())
}
