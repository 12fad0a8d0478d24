//! Places: how many connections each user or each address has, so that none has more than it may.

use std::hash::Hash;

use crate::sync::{Arc, HashMap, Lock, Mutex, mutex};

/// Who has a connection, and how many.
pub(super) struct Places<K> {
    /// The most connections of each; 0 is any number.
    max: usize,
    /// Held for one look; no other lock is taken under it. An entry is never 0.
    taken: Mutex<HashMap<K, usize>>,
}

/// The place of one connection, given back when it is dropped. Empty where nobody counts.
pub(super) struct Place<K: Eq + Hash>(Option<(Arc<Places<K>>, K)>);

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl<K: Eq + Hash + Clone> Places<K> {
    pub(super) fn new(max: usize, lock: Lock) -> Arc<Places<K>> {
        Arc::new(Places {
            max,
            taken: mutex(lock, HashMap::default()),
        })
    }

    /// A place for one more connection.
    pub(super) fn take(self: &Arc<Places<K>>, holder: &K) -> Result<Place<K>, Full> {
        if self.max == 0 {
            return Ok(Place::default());
        }
        let mut taken = self.taken.lock();
        let count = taken.entry(holder.clone()).or_default();
        if *count >= self.max {
            return Err(Full);
        }
        *count += 1;
        drop(taken);
        Ok(Place(Some((Arc::clone(self), holder.clone()))))
    }

    /// Whether nobody has a place.
    #[cfg(all(test, not(shuttle)))]
    pub(super) fn are_free(&self) -> bool {
        self.taken.lock().is_empty()
    }
}

impl<K: Eq + Hash> Default for Place<K> {
    fn default() -> Place<K> {
        Place(None)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let Some((places, holder)) = &self.0 else {
            return;
        };
        let mut taken = places.taken.lock();
        if let Some(count) = taken.get_mut(holder) {
            *count -= 1;
            if *count == 0 {
                taken.remove(holder);
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn each_has_as_many_places_as_it_may_and_gives_them_back() {
        let places = Places::new(2, Lock::Users);
        let first = places.take(&"ann").expect("a place");
        let second = places.take(&"ann").expect("a place");
        assert!(places.take(&"ann").is_err());
        assert!(places.take(&"bob").is_ok(), "another one");
        drop(first);
        let third = places.take(&"ann").expect("a place");
        assert!(places.take(&"ann").is_err());
        drop((second, third));
        assert!(places.are_free());
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let places = Places::new(0, Lock::Users);
        let _taken: Vec<_> = (0..100).map(|_| places.take(&"ann").ok()).collect();
        assert!(places.are_free());
    }
}
