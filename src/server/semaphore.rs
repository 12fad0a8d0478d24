//! A counting semaphore that serves waiters in the order they came, and can be closed.
//!
//! Owns no resource: its units stand for workers, or for bytes of memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct Semaphore {
    total: usize,
    /// Held for a few instructions; nothing else is locked under it.
    state: Mutex<State>,
    /// The last permit was given back.
    unused: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    closed: bool,
    /// Whoever came later waits, also if there is room for it: else a large request would wait for ever.
    waiting: VecDeque<Waiter>,
    next_id: u64,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    units: usize,
    granted: Sender<()>,
}

/// Units in use, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    semaphore: Arc<Semaphore>,
    units: usize,
}

/// Why a permit was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    TimedOut,
    Closed,
}

impl Semaphore {
    pub(crate) fn new(total: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore {
            total,
            state: Mutex::default(),
            unused: Condvar::new(),
        })
    }

    /// Waits for `units`. A request for more than the total is granted when nothing else is in use.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        units: usize,
        deadline: Instant,
    ) -> Result<Permit, Denied> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Denied::Closed);
        }
        if state.waiting.is_empty() && self.fits(&state, units) {
            state.used += units;
            drop(state);
            return Ok(self.permit(units));
        }
        let (granted, is_granted) = bounded(1);
        let id = state.next_id;
        state.next_id += 1;
        state.waiting.push_back(Waiter { id, units, granted });
        drop(state);
        let in_time = is_granted.recv_deadline(deadline).is_ok();
        // A grant that came in between the deadline and the lock counts.
        if in_time || self.leave(id) && is_granted.try_recv().is_ok() {
            return Ok(self.permit(units));
        }
        match self.state.lock().closed {
            true => Err(Denied::Closed),
            false => Err(Denied::TimedOut),
        }
    }

    /// Denies every request that waits or is still to come.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
    }

    /// Waits until every permit has been given back; `false` if the deadline came first.
    pub(crate) fn wait_until_unused(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.used > 0 {
            if self.unused.wait_until(&mut state, deadline).timed_out() {
                return state.used == 0;
            }
        }
        true
    }

    fn permit(self: &Arc<Self>, units: usize) -> Permit {
        Permit {
            semaphore: Arc::clone(self),
            units,
        }
    }

    fn fits(&self, state: &State, units: usize) -> bool {
        state.used == 0 || state.used.saturating_add(units) <= self.total
    }

    /// Takes a waiter off the queue; `true` when it was not there any more.
    fn leave(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.waiting.iter().position(|waiter| waiter.id == id) else {
            return true;
        };
        state.waiting.remove(at);
        self.grant(&mut state);
        false
    }

    /// Grants what fits to those who have waited longest.
    fn grant(&self, state: &mut State) {
        while let Some(first) = state.waiting.front() {
            if !self.fits(state, first.units) {
                return;
            }
            state.used += first.units;
            // The channel has room for the one message it ever gets.
            let _ = first.granted.try_send(());
            state.waiting.pop_front();
        }
    }
}

impl Permit {
    /// Changes how much is in use without waiting, also beyond the total.
    pub(crate) fn resize(&mut self, units: usize) {
        let mut state = self.semaphore.state.lock();
        state.used = state.used - self.units + units;
        self.units = units;
        self.semaphore.grant(&mut state);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.semaphore.state.lock();
        state.used -= self.units;
        self.semaphore.grant(&mut state);
        if state.used == 0 {
            self.semaphore.unused.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    fn at_once() -> Instant {
        Instant::now()
    }

    fn much_later() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    /// Waits until that many wait.
    fn await_waiting(semaphore: &Semaphore, count: usize) {
        let deadline = much_later();
        while semaphore.state.lock().waiting.len() != count {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    #[test]
    fn units_are_granted_up_to_the_total_and_come_back() {
        let semaphore = Semaphore::new(10);
        let first = semaphore.acquire(6, at_once());
        let second = semaphore.acquire(4, at_once());
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(
            semaphore.acquire(1, at_once()).map(drop),
            Err(Denied::TimedOut)
        );
        drop(first);
        assert!(semaphore.acquire(6, at_once()).is_ok());
        drop(second);
        assert!(semaphore.wait_until_unused(at_once()));
        assert_eq!(semaphore.state.lock().used, 0);
    }

    #[test]
    fn one_that_is_larger_than_the_total_is_granted_alone() {
        let semaphore = Semaphore::new(10);
        let large = semaphore.acquire(25, at_once());
        assert!(large.is_ok());
        assert!(semaphore.acquire(1, at_once()).is_err());
        drop(large);
        let _small = semaphore.acquire(1, at_once()).unwrap();
        assert!(semaphore.acquire(25, at_once()).is_err());
    }

    #[test]
    fn waiters_are_served_in_the_order_they_came() {
        let semaphore = Semaphore::new(2);
        let held = semaphore.acquire(1, at_once()).unwrap();
        let (served, order) = crossbeam_channel::unbounded();
        thread::scope(|scope| {
            for (number, units) in [(0, 2), (1, 1), (2, 2)] {
                let (semaphore, served) = (&semaphore, served.clone());
                scope.spawn(move || {
                    let _permit = semaphore.acquire(units, much_later()).unwrap();
                    served.send(number).unwrap();
                });
                await_waiting(semaphore, number + 1);
            }
            // One unit is free, and the first in the queue wants two.
            drop(held);
        });
        drop(served);
        assert_eq!(order.iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_waiter_that_leaves_lets_the_next_one_pass() {
        let semaphore = Semaphore::new(2);
        let _held = semaphore.acquire(1, at_once()).unwrap();
        thread::scope(|scope| {
            let large =
                scope.spawn(|| semaphore.acquire(2, Instant::now() + Duration::from_secs(1)));
            await_waiting(&semaphore, 1);
            let small = scope.spawn(|| semaphore.acquire(1, much_later()).is_ok());
            assert_eq!(large.join().unwrap().map(drop), Err(Denied::TimedOut));
            assert!(small.join().unwrap());
        });
    }

    #[test]
    fn a_permit_that_shrinks_makes_room_and_one_that_grows_takes_it() {
        let semaphore = Semaphore::new(10);
        let mut permit = semaphore.acquire(10, at_once()).unwrap();
        permit.resize(4);
        assert!(semaphore.acquire(6, at_once()).is_ok());
        permit.resize(9);
        assert!(semaphore.acquire(2, at_once()).is_err());
        drop(permit);
        assert!(semaphore.acquire(10, at_once()).is_ok());
    }

    #[test]
    fn closing_denies_whoever_waits_or_comes() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire(1, at_once()).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| semaphore.acquire(1, much_later()).map(drop));
            await_waiting(&semaphore, 1);
            semaphore.close();
            assert_eq!(waiting.join().unwrap(), Err(Denied::Closed));
        });
        assert_eq!(
            semaphore.acquire(1, much_later()).map(drop),
            Err(Denied::Closed)
        );
        assert!(!semaphore.wait_until_unused(at_once()));
        drop(held);
        assert!(semaphore.wait_until_unused(at_once()));
    }
}
