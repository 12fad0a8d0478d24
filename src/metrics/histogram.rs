//! Histograms of latencies, counted when they occur, and of current values.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::Sharded;
use crate::protocol::Timestamp;

/// Upper bounds of the buckets in microseconds, except for the last bucket, which has none.
const BOUNDS_MICROS: [u64; 18] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// Latencies since the server started.
#[derive(Debug, Default)]
pub(crate) struct Latency(Sharded<Cells>);

#[derive(Debug, Default)]
struct Cells {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

impl Latency {
    /// Observes the time from `since_micros` (system clock) until now; 0 if the clock was set back.
    pub(crate) fn observe_since(&self, since_micros: u64) {
        self.observe(Timestamp::now_micros().saturating_sub(since_micros));
    }

    fn observe(&self, micros: u64) {
        let cells = self.0.mine();
        let at = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        cells.buckets[at].fetch_add(1, Ordering::Relaxed);
        cells.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The current distribution, in seconds.
    pub(super) fn distribution(&self) -> Distribution {
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6);
        let buckets = bounds
            .chain([f64::INFINITY])
            .enumerate()
            .map(|(at, bound)| (bound, self.0.sum(|cells| &cells.buckets[at])));
        Distribution {
            buckets: buckets.collect(),
            sum: self.0.sum(|cells| &cells.sum_micros) as f64 / 1e6,
        }
    }
}

/// For each bucket its upper bound and its own number of observations.
#[derive(Debug, Clone)]
pub(crate) struct Distribution {
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) sum: f64,
}

impl Distribution {
    /// An empty distribution with these bounds, and a last bucket without one.
    pub(crate) fn new(bounds: &[u64]) -> Distribution {
        let bounds = bounds.iter().map(|bound| *bound as f64);
        Distribution {
            buckets: bounds.chain([f64::INFINITY]).map(|b| (b, 0)).collect(),
            sum: 0.0,
        }
    }

    pub(crate) fn add(&mut self, value: u64) {
        let value = value as f64;
        let at = self.buckets.partition_point(|(bound, _)| *bound < value);
        self.buckets[at].1 += 1;
        self.sum += value;
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_right_buckets() {
        let latency = Latency::default();
        for micros in [0, 25, 26, 10_000_000, 10_000_001] {
            latency.observe(micros);
        }
        let seen = latency.distribution();
        let filled: Vec<_> = seen.buckets.iter().filter(|bucket| bucket.1 > 0).collect();
        assert_eq!(
            filled,
            [
                &(0.000_025, 2),
                &(0.000_05, 1),
                &(10.0, 1),
                &(f64::INFINITY, 1)
            ]
        );
        assert!((seen.sum - 20.000_052).abs() < 1e-9, "{}", seen.sum);
        assert_eq!(seen.count(), 5);
    }
}
