//! Counts by a label with few values, all of them known beforehand: each is there from the start, with 0.

use std::sync::atomic::{AtomicU64, Ordering};

/// For what happens seldom: a label is looked for among the others.
#[derive(Debug)]
pub(crate) struct Tally<const N: usize> {
    labels: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Tally<N> {
    pub(super) fn new(labels: [&'static str; N]) -> Tally<N> {
        Tally {
            labels,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(crate) fn count(&self, label: &str) {
        self.add(label, 1);
    }

    pub(crate) fn add(&self, label: &str, count: u64) {
        let at = self.labels.iter().position(|known| *known == label);
        debug_assert!(at.is_some(), "no count of {label}");
        if let Some(at) = at {
            self.counts[at].fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> [(&'static str, u64); N] {
        std::array::from_fn(|at| (self.labels[at], self.counts[at].load(Ordering::Relaxed)))
    }
}
