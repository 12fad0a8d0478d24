//! Latencies in buckets of about 1.5 % width: constant memory, a few instructions per sample. The benchmarks under
//! `benches/` count with this file as well.

use std::ops::AddAssign;

const SUB_BITS: u32 = 6;
const SUB_BUCKETS: usize = 1 << SUB_BITS;

/// Counts of nanosecond samples.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram {
            counts: vec![0; SUB_BUCKETS * (64 - SUB_BITS as usize + 1)],
            total: 0,
        }
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// The latency that `share` (0 to 1) of the samples do not exceed, in microseconds; 0 without samples.
    pub(crate) fn quantile_micros(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index) as f64 / 1e3;
            }
        }
        0.0
    }
}

impl AddAssign<&Histogram> for Histogram {
    fn add_assign(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }
}

/// Values below `SUB_BUCKETS` have a bucket each; above, each power of two is split into `SUB_BUCKETS`.
fn bucket(nanos: u64) -> usize {
    let shift = (64 - SUB_BITS).saturating_sub(nanos.leading_zeros() + 1);
    let sub = (nanos >> shift) as usize & (SUB_BUCKETS - 1);
    match shift {
        0 if nanos < SUB_BUCKETS as u64 => sub,
        _ => (shift as usize + 1) * SUB_BUCKETS + sub,
    }
}

fn upper_bound(bucket: usize) -> u64 {
    match bucket / SUB_BUCKETS {
        0 => bucket as u64,
        row => {
            let shift = row - 1;
            let low = ((SUB_BUCKETS + bucket % SUB_BUCKETS) as u64) << shift;
            low + (1 << shift) - 1
        }
    }
}
