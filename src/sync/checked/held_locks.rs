//! The locks that each thread of a model holds. Checks every lock that is taken against the lock order.

use std::cell::RefCell;
use std::collections::HashMap;

use shuttle::current::{self, TaskId};

use crate::sync::Lock;

/// A lock held by the running thread.
pub(super) struct Held {
    task: TaskId,
    lock: Lock,
}

thread_local! {
    /// All threads of a model run on one thread.
    static HELD: RefCell<HashMap<TaskId, Vec<Lock>>> = RefCell::default();
}

/// The locks that the running thread holds, except those of the model.
#[cfg(test)]
pub(crate) fn held_locks() -> Vec<Lock> {
    HELD.with_borrow(|held| {
        let held = held.get(&current::me()).cloned().unwrap_or_default();
        held.into_iter()
            .filter(|lock| *lock != Lock::Model)
            .collect()
    })
}

/// Removes the entries that an earlier execution left behind.
#[cfg(test)]
pub(super) fn clear() {
    HELD.with_borrow_mut(HashMap::clear);
}

/// Checks the lock order, and notes that the running thread holds the lock.
pub(super) fn take(lock: Lock) -> Held {
    let task = current::me();
    HELD.with_borrow_mut(|held| {
        let held = held.entry(task).or_default();
        for under in held.iter() {
            assert!(
                under.allows(lock),
                "lock order: {lock:?} taken under {under:?}"
            );
        }
        held.push(lock);
    });
    Held { task, lock }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| {
            if let Some(held) = held.get_mut(&self.task)
                && let Some(at) = held.iter().rposition(|lock| *lock == self.lock)
            {
                held.remove(at);
            }
        });
    }
}
