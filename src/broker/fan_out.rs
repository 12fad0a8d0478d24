//! One fan-out of a topic at a time: publishers that come while one is under way leave their events to it.
//!
//! Two publishers that walk the same subscribers would only meet at every outbox. So the second one notes that there is
//! more and goes on with its own work; the first makes another pass, which sends the events of both at once, and before
//! that it may read what its own peer has sent meanwhile, so that this goes with it. Only when too much is left to be
//! offered does the second one wait for its turn, or it would push events out of the queues of subscribers that are not
//! slow at all.

use crate::sync::{AtomicBool, Mutation, Mutex, Ordering, fence, mutated};

#[derive(Default)]
pub(super) struct FanOut {
    /// Held by the one that makes a pass. Any other lock may be taken under it.
    turn: Mutex<()>,
    /// Something was published that no pass may have seen.
    more: AtomicBool,
}

impl FanOut {
    /// Something was published.
    pub(super) fn announce(&self) {
        self.more.store(true, Ordering::SeqCst);
    }

    /// Makes a pass over what was announced, or leaves it to the one who makes one, unless `is_behind`: then it waits for
    /// that one, which never waits for a peer. `true` when something came meanwhile that may be left to nobody else: the
    /// caller must make another pass, or see to it otherwise.
    #[must_use]
    pub(super) fn pass(&self, is_behind: impl FnOnce() -> bool, offer: impl FnOnce()) -> bool {
        // With the fence after the pass: either the turn is found free here, or `more` is found set there.
        fence(Ordering::SeqCst);
        let turn = match self.turn.try_lock() {
            Some(turn) => turn,
            None if is_behind() => self.turn.lock(),
            None => return false,
        };
        // Not set: another pass has offered everything.
        if self.more.swap(false, Ordering::SeqCst) {
            offer();
        }
        drop(turn);
        fence(Ordering::SeqCst);
        self.more.load(Ordering::SeqCst) && !mutated(Mutation::LeaveWhatCameLate)
    }
}
