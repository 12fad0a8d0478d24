//! Catches, counts and logs panics. Each is caught where it ends one connection or one request at most.
//!
//! A panic releases the locks of its thread. Whoever catches it drops what may be half done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The count of a server's panics, shared by all its threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panics(Arc<AtomicU64>);

impl Panics {
    /// What `work` returns, or `None` when it panicked.
    pub(crate) fn catch<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let caught = catch_unwind(AssertUnwindSafe(work));
        caught.map_err(|_| self.note()).ok()
    }

    /// Counts a panic. Its message is logged by the panic hook.
    #[cold]
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        let current = thread::current();
        let thread = current.name().unwrap_or_default();
        tracing::error!(thread, "a panic was caught");
    }

    /// How many panics there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
