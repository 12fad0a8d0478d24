//! Group commit: whoever finds a connection free carries out everything that waits for it, in one go.

use std::collections::VecDeque;

use crate::sync::{Arc, Condvar, HashMap, Lock, Mutex, mutex};

/// The most items that are carried out in one go.
const MAX_ITEMS: usize = 1024;

pub(crate) struct GroupCommit<T, R> {
    state: Mutex<State<T, R>>,
}

struct State<T, R> {
    tickets: u64,
    waiting: VecDeque<Waiting<T>>,
    done: HashMap<u64, R>,
    /// A thread carries out items.
    is_led: bool,
}

struct Waiting<T> {
    ticket: u64,
    item: T,
    woken: Arc<Condvar>,
}

impl<T, R> GroupCommit<T, R> {
    pub(crate) fn new() -> GroupCommit<T, R> {
        GroupCommit {
            state: mutex(
                Lock::GroupCommit,
                State {
                    tickets: 0,
                    waiting: VecDeque::new(),
                    done: HashMap::default(),
                    is_led: false,
                },
            ),
        }
    }

    /// Carries out an item, on this thread or on one that carries out several. `carry_out` returns a result for each item, in
    /// their order; it is called with no lock held, by one thread at a time. `None` if it panicked.
    pub(crate) fn run(&self, item: T, carry_out: impl Fn(Vec<T>) -> Vec<R>) -> Option<R> {
        let woken = Arc::new(Condvar::new());
        let mut state = self.state.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push_back(Waiting {
            ticket,
            item,
            woken: Arc::clone(&woken),
        });
        loop {
            if let Some(result) = state.done.remove(&ticket) {
                return Some(result);
            }
            let is_waiting = state.waiting.iter().any(|waiting| waiting.ticket == ticket);
            if state.is_led {
                woken.wait(&mut state);
            } else if is_waiting {
                state.is_led = true;
                drop(state);
                self.lead(&carry_out);
                state = self.state.lock();
            } else {
                return None;
            }
        }
    }

    /// Carries out what waits.
    fn lead(&self, carry_out: impl Fn(Vec<T>) -> Vec<R>) {
        let mut state = self.state.lock();
        let count = state.waiting.len().min(MAX_ITEMS);
        let (items, tickets): (Vec<T>, Vec<_>) = state
            .waiting
            .drain(..count)
            .map(|waiting| (waiting.item, (waiting.ticket, waiting.woken)))
            .unzip();
        drop(state);
        let led = Led {
            group: self,
            tickets,
        };
        let results = carry_out(items);
        let mut state = self.state.lock();
        let tickets = led.tickets.iter().map(|(ticket, _)| *ticket);
        state.done.extend(tickets.zip(results));
        drop(state);
    }
}

/// Wakes all threads whose items were carried out, and the next leader, also after a panic.
struct Led<'a, T, R> {
    group: &'a GroupCommit<T, R>,
    tickets: Vec<(u64, Arc<Condvar>)>,
}

impl<T, R> Drop for Led<'_, T, R> {
    fn drop(&mut self) {
        let mut state = self.group.state.lock();
        state.is_led = false;
        if let Some(next) = state.waiting.front() {
            next.woken.notify_all();
        }
        for (_, woken) in &self.tickets {
            woken.notify_all();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn every_item_gets_its_own_result_and_those_that_wait_go_together() {
        let group = GroupCommit::new();
        let calls = AtomicUsize::new(0);
        let double = |items: Vec<u64>| {
            calls.fetch_add(1, Ordering::Relaxed);
            thread::yield_now();
            items.iter().map(|item| item * 2).collect()
        };
        thread::scope(|scope| {
            for from in 0..8_u64 {
                let (group, double) = (&group, &double);
                scope.spawn(move || {
                    for item in (from * 1000)..(from * 1000 + 500) {
                        assert_eq!(group.run(item, double), Some(item * 2));
                    }
                });
            }
        });
        assert!(calls.load(Ordering::Relaxed) <= 4000);
        let state = group.state.lock();
        assert!(state.done.is_empty() && state.waiting.is_empty() && !state.is_led);
    }

    #[test]
    fn a_panic_fails_the_items_of_its_group_only() {
        let group: GroupCommit<u64, u64> = GroupCommit::new();
        let panics = |_| -> Vec<u64> { panic!("as it should") };
        assert!(catch_unwind(AssertUnwindSafe(|| group.run(1, panics))).is_err());
        assert_eq!(group.run(2, |_| Vec::new()), None);
        assert_eq!(group.run(3, |items| items), Some(3));
    }
}
