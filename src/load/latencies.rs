//! Latencies of a run: constant memory, a few instructions per sample, quantiles within 1 %.

use std::ops::AddAssign;

use hdrhistogram::Histogram;

const LONGEST_NANOS: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 2;

/// A histogram of nanoseconds; what takes longer than an hour counts as an hour.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NANOS, SIGNIFICANT_DIGITS);
        Latencies(histogram.expect("constants within the documented bounds"))
    }
}

impl Latencies {
    /// Adds a sample.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// The latency in microseconds that `share` (0 to 1) of the samples do not exceed; 0 without samples.
    pub fn quantile_micros(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }
}

impl AddAssign<&Latencies> for Latencies {
    fn add_assign(&mut self, other: &Latencies) {
        self.0 += &other.0;
    }
}
