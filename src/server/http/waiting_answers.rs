//! How many bytes of large answers may wait for their clients at once: a history is asked for with a few bytes, and a
//! client that does not read its own would keep it in memory until the write timeout.

use std::sync::atomic::{AtomicUsize, Ordering};

/// For all answers of a server together. One that is larger still may wait alone.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// An answer up to here always may: their number is bounded by that of the connections.
const SMALL_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct WaitingAnswers {
    bytes: AtomicUsize,
}

/// The place of one answer, given back when dropped.
pub(super) struct Place<'a> {
    taken: usize,
    all: &'a WaitingAnswers,
}

impl WaitingAnswers {
    /// `None` when an answer of this size has to be refused.
    pub(super) fn place(&self, bytes: usize) -> Option<Place<'_>> {
        let taken = if bytes > SMALL_BYTES { bytes } else { 0 };
        let before = self.bytes.fetch_add(taken, Ordering::Relaxed);
        let place = Place { taken, all: self };
        let fits = taken == 0 || before == 0 || before.saturating_add(taken) <= MAX_WAITING_BYTES;
        fits.then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: usize = MAX_WAITING_BYTES / 2;

    #[test]
    fn large_answers_wait_up_to_the_bound_and_small_ones_always() {
        let all = WaitingAnswers::default();
        let first = all.place(HALF);
        let second = all.place(HALF);
        assert!(first.is_some() && second.is_some());
        assert!(all.place(SMALL_BYTES + 1).is_none());
        assert!(all.place(SMALL_BYTES).is_some());
        drop(first);
        assert!(all.place(HALF).is_some(), "a refused answer takes no place");
        drop(second);
        assert_eq!(all.bytes.into_inner(), 0);
    }

    #[test]
    fn one_that_is_larger_than_the_bound_waits_alone() {
        let all = WaitingAnswers::default();
        let large = all.place(MAX_WAITING_BYTES * 2);
        assert!(large.is_some());
        assert!(all.place(HALF).is_none());
        drop(large);
        assert!(all.place(HALF).is_some());
    }
}
