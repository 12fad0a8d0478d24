//! What observers see of an outbox without its lock.

use crate::sync::{AtomicUsize, Ordering};

/// Bytes that wait for the kernel to take them, those in the writer's hands among them. Written by the one that sends,
/// read by anyone at any time.
#[derive(Default)]
pub(super) struct PendingBytes(AtomicUsize);

impl PendingBytes {
    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}
