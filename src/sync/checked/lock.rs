//! Locks with the interface of parking_lot, which know their place in the lock order.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use shuttle::sync as checked;

use super::lock_order::{Held, Place};

pub(crate) struct Mutex<T> {
    place: Place,
    lock: checked::Mutex<T>,
}

pub(crate) struct MutexGuard<'a, T> {
    /// Taken out for the time of a wait.
    guard: Option<checked::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
    held: Option<Held>,
}

impl<T> Mutex<T> {
    #[track_caller]
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex {
            place: Place::here::<T>(),
            lock: checked::Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Looked at before, so that a wrong order shows even when nobody else holds the lock.
        let held = self.place.take();
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard {
            guard: Some(guard),
            mutex: self,
            held: Some(held),
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.lock.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.lock.try_lock().ok()?;
        Some(MutexGuard {
            guard: Some(guard),
            mutex: self,
            held: Some(self.place.take()),
        })
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<'a, T> MutexGuard<'a, T> {
    /// Gives the lock away for the time of `wait`, which must bring it back.
    pub(super) fn give<R>(
        &mut self,
        wait: impl FnOnce(checked::MutexGuard<'a, T>) -> (checked::MutexGuard<'a, T>, R),
    ) -> R {
        self.held = None;
        let guard = self.guard.take().expect("held outside of a wait");
        let (guard, result) = wait(guard);
        self.guard = Some(guard);
        self.held = Some(self.mutex.place.take());
        result
    }

    /// Lets the others have the lock for a moment.
    pub(super) fn pause(&mut self) {
        let mutex = self.mutex;
        self.give(|guard| {
            drop(guard);
            shuttle::thread::yield_now();
            let guard = mutex.lock.lock();
            (guard.unwrap_or_else(PoisonError::into_inner), ())
        });
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.guard.as_ref().expect("held outside of a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("held outside of a wait")
    }
}

pub(crate) struct RwLock<T> {
    place: Place,
    lock: checked::RwLock<T>,
}

/// A guard of either kind.
pub(crate) struct RwLockGuard<G> {
    guard: G,
    _held: Held,
}

impl<T> RwLock<T> {
    #[track_caller]
    pub(crate) fn new(value: T) -> RwLock<T> {
        RwLock {
            place: Place::here::<T>(),
            lock: checked::RwLock::new(value),
        }
    }

    pub(crate) fn read(&self) -> RwLockGuard<checked::RwLockReadGuard<'_, T>> {
        let held = self.place.take();
        let guard = self.lock.read().unwrap_or_else(PoisonError::into_inner);
        RwLockGuard { guard, _held: held }
    }

    pub(crate) fn write(&self) -> RwLockGuard<checked::RwLockWriteGuard<'_, T>> {
        let held = self.place.take();
        let guard = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        RwLockGuard { guard, _held: held }
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<G: Deref> Deref for RwLockGuard<G> {
    type Target = G::Target;
    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for RwLockGuard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}
