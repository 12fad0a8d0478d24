//! What the outbox lock guards, and the phase, which is read without it.

use super::MAX_UNSENT_REPLIES_BYTES;
use crate::broker::Cursors;
use crate::server::websocket::unsent::Unsent;
use crate::sync::{AtomicUsize, Ordering};

/// Guarded by the outbox lock, which is held for one read of a log and one non-blocking send at most.
#[derive(Default)]
pub(super) struct State {
    pub(super) unsent: Unsent,
    /// How far each subscription has read.
    pub(super) cursors: Cursors,
    /// The writer thread has taken bytes out and is writing them; at first, the handshake is being answered.
    pub(super) writing: bool,
    /// The server shuts down: send what is queued, then close.
    pub(super) drain_ordered: bool,
    pub(super) reader_gone: bool,
    pub(super) timed_out: bool,
    pub(super) delivered: u64,
    pub(super) undelivered: u64,
}

impl State {
    /// Counts what became of the events that were unsent; returns how many were delivered.
    pub(super) fn settle(&mut self, unsent: &Unsent) -> u64 {
        let (delivered, undelivered) = unsent.tally();
        self.delivered += delivered;
        self.undelivered += undelivered;
        delivered
    }

    /// Whether the peer leaves so much unread that its own reader must wait.
    pub(super) fn holds_too_much(&self) -> bool {
        self.unsent.len() > MAX_UNSENT_REPLIES_BYTES
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(in crate::server::websocket) enum Phase {
    Open,
    /// A close frame is queued; nothing may follow it.
    Closing,
    /// The socket is of no more use.
    Aborted,
}

/// Written under the outbox lock, so that whoever holds the lock sees it stand still. Read by anyone.
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
