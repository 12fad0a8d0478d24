//! Counters: [`Sharded`] for frequent events, [`Tally`] for rare events with a label.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Number of copies, assigned to threads in turn. More than most machines have processors; a few KiB in total.
const SHARDS: usize = 32;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The copy of this thread.
    static OWN_SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Several copies of `T`, so that threads do not contend for a cache line. On the heap, since stacks are small here.
#[derive(Debug)]
pub(super) struct Sharded<T>(Box<[Padded<T>]>);

/// Two cache lines of 64 bytes, since processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Sharded<T> {
        Sharded((0..SHARDS).map(|_| Padded::default()).collect())
    }
}

impl<T> Sharded<T> {
    /// The copy of this thread.
    pub(super) fn mine(&self) -> &T {
        &self.0[own_shard()].0
    }

    /// The sum of one counter over all copies.
    pub(super) fn sum(&self, pick: impl Fn(&T) -> &AtomicU64) -> u64 {
        let counts = self.0.iter().map(|shard| pick(&shard.0));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn own_shard() -> usize {
    match OWN_SHARD.get() {
        usize::MAX => {
            let shard = NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % SHARDS;
            OWN_SHARD.set(shard);
            shard
        }
        shard => shard,
    }
}

/// Counts by a label with few known values, all present from the start. Finds the label by a linear search.
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
        debug_assert!(at.is_some(), "unknown label {label}");
        if let Some(at) = at {
            self.counts[at].fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> [(&'static str, u64); N] {
        std::array::from_fn(|at| (self.labels[at], self.counts[at].load(Ordering::Relaxed)))
    }
}
