//! A token bucket: limits how fast a connection publishes, and how fast an address sends requests. Pure: the caller passes the time.

use std::time::Instant;

/// A token bucket that holds one second's worth.
pub(in crate::server) struct TokenBucket {
    per_sec: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket; `per_sec` of 0 is unlimited.
    pub(in crate::server) fn new(per_sec: u32, now: Instant) -> TokenBucket {
        TokenBucket {
            per_sec: per_sec.into(),
            tokens: per_sec.into(),
            filled: now,
        }
    }

    pub(in crate::server) fn is_limited(&self) -> bool {
        self.per_sec > 0.0
    }

    /// Takes one token, if there is one.
    pub(in crate::server) fn allow(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_sec).min(self.per_sec);
        self.filled = now;
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more_than_a_second_at_once() {
        let start = Instant::now();
        let mut rate = TokenBucket::new(10, start);
        let taken = |rate: &mut TokenBucket, ms: u64| {
            (0..100)
                .filter(|_| rate.allow(start + Duration::from_millis(ms)))
                .count()
        };
        assert_eq!(taken(&mut rate, 0), 10);
        assert_eq!(taken(&mut rate, 500), 5);
        assert_eq!(taken(&mut rate, 60_000), 10);
    }
}
