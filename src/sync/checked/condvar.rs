//! A condition variable with the interface of parking_lot. [`Time`] decides whether deadlines pass.

use std::cell::Cell;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync as checked;
use shuttle::sync::atomic::{AtomicU64, Ordering};

use super::lock::MutexGuard;

/// Whether waits with a deadline time out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Time {
    /// Deadlines never pass: a thread that is not woken waits for ever, which the checker reports as a deadlock.
    #[default]
    Stands,
    /// A deadline within [`NEAR`] may pass at any moment; a later one never does.
    Passes,
}

/// Deadlines within this time may pass under [`Time::Passes`].
const NEAR: Duration = Duration::from_secs(10);
/// The most checks for a notification before a deadline passes.
const MAX_CHECKS: u32 = 6;

thread_local! {
    /// All threads of a model run on one thread.
    static TIME: Cell<Time> = const { Cell::new(Time::Stands) };
}

#[cfg(test)]
pub(super) fn set_time(time: Time) {
    TIME.set(time);
}

#[derive(Default)]
pub(crate) struct Condvar {
    condvar: checked::Condvar,
    /// The number of notifications, for waits under [`Time::Passes`].
    notified: AtomicU64,
}

pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar::default()
    }

    pub(crate) fn notify_all(&self) {
        if TIME.get() == Time::Passes {
            self.notified.fetch_add(1, Ordering::SeqCst);
        }
        self.condvar.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.unlocked(|guard| {
            let woken = self.condvar.wait(guard);
            (woken.unwrap_or_else(PoisonError::into_inner), ())
        });
    }

    pub(crate) fn wait_until<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        deadline: Instant,
    ) -> WaitTimeoutResult {
        let is_near = deadline.saturating_duration_since(Instant::now()) < NEAR;
        if TIME.get() == Time::Stands || !is_near {
            self.wait(guard);
            return WaitTimeoutResult(false);
        }
        let before = self.notified.load(Ordering::SeqCst);
        for _ in 0..thread_rng().gen_range(0..=MAX_CHECKS) {
            guard.yield_lock();
            if self.notified.load(Ordering::SeqCst) != before {
                return WaitTimeoutResult(false);
            }
        }
        WaitTimeoutResult(true)
    }
}
