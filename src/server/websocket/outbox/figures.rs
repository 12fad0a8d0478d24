//! What observers see of an outbox without its lock.

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// Figures of one outbox. Written by the one that sends, read by anyone at any time.
#[derive(Default)]
pub(in crate::server::websocket) struct Figures {
    delivered: AtomicU64,
    pending_bytes: AtomicUsize,
}

impl Figures {
    /// Events given to the kernel.
    pub(in crate::server::websocket) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the kernel to take them, those in the writer's hands among them.
    pub(in crate::server::websocket) fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn deliver(&self, events: u64) {
        self.delivered.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn queue(&self, bytes: usize) {
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn dequeue(&self, bytes: usize) {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
