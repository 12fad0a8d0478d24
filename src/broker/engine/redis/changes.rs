//! Wakes those who wait for the node to be ready.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
pub(super) struct Changes {
    /// Held while a waiting thread looks, so that it misses no change. Nothing else is locked meanwhile.
    look: Mutex<()>,
    changed: Condvar,
}

impl Changes {
    /// Something has changed that somebody may wait for.
    pub(super) fn notify(&self) {
        drop(self.look.lock());
        self.changed.notify_all();
    }

    /// Waits until the condition holds, or this moment has come.
    pub(super) fn wait_until(&self, deadline: Instant, holds: impl Fn() -> bool) {
        let mut look = self.look.lock();
        while !holds() && !self.changed.wait_until(&mut look, deadline).timed_out() {}
    }
}
