//! The time at which something last happened. Other threads read it without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The model checker does not model clocks, so the atomic is the standard one.
pub(crate) struct LastTime {
    start: Instant,
    /// Microseconds from `start` to that time, rounded up; 0 if it never happened.
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
    pub(crate) fn set_now(&self) {
        let micros = self.start.elapsed().as_micros() as u64 + 1;
        self.micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn is_after(&self, moment: Instant) -> bool {
        let moment = moment.saturating_duration_since(self.start).as_micros() as u64;
        self.micros.load(Ordering::Relaxed) > moment
    }
}
