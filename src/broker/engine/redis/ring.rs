//! Which Redis has a topic, if there are several: rendezvous hashing over the places that the Redis have among each other. So
//! another Redis takes over only its part of the topics.
//!
//! The place of a Redis is a text that the first node stores in it, so that it does not matter in which order or spelling a
//! node names the URLs. Until all places are known, no topic is found.

use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::protocol::TopicName;
use crate::sync::{AtomicBool, Ordering};

pub(super) struct Ring {
    places: Vec<OnceLock<String>>,
    /// The name of each Redis, which it loses together with everything else.
    names: Mutex<Vec<Option<String>>>,
    /// Which Redis were up once, with no node that uses others.
    joined: Vec<AtomicBool>,
}

impl Ring {
    pub(super) fn new(count: usize) -> Ring {
        Ring {
            places: (0..count).map(|_| OnceLock::new()).collect(),
            names: Mutex::new(vec![None; count]),
            joined: (0..count).map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Notes that this node has joined the nodes of a Redis.
    pub(super) fn join(&self, at: usize) {
        self.joined[at].store(true, Ordering::Release);
    }

    /// Whether this node has joined the nodes of all its Redis. Before, it serves nothing.
    pub(super) fn has_joined(&self) -> bool {
        let mut joined = self.joined.iter();
        joined.all(|joined| joined.load(Ordering::Acquire))
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn place(&self, at: usize) -> Option<&str> {
        self.places[at].get().map(String::as_str)
    }

    /// The places of all Redis, sorted; `None` until all are known.
    pub(super) fn places(&self) -> Option<Vec<&str>> {
        let places = self.places.iter();
        let mut places: Vec<&str> = places
            .map(|place| place.get().map(String::as_str))
            .collect::<Option<_>>()?;
        places.sort_unstable();
        Some(places)
    }

    /// Notes what a Redis says of itself. The error is one line for people.
    pub(super) fn found(&self, at: usize, place: &str, name: &str) -> Result<(), String> {
        let known = self.places[at].get_or_init(|| place.to_owned());
        if known != place {
            return Err("its place among several Redis has changed".to_owned());
        }
        let mut names = self.names.lock();
        let twin = names
            .iter()
            .position(|known| known.as_deref() == Some(name));
        if twin.is_some_and(|twin| twin != at) {
            return Err("another URL leads to the same Redis".to_owned());
        }
        names[at] = Some(name.to_owned());
        Ok(())
    }

    /// The names of all Redis, sorted; `None` until all are known.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        let mut names: Vec<String> = self.names.lock().iter().cloned().collect::<Option<_>>()?;
        names.sort_unstable();
        Some(names)
    }

    /// Which Redis has a topic; `None` until all are known.
    pub(super) fn shard_of(&self, topic: &TopicName) -> Option<usize> {
        if self.len() == 1 {
            return Some(0);
        }
        let weights = self.places.iter().map(|place| {
            let place = place.get()?;
            Some(hash(&format!("{topic} {place}")))
        });
        let weights: Vec<u64> = weights.collect::<Option<_>>()?;
        (0..weights.len()).max_by_key(|at| weights[*at])
    }
}

/// FNV-1a with a final mix, the same on every node.
pub(super) fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(places: &[&str]) -> Ring {
        let ring = Ring::new(places.len());
        for (at, place) in places.iter().enumerate() {
            ring.found(at, place, &format!("name of {place}")).unwrap();
        }
        ring
    }

    fn topics() -> impl Iterator<Item = TopicName> {
        (0..3000).map(|n| TopicName::new(&format!("t{n}")).unwrap())
    }

    #[test]
    fn the_order_of_the_urls_does_not_matter_and_each_has_its_part() {
        let (places, other_way) = (["a", "b", "c"], ["c", "a", "b"]);
        let (one, other) = (ring(&places), ring(&other_way));
        let mut counts = [0; 3];
        for topic in topics() {
            let at = one.shard_of(&topic).unwrap();
            assert_eq!(places[at], other_way[other.shard_of(&topic).unwrap()]);
            counts[at] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(one.names(), other.names());
    }

    #[test]
    fn a_further_redis_takes_topics_only_for_itself() {
        let (two, three) = (ring(&["a", "b"]), ring(&["a", "b", "c"]));
        for topic in topics() {
            let (before, after) = (two.shard_of(&topic), three.shard_of(&topic));
            assert!(after == before || after == Some(2));
        }
    }

    #[test]
    fn nothing_is_found_until_all_are_known_and_no_redis_is_taken_twice() {
        let ring = Ring::new(2);
        let topic = TopicName::new("t").unwrap();
        ring.found(0, "a", "x").unwrap();
        assert_eq!((ring.shard_of(&topic), ring.names()), (None, None));
        assert!(ring.found(1, "b", "x").is_err());
        ring.found(1, "b", "y").unwrap();
        assert!(ring.shard_of(&topic).is_some());
        ring.found(1, "b", "z").unwrap();
        assert!(ring.found(1, "c", "z").is_err());
        assert_eq!(ring.names(), Some(vec!["x".to_owned(), "z".to_owned()]));
    }
}
