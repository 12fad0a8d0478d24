//! The subscribers of a topic, with a snapshot over which a fan-out iterates without the topic's lock.

use super::Subscription;
use crate::protocol::ClientId;
use crate::sync::{Arc, HashMap};

#[derive(Default)]
pub(super) struct Subscribers {
    by_client: HashMap<ClientId, Arc<Subscription>>,
    /// Made on the first request after a change, so that many subscribes in a row do not copy the list each time.
    snapshot: Option<Arc<[Arc<Subscription>]>>,
}

impl Subscribers {
    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Adds a subscription. It replaces an older one of the same client id, which is returned.
    pub(super) fn insert(&mut self, subscription: Arc<Subscription>) -> Option<Arc<Subscription>> {
        self.snapshot = None;
        self.by_client
            .insert(subscription.client_id().clone(), subscription)
    }

    /// Removes this subscription; returns `false` if it is not in the list, or another one replaced it.
    pub(super) fn remove(&mut self, subscription: &Subscription) -> bool {
        let is_it = self.has(subscription);
        if is_it {
            self.by_client.remove(subscription.client_id());
            self.snapshot = None;
        }
        is_it
    }

    /// Whether this subscription is in the list, and no other one replaced it.
    pub(super) fn has(&self, subscription: &Subscription) -> bool {
        let held = self.by_client.get(subscription.client_id());
        held.is_some_and(|held| std::ptr::eq(&**held, subscription))
    }

    pub(super) fn get(&self, client_id: &ClientId) -> Option<&Arc<Subscription>> {
        self.by_client.get(client_id)
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
