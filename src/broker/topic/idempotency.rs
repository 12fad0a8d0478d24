//! Idempotent publishes: a topic remembers the ids of their messages for some time, and publishes none of them again.
//!
//! Checked and remembered under the topic's lock, in one step with the append. A topic that has no such messages holds nothing
//! for them.

use std::time::Instant;

use super::publishing::Number;
use super::remembered_ids::{First, RememberedIds};
use super::{Published, State, Topic};
use crate::protocol::{Message, Timestamp};

impl Topic {
    /// What this message became, if it is idempotent and the topic remembers it.
    pub(super) fn duplicate_of(&self, state: &State, message: &Message<'_>) -> Option<Published> {
        let id = message.key()?;
        let first = state.remembered.as_ref()?.find(id, Instant::now())?;
        self.metrics().duplicates(1);
        Some(Published {
            epoch: state.epochs.current().name(),
            seq: first.seq,
            ts: Timestamp::from_micros(first.micros),
            event_bytes: 0,
            is_duplicate: true,
        })
    }

    /// Remembers what a message became, if it is idempotent.
    pub(super) fn remember(&self, state: &mut State, message: &Message<'_>, number: Number) {
        let Some(id) = message.key() else {
            return;
        };
        let window = self.settings.idempotency_window;
        let remembered = match &mut state.remembered {
            Some(remembered) => remembered,
            none => {
                // The topic may be in the expiry queue for later than this.
                state.expiry.queue_again();
                none.insert(Box::new(RememberedIds::new(window)))
            }
        };
        let first = First {
            seq: number.seq,
            micros: number.ts.micros(),
        };
        remembered.remember(id, first, Instant::now());
        self.update_figures(state);
    }
}

impl State {
    /// The memory of the events and the remembered ids.
    pub(super) fn held_bytes(&self) -> usize {
        self.log.held_bytes() + self.remembered.as_ref().map_or(0, |ids| ids.bytes())
    }

    /// Forgets the oldest ids until the topic takes at most this many bytes.
    pub(super) fn evict_ids(&mut self, bytes: usize) {
        let for_ids = bytes.saturating_sub(self.log.held_bytes());
        self.forget(|ids| ids.evict_to(for_ids));
    }

    /// Forgets the ids whose window has passed.
    pub(super) fn expire_ids(&mut self, now: Instant) {
        self.forget(|ids| ids.expire(now));
    }

    fn forget(&mut self, forget: impl FnOnce(&mut RememberedIds)) {
        if let Some(ids) = &mut self.remembered {
            forget(ids);
            if ids.is_empty() {
                self.remembered = None;
            }
        }
    }
}
