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

/// The attempts since a connection was lost. Addresses are tried in turn; a pause follows when each of them has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryState {
    pub(super) since: Instant,
    /// How many pauses there were.
    attempt: u32,
    /// How many addresses have failed since the last pause.
    failed: usize,
}

impl RetryState {
    pub(super) fn new() -> RetryState {
        RetryState {
            since: Instant::now(),
            attempt: 0,
            failed: 0,
        }
    }

    /// After the loss of a connection that was open since `up`. A connection that was open only briefly counts as a failed
    /// attempt.
    pub(super) fn after(self, up: Instant, backoff: Backoff) -> RetryState {
        let since = Instant::now();
        match up.elapsed() < backoff.last {
            true => RetryState { since, ..self },
            false => RetryState {
                since,
                ..RetryState::new()
            },
        }
    }

    /// How many of the addresses have not failed since the last pause.
    pub(super) fn untried(&self, addresses: usize) -> usize {
        addresses.saturating_sub(self.failed)
    }

    /// Counts a failed attempt, and returns when the next one may begin: at once while there is an address that has not
    /// failed, else after a pause.
    pub(super) fn next(&mut self, backoff: Backoff, addresses: usize) -> Instant {
        self.failed += 1;
        if self.failed < addresses {
            return Instant::now();
        }
        self.failed = 0;
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
    fn pause_follows_when_each_address_has_failed() {
        let hour = Duration::from_secs(3600);
        let backoff = Backoff {
            first: hour,
            last: hour,
        };
        let mut retry = RetryState::new();
        for round in 1..=3 {
            for untried in (1..=2).rev() {
                retry.next(backoff, 3);
                assert_eq!((retry.untried(3), retry.attempt), (untried, round - 1));
            }
            retry.next(backoff, 3);
            assert_eq!((retry.untried(3), retry.attempt), (3, round));
        }
        retry.next(backoff, 1);
        assert_eq!(retry.attempt, 4, "a single address pauses each time");
    }

    #[test]
    fn short_connection_counts_as_a_failed_attempt() {
        let backoff = Backoff::default();
        let mut retry = RetryState::new();
        retry.next(backoff, 1);
        retry.next(backoff, 2);
        let short = retry.after(Instant::now(), backoff);
        assert_eq!((short.attempt, short.failed), (1, 1));
        let long = Instant::now().checked_sub(backoff.last).unwrap();
        let long = retry.after(long, backoff);
        assert_eq!((long.attempt, long.failed), (0, 0));
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
