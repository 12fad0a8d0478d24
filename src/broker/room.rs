//! Where publishers wait under the `block` policy until subscribers have moved on.

use std::time::Instant;

use crate::sync::{AtomicUsize, Condvar, Mutation, Mutex, Ordering, mutated};

#[derive(Default)]
pub(super) struct Room {
    /// Publishers that wait; a moving cursor looks here before it takes the lock.
    waiting: AtomicUsize,
    /// Guards nothing but the wait itself; nothing else is taken while it is held but the topic's lock to look.
    gate: Mutex<()>,
    moved: Condvar,
}

impl Room {
    /// Tells those who wait to look again.
    pub(super) fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let _gate = (!mutated(Mutation::MoveUnnoticed)).then(|| self.gate.lock());
            self.moved.notify_all();
        }
    }

    /// Waits until `done` holds; `false` if the deadline came first.
    pub(super) fn wait(&self, deadline: Instant, done: impl Fn() -> bool) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut gate = self.gate.lock();
        let mut in_time = true;
        while in_time && !done() {
            in_time = !self.moved.wait_until(&mut gate, deadline).timed_out();
        }
        drop(gate);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        in_time || done()
    }
}
