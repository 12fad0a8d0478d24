//! A condition variable with the interface of parking_lot. Time is the model's: see [`Time`].

use std::cell::Cell;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync as checked;
use shuttle::sync::atomic::{AtomicU64, Ordering};

use super::lock::MutexGuard;

/// What becomes of a wait with a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Time {
    /// The deadline never comes: whoever is not woken waits for ever, which the checker reports as a deadlock.
    #[default]
    Stands,
    /// A deadline that is near may come at any moment; one that is far never does.
    Passes,
}

/// What is nearer than this is near.
const NEAR: Duration = Duration::from_secs(10);
/// How often a wait looks for a wake-up, at most, before its deadline comes.
const MAX_LOOKS: u32 = 6;

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
    /// How often it was notified, for those who wait while time passes.
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
        guard.give(|guard| {
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
        for _ in 0..thread_rng().gen_range(0..=MAX_LOOKS) {
            guard.pause();
            if self.notified.load(Ordering::SeqCst) != before {
                return WaitTimeoutResult(false);
            }
        }
        WaitTimeoutResult(true)
    }
}
