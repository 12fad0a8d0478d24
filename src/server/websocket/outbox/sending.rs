//! What the outbox lock guards.

use super::{MAX_UNSENT_REPLIES_BYTES, Unsent};
use crate::broker::Progress;
use crate::sync::{Mutation, mutated};

#[derive(Default)]
pub(super) struct Sending {
    pub(super) unsent: Unsent,
    /// The writer thread has taken bytes out and is writing them; at first, the handshake is being answered.
    pub(super) writing: bool,
    pub(super) phase: Phase,
    /// The server goes down: what is queued is to be sent, then the connection closed.
    pub(super) drain_ordered: bool,
    pub(super) reader_gone: bool,
    pub(super) timed_out: bool,
    pub(super) delivered: u64,
    pub(super) undelivered: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::server::websocket) enum Phase {
    #[default]
    Open,
    /// A close frame is queued; nothing may follow it.
    Closing,
    /// The socket is of no more use.
    Failed,
}

/// What came of offering a subscription's events.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::server::websocket) struct Offered {
    /// There is more to offer.
    pub(in crate::server::websocket) more: bool,
    pub(in crate::server::websocket) ended: bool,
    pub(in crate::server::websocket) overflowed: bool,
    pub(in crate::server::websocket) dropped: u64,
}

impl From<Progress> for Offered {
    fn from(progress: Progress) -> Offered {
        Offered {
            more: progress.more,
            ended: progress.ended,
            overflowed: progress.overflowed,
            dropped: progress.dropped,
        }
    }
}

impl Sending {
    /// Counts what became of the events that were unsent; returns how many were delivered.
    pub(super) fn settle(&mut self, unsent: &Unsent) -> u64 {
        let (delivered, undelivered) = unsent.tally();
        self.delivered += delivered;
        self.undelivered += undelivered;
        delivered
    }

    /// Whether the peer leaves so much unread that its reader must wait.
    pub(super) fn holds_too_much(&self) -> bool {
        self.phase == Phase::Open && self.unsent.len() > MAX_UNSENT_REPLIES_BYTES
    }

    pub(super) fn is_idle(&self) -> bool {
        let writing = self.writing && !mutated(Mutation::SendBesideWriter);
        self.phase == Phase::Open && self.unsent.is_empty() && !writing
    }
}
