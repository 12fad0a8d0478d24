//! The rate limit of a peer's control frames. Pure: the clock is passed in.

use std::time::{Duration, Instant};

/// Control frames per second that are always allowed.
const CONTROL_FRAMES_PER_SEC: f64 = 100.0;
/// After this many consecutive seconds above that rate the connection ends.
const CONTROL_FLOOD_SECS: u32 = 5;

/// Detects a sustained flood of control frames.
pub(super) struct ControlRate {
    second: Instant,
    count: u32,
    flooded_secs: u32,
}

impl ControlRate {
    pub(super) fn new(now: Instant) -> ControlRate {
        ControlRate {
            second: now,
            count: 0,
            flooded_secs: 0,
        }
    }

    /// Counts a control frame. Returns `false` once the flood has lasted too long.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.second);
        if elapsed >= Duration::from_secs(1) {
            let per_sec = f64::from(self.count) / elapsed.as_secs_f64();
            self.flooded_secs = if per_sec > CONTROL_FRAMES_PER_SEC {
                self.flooded_secs + 1
            } else {
                0
            };
            self.second = now;
            self.count = 0;
        }
        self.count += 1;
        self.flooded_secs < CONTROL_FLOOD_SECS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flood_of_five_consecutive_seconds_ends_a_connection() {
        let start = Instant::now();
        let feed = |per_sec: u64, secs: u64| {
            let mut rate = ControlRate::new(start);
            (0..secs * per_sec)
                .all(|i| rate.allow(start + Duration::from_millis(i * 1000 / per_sec)))
        };
        let bursts = |frames: u64, every_ms: u64| {
            let mut rate = ControlRate::new(start);
            (0..20 * frames)
                .all(|i| rate.allow(start + Duration::from_millis(i / frames * every_ms)))
        };
        assert!(bursts(110, 1850));
        assert!(!bursts(250, 1850));
        assert!(feed(100, 30));
        assert!(feed(200, 5));
        assert!(!feed(200, 7));
    }
}
