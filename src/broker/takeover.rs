//! Takeover: a newer subscription of a client id takes the place of the older one.
//!
//! A subscription is *live*, then *superseded* at a seq, then *ended*. The step that registers the newer subscription also
//! supersedes the older one, under the topic's lock, so that no event is for both: the older one reads up to that seq, the
//! newer one continues after it. The older one ends when its own connection removes its cursor and sends a notice
//! ([`Takeover::end_older`]), unless something else ended it before.

use super::subscription::{SubscriberSink, Subscription};
use crate::sync::{Arc, AtomicU64, Ordering, Weak};

/// The part of a topic that a subscription may read: everything while it is live, events up to a seq once superseded.
pub(super) struct Tenure {
    /// The last seq it may read; `u64::MAX` while it is live. Written under the topic's lock.
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
    /// Whether a newer subscription has superseded this one.
    pub(super) fn is_over(&self) -> bool {
        self.ends_at.load(Ordering::Acquire) != u64::MAX
    }

    /// The newest seq it may read in a topic with this head.
    pub(super) fn end_of(&self, head: u64) -> u64 {
        head.min(self.ends_at.load(Ordering::Acquire))
    }

    fn end_at(&self, seq: u64) {
        self.ends_at.store(seq, Ordering::Release);
    }
}

/// A superseded subscription that has not ended yet. Dropping this ends it.
pub(crate) struct Takeover {
    pub(super) older: Arc<Subscription>,
    by: Weak<dyn SubscriberSink>,
}

impl Takeover {
    /// Supersedes the older subscription: the newer one begins after this seq. Called under the topic's lock.
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
    pub(crate) fn end_older(self) {}
}

impl Drop for Takeover {
    /// Does nothing if both subscriptions belong to one connection: it has ended the older one itself, before the ack.
    fn drop(&mut self) {
        if !self.older.sink().ptr_eq(&self.by)
            && let Some(sink) = self.older.sink().upgrade()
        {
            sink.replaced(&self.older);
        }
    }
}
