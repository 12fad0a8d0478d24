//! Counters in several copies, so that threads that count at once do not pull one cache line to and fro.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Copies; threads share them in turn. More than a machine usually has processors, and a few KiB in all.
const SHARDS: usize = 32;

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which copy this thread counts in.
    static OWN_SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// A copy of `T` for every few threads, on the heap: stacks here are small.
#[derive(Debug)]
pub(super) struct Sharded<T>(Box<[Padded<T>]>);

/// Two lines of 64 bytes, because processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Sharded<T> {
        Sharded((0..SHARDS).map(|_| Padded::default()).collect())
    }
}

impl<T> Sharded<T> {
    /// The copy in which this thread counts.
    pub(super) fn mine(&self) -> &T {
        &self.0[own_shard()].0
    }

    /// All copies of one counter together.
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
