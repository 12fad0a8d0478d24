//! Takeover: a newer subscription of a client id takes the place of the older one.
//!
//! A subscription is *live*, then *superseded* at a seq, then *ended*. It becomes superseded under the topic's lock, in the
//! step that registers the newer one, so that no event is for both: the older one reads up to that seq, the newer one goes
//! on behind it. It ends when its own connection removes its cursor and tells the client ([`Takeover::finish`]), or for
//! whatever ended it before.

use super::subscription::{SubscriberSink, Subscription};
use crate::sync::{Arc, AtomicU64, Ordering, Weak};

/// How long a subscription has its client id: up to a seq once it is superseded.
pub(super) struct Tenure {
    /// The last seq that is for it; `u64::MAX` while it is live. Written under the topic's lock.
    ends_at: AtomicU64,
}

impl Default for Tenure {
    fn default() -> Tenure {
        Tenure {
            ends_at: AtomicU64::new(u64::MAX),
        }
    }
}

impl Tenure {
    /// Whether a newer subscription has its place.
    pub(super) fn is_over(&self) -> bool {
        self.ends_at.load(Ordering::Acquire) != u64::MAX
    }

    /// The newest of a topic's events that is for it.
    pub(super) fn end_of(&self, head: u64) -> u64 {
        head.min(self.ends_at.load(Ordering::Acquire))
    }

    fn end_at(&self, seq: u64) {
        self.ends_at.store(seq, Ordering::Release);
    }
}

/// A subscription that was superseded and has not ended yet. It is ended at the latest when this is dropped.
pub(crate) struct Takeover {
    older: Arc<Subscription>,
    by: Weak<dyn SubscriberSink>,
}

impl Takeover {
    /// The newer subscription begins behind this seq. Called under the topic's lock.
    pub(super) fn begin(
        older: Arc<Subscription>,
        seq: u64,
        by: &Weak<dyn SubscriberSink>,
    ) -> Takeover {
        older.tenure().end_at(seq);
        Takeover {
            older,
            by: Weak::clone(by),
        }
    }

    /// Ends the older subscription. Called with no lock held.
    pub(crate) fn finish(self) {}
}

impl Drop for Takeover {
    /// The connection that took over has ended its own older subscription itself, before its ack.
    fn drop(&mut self) {
        if !self.older.sink().ptr_eq(&self.by)
            && let Some(sink) = self.older.sink().upgrade()
        {
            sink.replaced(&self.older);
        }
    }
}
