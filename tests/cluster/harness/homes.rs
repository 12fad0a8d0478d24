//! The nodes that a client may connect to: a list that a test changes while clients run.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses of nodes; clones share the list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes(Arc<Mutex<Vec<SocketAddr>>>);

impl Homes {
    pub(crate) fn of(addresses: impl IntoIterator<Item = SocketAddr>) -> Homes {
        Homes(Arc::new(Mutex::new(addresses.into_iter().collect())))
    }

    /// The address that attempt number `attempt` goes to.
    pub(crate) fn pick(&self, attempt: usize) -> Option<SocketAddr> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.get(attempt.checked_rem(list.len())?).copied()
    }

    pub(crate) fn replace(&self, old: SocketAddr, new: SocketAddr) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = list.iter_mut().filter(|place| **place == old);
        places.for_each(|place| *place = new);
    }
}
