//! What observers see of an outbox without its lock.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

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

/// When the writer last sent something. Read by publishers that wait for this connection.
pub(super) struct LastWritten {
    opened: Instant,
    /// Microseconds from the opening to then, rounded up; 0 if never. No model checker looks at a clock.
    micros: AtomicU64,
}

impl Default for LastWritten {
    fn default() -> LastWritten {
        LastWritten {
            opened: Instant::now(),
            micros: AtomicU64::new(0),
        }
    }
}

impl LastWritten {
    pub(super) fn is_now(&self) {
        let micros = self.opened.elapsed().as_micros() as u64 + 1;
        self.micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn is_after(&self, moment: Instant) -> bool {
        let moment = moment.saturating_duration_since(self.opened).as_micros() as u64;
        self.micros.load(Ordering::Relaxed) > moment
    }
}
