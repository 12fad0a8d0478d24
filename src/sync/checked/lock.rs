//! Named locks of the model checker with the interface of parking_lot.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;

use shuttle::sync as checked;

use super::held_locks::{self, Held};
use crate::sync::Lock;

pub(crate) struct Mutex<T> {
    name: Lock,
    lock: checked::Mutex<T>,
}

pub(crate) struct MutexGuard<'a, T> {
    /// `None` during a wait.
    guard: Option<checked::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
    held: Option<Held>,
}

pub(crate) fn mutex<T>(name: Lock, value: T) -> Mutex<T> {
    Mutex {
        name,
        lock: checked::Mutex::new(value),
    }
}

pub(crate) fn rw_lock<T>(name: Lock, value: T) -> RwLock<T> {
    RwLock {
        name,
        lock: checked::RwLock::new(value),
    }
}

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Checked before locking, so that a wrong order is found even if it would deadlock.
        let held = held_locks::take(self.name);
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
            held: Some(held_locks::take(self.name)),
        })
    }
}

impl<'a, T> MutexGuard<'a, T> {
    /// Passes the guard to `wait`, which may unlock it and must return it locked.
    pub(super) fn unlocked<R>(
        &mut self,
        wait: impl FnOnce(checked::MutexGuard<'a, T>) -> (checked::MutexGuard<'a, T>, R),
    ) -> R {
        self.held = None;
        let guard = self.guard.take().expect("held outside of a wait");
        let (guard, result) = wait(guard);
        self.guard = Some(guard);
        self.held = Some(held_locks::take(self.mutex.name));
        result
    }

    /// Releases the lock, lets other threads run, and takes it again.
    pub(super) fn yield_lock(&mut self) {
        let mutex = self.mutex;
        self.unlocked(|guard| {
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
    name: Lock,
    lock: checked::RwLock<T>,
}

/// A read or a write guard.
pub(crate) struct RwLockGuard<G> {
    guard: G,
    _held: Held,
}

impl<T> RwLock<T> {
    pub(crate) fn read(&self) -> RwLockGuard<checked::RwLockReadGuard<'_, T>> {
        let held = held_locks::take(self.name);
        let guard = self.lock.read().unwrap_or_else(PoisonError::into_inner);
        RwLockGuard { guard, _held: held }
    }

    pub(crate) fn write(&self) -> RwLockGuard<checked::RwLockWriteGuard<'_, T>> {
        let held = held_locks::take(self.name);
        let guard = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        RwLockGuard { guard, _held: held }
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
