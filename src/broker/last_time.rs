//! When something last happened, for other threads to read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// No model checker looks at a clock, so its atomic is an ordinary one.
pub(crate) struct LastTime {
    start: Instant,
    /// Microseconds from the start to then, rounded up; 0 if never.
    micros: AtomicU64,
}

impl Default for LastTime {
    fn default() -> LastTime {
        LastTime {
            start: Instant::now(),
            micros: AtomicU64::new(0),
        }
    }
}

impl LastTime {
    pub(crate) fn is_now(&self) {
        let micros = self.start.elapsed().as_micros() as u64 + 1;
        self.micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn is_after(&self, moment: Instant) -> bool {
        let moment = moment.saturating_duration_since(self.start).as_micros() as u64;
        self.micros.load(Ordering::Relaxed) > moment
    }
}
