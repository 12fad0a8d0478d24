//! When to come back after a connection was lost, and how long to wait before each attempt.

use std::time::{Duration, Instant};

/// Whether a lost connection is replaced by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnect {
    /// Not at all: the loss is an error.
    Never,
    /// Until this long after the loss; then the loss is an error. Two minutes unless chosen otherwise.
    For(Duration),
    /// As long as it takes.
    Forever,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect::For(Duration::from_secs(120))
    }
}

impl Reconnect {
    /// Whether there may be another attempt `lost_for` after the loss.
    pub(super) fn goes_on(self, lost_for: Duration) -> bool {
        match self {
            Reconnect::Never => false,
            Reconnect::For(limit) => lost_for < limit,
            Reconnect::Forever => true,
        }
    }
}

/// The longest pauses between attempts: doubling from the first to the last, each cut to a random part of
/// itself, so that a thousand clients do not come back at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pauses {
    pub(super) first: Duration,
    pub(super) last: Duration,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses {
            first: Duration::from_millis(100),
            last: Duration::from_secs(10),
        }
    }
}

impl Pauses {
    /// The longest that attempt number `attempt` (from 0) waits.
    fn longest(self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt);
        self.first.saturating_mul(doubled).min(self.last)
    }

    /// A random pause up to that.
    fn draw(self, attempt: u32) -> Duration {
        // Without randomness there is still a pause.
        let part = getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX));
        self.longest(attempt).mul_f64(part)
    }
}

/// The attempts since a loss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery {
    pub(super) since: Instant,
    attempt: u32,
}

impl Recovery {
    pub(super) fn new() -> Recovery {
        Recovery {
            since: Instant::now(),
            attempt: 0,
        }
    }

    /// A loss after a connection that held from `up` on: one that ended at once is a failed attempt more.
    pub(super) fn after(self, up: Instant, pauses: Pauses) -> Recovery {
        let attempt = match up.elapsed() < pauses.last {
            true => self.attempt,
            false => 0,
        };
        Recovery {
            since: Instant::now(),
            attempt,
        }
    }

    /// When the next attempt may begin, counting it.
    pub(super) fn next(&mut self, pauses: Pauses) -> Instant {
        let pause = pauses.draw(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        Instant::now() + pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last() {
        let pauses = Pauses::default();
        let longest: Vec<_> = (0..9)
            .map(|attempt| pauses.longest(attempt).as_millis())
            .collect();
        assert_eq!(
            longest,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(pauses.longest(u32::MAX), pauses.last);
        for attempt in 0..50 {
            assert!(pauses.draw(attempt) <= pauses.longest(attempt));
        }
    }

    #[test]
    fn a_policy_ends_when_it_says() {
        let second = Duration::from_secs(1);
        assert!(!Reconnect::Never.goes_on(Duration::ZERO));
        assert!(Reconnect::For(second).goes_on(Duration::ZERO));
        assert!(!Reconnect::For(second).goes_on(second));
        assert!(Reconnect::Forever.goes_on(Duration::MAX));
    }
}
