//! How many control frames a peer may send: a count per second. Pure: the clock is passed in.

use std::time::{Duration, Instant};

/// Control frames a second that are always fine.
const CONTROL_FRAMES_PER_SEC: f64 = 100.0;
/// Seconds in a row above that after which the connection ends.
const CONTROL_FLOOD_SECS: u32 = 5;

/// Notices a flood of control frames that is kept up.
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

    /// Counts a control frame; `false` once the flood has lasted too long.
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
    fn only_a_flood_kept_up_for_five_seconds_ends_a_connection() {
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
