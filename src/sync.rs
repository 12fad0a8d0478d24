//! Locks, atomics, channels and threads of the broker, the outbox and the list of connections. With `--cfg shuttle` they are
//! those of the model checker (see `docs/verification.md`).

mod lock_order;

#[cfg(shuttle)]
mod checked;

pub(crate) use std::sync::{Arc, Weak};

#[cfg(not(shuttle))]
mod plain {
    pub(crate) use std::collections::HashMap;
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::thread;

    pub(crate) use crossbeam_channel as channel;
    pub(crate) use parking_lot::{Condvar, Mutex, RwLock};

    use super::Lock;

    pub(crate) fn mutex<T>(_: Lock, value: T) -> Mutex<T> {
        Mutex::new(value)
    }

    pub(crate) fn rw_lock<T>(_: Lock, value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

#[cfg(shuttle)]
pub(crate) use self::checked::{
    AtomicBool, AtomicU64, AtomicUsize, Condvar, HashMap, Mutex, OnceLock, Ordering, RwLock,
    channel, mutex, rw_lock, thread,
};
#[cfg(all(test, shuttle))]
pub(crate) use self::checked::{Time, begin_execution, held_locks};
pub(crate) use self::lock_order::Lock;
#[cfg(not(shuttle))]
pub(crate) use self::plain::{
    AtomicBool, AtomicU64, AtomicUsize, Condvar, HashMap, Mutex, OnceLock, Ordering, RwLock,
    channel, mutex, rw_lock, thread,
};
