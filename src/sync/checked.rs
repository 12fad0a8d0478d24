//! The locks, atomics, channels and threads of the model checker, with the interfaces that the server uses.

pub(crate) mod channel;
mod condvar;
mod held_locks;
mod lock;
mod once_lock;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use shuttle::thread;

pub(crate) use self::condvar::Condvar;
pub(crate) use self::lock::{Mutex, RwLock, mutex, rw_lock};
pub(crate) use self::once_lock::OnceLock;
#[cfg(test)]
pub(crate) use self::{condvar::Time, held_locks::held_locks};

/// Iterates in the same order in each execution, so that a failing schedule can be replayed.
pub(crate) type HashMap<K, V> = std::collections::HashMap<
    K,
    V,
    std::hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher>,
>;

/// Resets the state that an earlier execution left behind.
#[cfg(test)]
pub(crate) fn begin_execution(time: Time) {
    held_locks::clear();
    condvar::set_time(time);
}
