//! One fan-out of a topic at a time: publishers that come while one is under way leave their events to it.
//!
//! Two publishers that walk the same subscribers would only meet at every outbox. So the second one notes that there is
//! more and goes on with its own work; the first makes another pass, which sends the events of both at once. Only when
//! too much is left to be offered does the second one wait for its turn, or it would push events out of the queues of
//! subscribers that are not slow at all.

use crate::sync::{AtomicBool, Mutation, Mutex, Ordering, fence, mutated};

/// Passes after which a publisher has done enough for the others.
const MAX_PASSES: usize = 8;

#[derive(Default)]
pub(super) struct FanOut {
    /// Held by the one that makes the passes. Any other lock may be taken under it.
    turn: Mutex<()>,
    /// Something was published that the pass under way may not have seen.
    more: AtomicBool,
}

impl FanOut {
    /// Makes passes, or leaves them to the one who does, unless `is_behind`: then it waits for that one, which never
    /// waits for a peer. `false` when there is still something to offer after as many passes as one publisher should
    /// make: the caller must see to it otherwise.
    pub(super) fn run(&self, is_behind: impl Fn() -> bool, mut pass: impl FnMut()) -> bool {
        self.more.store(true, Ordering::SeqCst);
        for _ in 0..MAX_PASSES {
            // With the fence after the pass: either the turn is found free here, or `more` is found set there.
            fence(Ordering::SeqCst);
            let turn = match self.turn.try_lock() {
                Some(turn) => turn,
                None if is_behind() => self.turn.lock(),
                None => return true,
            };
            // Not set: the pass that was waited for has offered everything.
            if self.more.swap(false, Ordering::SeqCst) {
                pass();
            }
            drop(turn);
            fence(Ordering::SeqCst);
            if !self.more.load(Ordering::SeqCst) || mutated(Mutation::LeaveWhatCameLate) {
                return true;
            }
        }
        false
    }
}
