//! Frames that are not all sent yet, and how many events are among them. Pure.

use crate::protocol::whole_events;

#[derive(Default)]
pub(super) struct Unsent {
    /// Whole frames.
    frames: Vec<u8>,
    /// How many bytes of them are sent.
    sent: usize,
    events: u64,
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes still to be sent.
    pub(super) fn len(&self) -> usize {
        self.frames.len() - self.sent
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.frames[self.sent..]
    }

    /// Adds what `write` appends; it says how many events that is.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> u64) {
        self.events += write(&mut self.frames);
    }

    /// Keeps what is left of frames of which the first `sent` bytes went out; returns how many events went out whole.
    pub(super) fn keep_rest(&mut self, frames: &[u8], sent: usize, events: u64) -> u64 {
        debug_assert!(self.is_empty());
        let (delivered, boundary) = whole_events(frames, sent);
        self.frames.extend_from_slice(&frames[boundary..]);
        self.sent = sent - boundary;
        self.events = events - delivered;
        delivered
    }

    /// More of the rest went out.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent += sent;
    }

    /// Events that went out whole, and those that did not.
    pub(super) fn tally(&self) -> (u64, u64) {
        let (delivered, _) = whole_events(&self.frames, self.sent);
        (delivered, self.events - delivered)
    }
}
