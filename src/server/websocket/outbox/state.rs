//! The state under the outbox lock, and the phase, which is read without it.

use super::MAX_UNSENT_REPLIES_BYTES;
use crate::broker::Cursors;
use crate::protocol::Encoding;
use crate::server::websocket::unsent::Unsent;
use crate::sync::{AtomicUsize, Ordering};

/// Guarded by the outbox lock, which is held at most for one read of a log and one non-blocking send.
pub(super) struct State {
    pub(super) unsent: Unsent,
    /// The cursors of the connection's subscriptions.
    pub(super) cursors: Cursors,
    /// The writer thread has taken bytes out and is writing them. Also set until the handshake is answered.
    pub(super) writing: bool,
    /// The server is draining: the writer must send what is queued, then end the connection.
    pub(super) drain_requested: bool,
    pub(super) reader_left: bool,
    pub(super) timed_out: bool,
    pub(super) delivered: u64,
    pub(super) undelivered: u64,
}

impl State {
    /// Nothing is sent before `writing` is cleared.
    pub(super) fn new(encoding: Encoding) -> State {
        State {
            unsent: Unsent::new(encoding),
            cursors: Cursors::new(encoding),
            writing: true,
            drain_requested: false,
            reader_left: false,
            timed_out: false,
            delivered: 0,
            undelivered: 0,
        }
    }

    /// Counts the events among bytes that were written or dropped; returns how many were delivered.
    pub(super) fn count_outcome(&mut self, unsent: &Unsent) -> u64 {
        let (delivered, undelivered) = unsent.tally();
        self.delivered += delivered;
        self.undelivered += undelivered;
        delivered
    }

    /// Whether so many bytes are unsent that the connection's own reader must wait.
    pub(super) fn holds_too_much(&self) -> bool {
        // In a model a WebSocket has little room. A stream has no replies: only its head and its ack must find room.
        let is_small = cfg!(shuttle) && self.cursors.encoding() == Encoding::WebSocket;
        let limit = if is_small {
            64
        } else {
            MAX_UNSENT_REPLIES_BYTES
        };
        self.unsent.len() > limit
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(in crate::server::websocket) enum Phase {
    Open,
    /// A close frame is queued; nothing may follow it.
    Closing,
    /// The socket is shut down.
    Aborted,
}

/// Written under the outbox lock, so that it does not change while the lock is held. Read without it.
pub(super) struct SharedPhase(AtomicUsize);

impl Default for SharedPhase {
    fn default() -> SharedPhase {
        SharedPhase(AtomicUsize::new(Phase::Open as usize))
    }
}

impl SharedPhase {
    pub(super) fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            open if open == Phase::Open as usize => Phase::Open,
            closing if closing == Phase::Closing as usize => Phase::Closing,
            _ => Phase::Aborted,
        }
    }

    pub(super) fn set(&self, phase: Phase) {
        self.0.store(phase as usize, Ordering::Release);
    }
}
