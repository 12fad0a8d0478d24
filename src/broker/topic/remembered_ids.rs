//! The ids of the idempotent messages that a topic remembers, and what each of them became. Pure: the caller tells the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::sync::HashMap;

/// A topic remembers its newest ids up to this number.
pub(crate) const MAX_IDS: usize = 10_000;
/// Memory is given back only above this number of ids.
const MIN_CAPACITY: usize = 64;

/// The event that an idempotent message became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    pub(super) seq: u64,
    /// Its time, in microseconds since 1970.
    pub(super) micros: u64,
}

pub(super) struct RememberedIds {
    /// How long an id is remembered.
    window: Duration,
    /// In order of age, the oldest first. No id is in it twice.
    entries: VecDeque<Entry>,
    /// The number of the entry of each id.
    numbers: HashMap<Uuid, u32>,
    /// The number of the oldest entry. Numbers wrap around.
    oldest: u32,
    /// What `numbers` has room for. Its own figure is lower after removals.
    capacity: usize,
}

struct Entry {
    id: Uuid,
    first: First,
    at: Instant,
}

impl RememberedIds {
    pub(super) fn new(window: Duration) -> RememberedIds {
        RememberedIds {
            window,
            entries: VecDeque::new(),
            numbers: HashMap::default(),
            oldest: 0,
            capacity: 0,
        }
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the message with this id became, if it is remembered at this time.
    pub(super) fn find(&self, id: Uuid, now: Instant) -> Option<First> {
        let number = self.numbers.get(&id)?;
        let entry = self
            .entries
            .get(number.wrapping_sub(self.oldest) as usize)?;
        (!self.is_over(entry, now)).then_some(entry.first)
    }

    /// Remembers an id that is not remembered at this time, and forgets those that are too old or too many.
    pub(super) fn remember(&mut self, id: Uuid, first: First, now: Instant) {
        self.expire(now);
        if self.entries.len() == MAX_IDS {
            self.forget_oldest();
        }
        let len = self.entries.len();
        if len == self.entries.capacity() {
            // Doubles, but not beyond what is ever needed.
            self.entries.reserve_exact(len.clamp(4, MAX_IDS - len));
        }
        let number = self.oldest.wrapping_add(len as u32);
        let before = self.numbers.insert(id, number);
        debug_assert!(before.is_none(), "it is remembered already");
        self.capacity = self.capacity.max(self.numbers.capacity());
        self.entries.push_back(Entry { id, first, at: now });
    }

    /// Forgets the ids whose window has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        while self
            .entries
            .front()
            .is_some_and(|entry| self.is_over(entry, now))
        {
            self.forget_oldest();
        }
        if self.entries.len() < self.entries.capacity() / 4 {
            self.shrink();
        }
    }

    /// Forgets the older half of the ids, again and again, until all this takes at most this many bytes or no id is left.
    pub(super) fn evict_to(&mut self, bytes: usize) {
        while self.bytes() > bytes && !self.is_empty() {
            for _ in 0..self.entries.len().div_ceil(2) {
                self.forget_oldest();
            }
            self.shrink();
        }
    }

    /// When the window of the oldest id ends.
    pub(super) fn oldest_expires_at(&self) -> Option<Instant> {
        self.entries.front()?.at.checked_add(self.window)
    }

    /// The memory that this takes.
    pub(super) fn bytes(&self) -> usize {
        // The standard library's table fills at most 7 of 8 places, and has a byte more for each.
        let places = match self.capacity {
            0 => 0,
            capacity => (capacity * 8 / 7).next_power_of_two(),
        };
        size_of::<RememberedIds>()
            + self.entries.capacity() * size_of::<Entry>()
            + places * (size_of::<(Uuid, u32)>() + 1)
    }

    fn is_over(&self, entry: &Entry, now: Instant) -> bool {
        now.saturating_duration_since(entry.at) >= self.window
    }

    fn forget_oldest(&mut self) {
        if let Some(Entry { id, .. }) = self.entries.pop_front() {
            self.numbers.remove(&id);
            self.oldest = self.oldest.wrapping_add(1);
        }
    }

    fn shrink(&mut self) {
        let keep = (self.entries.len() * 2).max(MIN_CAPACITY);
        if self.entries.capacity() > keep {
            self.entries.shrink_to(keep);
            self.numbers.shrink_to(keep);
            self.capacity = self.numbers.capacity();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(10);
    /// More than any number of ids takes.
    const MAX_BYTES: usize = 1_200_000;

    fn id(n: u32) -> Uuid {
        Uuid::from_u128(n.into())
    }

    fn first(seq: u64) -> First {
        First { seq, micros: seq }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish(u32),
        Wait(u64),
        Expire,
        Evict(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            12 => (0..60_u32).prop_map(Step::Publish),
            3 => (0..4_000_u64).prop_map(Step::Wait),
            1 => Just(Step::Expire),
            1 => (0..6_000_usize).prop_map(Step::Evict),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        /// Compared with a list of all ids ever remembered.
        #[test]
        fn an_id_is_found_exactly_within_its_window(steps in steps()) {
            let mut ids = RememberedIds::new(WINDOW);
            let mut model: Vec<(u32, u64, Instant)> = Vec::new();
            let (mut now, mut seq) = (Instant::now(), 0);
            for step in steps {
                match step {
                    Step::Publish(n) => {
                        let known = model.iter().find(|(known, ..)| *known == n);
                        prop_assert_eq!(ids.find(id(n), now), known.map(|(_, seq, _)| first(*seq)));
                        if known.is_none() {
                            seq += 1;
                            ids.remember(id(n), first(seq), now);
                            model.push((n, seq, now));
                        }
                    }
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Expire => ids.expire(now),
                    Step::Evict(bytes) => {
                        ids.evict_to(bytes);
                        prop_assert!(ids.bytes() <= bytes || ids.is_empty());
                        // The newest stay.
                        let left = ids.entries.len();
                        let first_left = model.len().saturating_sub(left);
                        model.drain(..first_left);
                    }
                }
                model.retain(|(_, _, at)| now < *at + WINDOW);
                let oldest = model.first().map(|(_, _, at)| *at + WINDOW);
                if let Some(expires) = ids.oldest_expires_at() {
                    prop_assert!(oldest.is_none_or(|oldest| expires <= oldest), "too late");
                }
                for n in 0..60 {
                    let known = model.iter().find(|(known, ..)| *known == n);
                    prop_assert_eq!(ids.find(id(n), now), known.map(|(_, seq, _)| first(*seq)));
                }
            }
        }
    }

    #[test]
    fn the_newest_ten_thousand_are_remembered_in_bounded_memory() {
        let mut ids = RememberedIds::new(WINDOW);
        let now = Instant::now();
        let max = MAX_IDS as u32;
        for n in 1..=5 * max {
            ids.remember(id(n), first(n.into()), now);
            assert!(ids.bytes() <= MAX_BYTES, "{n}: {}", ids.bytes());
        }
        assert_eq!(ids.entries.len(), MAX_IDS);
        assert_eq!(ids.find(id(4 * max), now), None);
        let found = ids.find(id(4 * max + 1), now);
        assert_eq!(found, Some(first((4 * max + 1).into())));
        assert_eq!(ids.find(id(5 * max), now), Some(first((5 * max).into())));
    }

    #[test]
    fn memory_is_given_back_when_the_window_has_passed() {
        let mut ids = RememberedIds::new(WINDOW);
        let now = Instant::now();
        (0..9_000).for_each(|n| ids.remember(id(n), first(1), now));
        ids.remember(id(9_000), first(2), now + WINDOW / 2);
        ids.expire(now + WINDOW);
        assert!(ids.bytes() < 16 << 10, "{}", ids.bytes());
        assert_eq!(ids.find(id(9_000), now + WINDOW), Some(first(2)));
        ids.expire(now + WINDOW * 3 / 2);
        assert!(ids.is_empty());
    }

    #[test]
    fn numbers_that_wrap_around_find_their_ids() {
        let mut ids = RememberedIds::new(WINDOW);
        ids.oldest = u32::MAX - 2;
        let now = Instant::now();
        for n in 0..6 {
            ids.remember(id(n), first(n.into()), now);
        }
        ids.evict_to(0);
        assert!(ids.is_empty());
        (0..6).for_each(|n| ids.remember(id(n), first(n.into()), now));
        (0..6).for_each(|n| assert_eq!(ids.find(id(n), now), Some(first(n.into()))));
    }
}
