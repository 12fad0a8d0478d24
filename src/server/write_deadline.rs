//! How long a blocked write may take: the rule of [`Config::write_timeout`](crate::Config::write_timeout). Pure; the
//! caller tells the time.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// What a peer must take on average, judged once in each `write_timeout`. Low enough for any client that reads at all,
/// also where the kernel reports in one piece what was read in many seconds.
const MIN_BYTES_PER_SEC: u64 = 1 << 10;
/// A blocked send is woken only when a third of the kernel's send buffer is free. It is repeated this many times in
/// each timeout, and at least once a second, so that less is noticed too.
const SENDS_PER_TIMEOUT: u32 = 8;
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The deadline of one write. The write is given up when the peer has taken no byte for `timeout`, or fewer bytes than
/// the minimum within a window of `timeout`. The first window begins with the write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteDeadline {
    timeout: Duration,
    last_taken: Instant,
    window_start: Instant,
    window_bytes: u64,
}

impl WriteDeadline {
    pub(crate) fn new(timeout: Duration, now: Instant) -> WriteDeadline {
        WriteDeadline {
            timeout,
            last_taken: now,
            window_start: now,
            window_bytes: 0,
        }
    }

    /// The peer took this many bytes more.
    pub(crate) fn taken(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            self.last_taken = now;
            self.window_bytes += bytes as u64;
        }
    }

    /// How long the next send may wait, never zero.
    ///
    /// # Errors
    /// `TimedOut` when the write is to be given up.
    pub(crate) fn next_wait(&mut self, now: Instant) -> io::Result<Duration> {
        let silent = now.saturating_duration_since(self.last_taken);
        if silent >= self.timeout {
            return Err(ErrorKind::TimedOut.into());
        }
        if now.saturating_duration_since(self.window_start) >= self.timeout {
            if self.window_bytes < self.min_window_bytes() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.window_start = now;
            self.window_bytes = 0;
        }
        let window_left = self.timeout - now.saturating_duration_since(self.window_start);
        let slice = (self.timeout / SENDS_PER_TIMEOUT).min(MAX_WAIT);
        Ok(slice
            .min(self.timeout - silent)
            .min(window_left)
            .max(Duration::from_micros(1)))
    }

    fn min_window_bytes(&self) -> u64 {
        let bytes = self.timeout.as_millis() * u128::from(MIN_BYTES_PER_SEC) / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// When a write is given up, if within `limit`, to a peer that takes `bytes` at each of these times.
    fn given_up(
        timeout: Duration,
        takings: &[(Duration, usize)],
        limit: Duration,
    ) -> Option<Duration> {
        let start = Instant::now();
        let mut deadline = WriteDeadline::new(timeout, start);
        let mut takings = takings.iter().peekable();
        let mut passed = Duration::ZERO;
        while passed < limit {
            let Ok(wait) = deadline.next_wait(start + passed) else {
                return Some(passed);
            };
            assert!(wait > Duration::ZERO && wait <= MAX_WAIT && wait <= timeout);
            passed += wait;
            while let Some((at, bytes)) = takings.next_if(|(at, _)| *at <= passed) {
                deadline.taken(*bytes, start + *at);
            }
        }
        None
    }

    fn timeouts() -> impl Strategy<Value = Duration> {
        (1_u64..60_000).prop_map(Duration::from_millis)
    }

    #[test]
    fn one_byte_a_second_is_given_up_after_one_timeout() {
        let timeout = Duration::from_secs(10);
        let takings: Vec<_> = (1..100).map(|n| (Duration::from_secs(n), 1)).collect();
        assert_eq!(given_up(timeout, &takings, timeout * 5), Some(timeout));
    }

    #[test]
    fn one_who_slows_down_to_one_byte_a_second_is_given_up_within_two_timeouts() {
        let timeout = Duration::from_secs(10);
        let mut takings = vec![(Duration::from_secs(9), 1 << 20)];
        takings.extend((10..100).map(|n| (Duration::from_secs(n), 1)));
        assert_eq!(given_up(timeout, &takings, timeout * 5), Some(timeout * 2));
    }

    proptest! {
        #[test]
        fn who_takes_nothing_is_given_up_after_the_timeout_and_not_before(
            timeout in timeouts(), first in 0.0..1.0,
        ) {
            let limit = timeout * 3;
            prop_assert_eq!(given_up(timeout, &[], limit), Some(timeout));
            // Also one who took everything the kernel would hold, and then nothing.
            let at = timeout.mul_f64(first);
            let ended = given_up(timeout, &[(at, 1 << 30)], limit).unwrap();
            prop_assert!(ended >= at + timeout - Duration::from_micros(1) && ended <= at + timeout + Duration::from_micros(1), "{ended:?}");
        }

        /// However its system puts together what it reads, as long as something comes within half the timeout.
        #[test]
        fn a_steady_reader_at_twice_the_minimum_is_never_given_up(
            timeout in timeouts(), rate in 2 * MIN_BYTES_PER_SEC..1 << 20, share in 0.01..0.5,
        ) {
            let gap = timeout.mul_f64(share).max(Duration::from_micros(100));
            let bytes = (gap.as_secs_f64() * rate as f64).ceil() as usize;
            let limit = timeout * 10;
            let takings: Vec<_> = (1..).map(|n| gap * n).take_while(|at| *at < limit).map(|at| (at, bytes)).collect();
            prop_assert_eq!(given_up(timeout, &takings, limit), None);
        }

        #[test]
        fn who_stays_below_the_minimum_is_given_up_after_one_timeout(
            timeout in (1_000_u64..60_000).prop_map(Duration::from_millis), pieces in 1_u32..50,
        ) {
            let gap = timeout / (pieces + 1);
            let most = timeout.as_millis() as usize * MIN_BYTES_PER_SEC as usize / 1000 - 1;
            let takings: Vec<_> = (1..=pieces).map(|n| (gap * n, most / pieces as usize)).collect();
            prop_assert_eq!(given_up(timeout, &takings, timeout * 3), Some(timeout));
        }
    }
}
