//! What observers see of an outbox without its lock.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::sync::{AtomicUsize, Ordering};

/// How often, within the time that a publisher waits, a blocked send is repeated.
const SENDS_PER_TIMEOUT: u32 = 8;

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

/// How long one blocked send of the writer may take: it is repeated so often that publishers that wait for this
/// connection see that its peer takes something.
pub(super) struct MaxWait(AtomicU64);

impl Default for MaxWait {
    fn default() -> MaxWait {
        MaxWait(AtomicU64::new(u64::MAX))
    }
}

impl MaxWait {
    /// Publishers wait this long, at most.
    pub(super) fn fit(&self, block_timeout: Duration) {
        let slice = (block_timeout / SENDS_PER_TIMEOUT).as_micros() as u64;
        self.0.fetch_min(slice.max(1), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}
