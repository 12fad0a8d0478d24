//! Reading at a steady rate, as a slow client or a slow network does.

use std::thread;
use std::time::{Duration, Instant};

/// Reads per second: enough for an even rate without much overhead.
const READS_PER_SEC: usize = 20;

/// Bytes per second since the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    bytes_per_sec: usize,
    start: Instant,
    taken: usize,
}

impl Pace {
    pub(crate) fn of(bytes_per_sec: usize) -> Pace {
        Pace {
            bytes_per_sec,
            start: Instant::now(),
            taken: 0,
        }
    }

    /// Waits until the next read is due; returns how many bytes it may read.
    pub(super) fn next(&self) -> usize {
        let due =
            self.start + Duration::from_secs_f64(self.taken as f64 / self.bytes_per_sec as f64);
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        (self.bytes_per_sec / READS_PER_SEC).max(1)
    }

    pub(super) fn taken(&mut self, bytes: usize) {
        self.taken += bytes;
    }
}
