//! The subscribers of a topic, and a snapshot of them that a fan-out walks without holding the topic's lock.

use super::Subscription;
use crate::protocol::ClientId;
use crate::sync::{Arc, HashMap};

#[derive(Default)]
pub(super) struct Subscribers {
    by_client: HashMap<ClientId, Arc<Subscription>>,
    /// Made when first asked for after a change, so that a storm of subscribes does not copy it each time.
    snapshot: Option<Arc<[Arc<Subscription>]>>,
}

impl Subscribers {
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Adds a subscription; the newer of one client id wins, the older is returned.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>) -> Option<Arc<Subscription>> {
        self.snapshot = None;
        self.by_client
            .insert(subscription.client_id().clone(), subscription)
    }

    /// Removes this very subscription; `false` if it is not (or no longer) here.
    pub(super) fn remove(&mut self, subscription: &Subscription) -> bool {
        let client_id = subscription.client_id();
        let is_it = self
            .by_client
            .get(client_id)
            .is_some_and(|held| std::ptr::eq(&**held, subscription));
        if is_it {
            self.by_client.remove(client_id);
            self.snapshot = None;
        }
        is_it
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.by_client.values()
    }

    pub(super) fn cached_snapshot(&self) -> Option<Arc<[Arc<Subscription>]>> {
        self.snapshot.clone()
    }

    pub(super) fn snapshot(&mut self) -> Arc<[Arc<Subscription>]> {
        let by_client = &self.by_client;
        Arc::clone(
            self.snapshot
                .get_or_insert_with(|| by_client.values().cloned().collect()),
        )
    }
}
