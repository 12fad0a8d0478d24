//! The reconnect policy, and the backoff between attempts.

use std::time::{Duration, Instant};

/// Whether a lost connection is replaced by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnect {
    /// Never: the loss is an error.
    Never,
    /// For this long after the loss; then the loss is an error. Default: two minutes.
    For(Duration),
    /// Without a time limit.
    Forever,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect::For(Duration::from_secs(120))
    }
}

impl Reconnect {
    /// Whether another attempt is allowed `lost_for` after the loss.
    pub(super) fn allows_attempt(self, lost_for: Duration) -> bool {
        match self {
            Reconnect::Never => false,
            Reconnect::For(limit) => lost_for < limit,
            Reconnect::Forever => true,
        }
    }
}

/// The pause doubles from `first` to `last`. Each pause is a random part of that, so that many clients do not reconnect
/// at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) last: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(100),
            last: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The longest pause before attempt number `attempt` (from 0).
    fn longest(self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt);
        self.first.saturating_mul(doubled).min(self.last)
    }

    /// A random pause of at most [`longest`](Backoff::longest).
    fn random(self, attempt: u32) -> Duration {
        // Without random bytes, the longest pause.
        let part = getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX));
        self.longest(attempt).mul_f64(part)
    }
}

/// The attempts since a connection was lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryState {
    pub(super) since: Instant,
    attempt: u32,
}

impl RetryState {
    pub(super) fn new() -> RetryState {
        RetryState {
            since: Instant::now(),
            attempt: 0,
        }
    }

    /// After the loss of a connection that was open since `up`. A connection that was open only briefly counts as a failed
    /// attempt.
    pub(super) fn after(self, up: Instant, backoff: Backoff) -> RetryState {
        let attempt = match up.elapsed() < backoff.last {
            true => self.attempt,
            false => 0,
        };
        RetryState {
            since: Instant::now(),
            attempt,
        }
    }

    /// Counts an attempt, and returns when it may begin.
    pub(super) fn next(&mut self, backoff: Backoff) -> Instant {
        let pause = backoff.random(self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        Instant::now() + pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last() {
        let backoff = Backoff::default();
        let longest: Vec<_> = (0..9)
            .map(|attempt| backoff.longest(attempt).as_millis())
            .collect();
        assert_eq!(
            longest,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(backoff.longest(u32::MAX), backoff.last);
        for attempt in 0..50 {
            assert!(backoff.random(attempt) <= backoff.longest(attempt));
        }
    }

    #[test]
    fn policy_allows_attempts_until_its_limit() {
        let second = Duration::from_secs(1);
        assert!(!Reconnect::Never.allows_attempt(Duration::ZERO));
        assert!(Reconnect::For(second).allows_attempt(Duration::ZERO));
        assert!(!Reconnect::For(second).allows_attempt(second));
        assert!(Reconnect::Forever.allows_attempt(Duration::MAX));
    }
}
