//! The backpressure gate of a topic: publishers that find no room wait here in a line, first come, first served.

use std::collections::VecDeque;
use std::time::Instant;

use crate::sync::{Arc, AtomicUsize, Condvar, Lock, Mutex, Ordering, mutex};

pub(super) struct Gate {
    /// Number of publishers in the line. Read before the lock is taken, so that a notification is cheap when none waits.
    waiting: AtomicUsize,
    /// The topic's lock may be taken under this one, to check for room.
    line: Mutex<Line>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            waiting: AtomicUsize::new(0),
            line: mutex(Lock::Gate, Line::default()),
        }
    }
}

#[derive(Default)]
struct Line {
    /// The number of the last ticket given out.
    tickets: u64,
    /// Waiting publishers, in the order in which they joined.
    waiters: VecDeque<Arc<Waiter>>,
}

/// A publisher in the line.
pub(super) struct Waiter {
    ticket: u64,
    /// Used with the lock of the line.
    woken: Condvar,
}

impl Waiter {
    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }
}

impl Gate {
    /// Whether the line lets a publisher append now: no publisher waits, or the one with this ticket is first. Says nothing
    /// about room.
    pub(super) fn lets_through(&self, ticket: Option<u64>) -> bool {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return true;
        }
        ticket.is_some_and(|ticket| self.is_first(ticket))
    }

    pub(super) fn is_first(&self, ticket: u64) -> bool {
        let line = self.line.lock();
        line.waiters
            .front()
            .is_some_and(|first| first.ticket == ticket)
    }

    /// Joins the line at its end.
    pub(super) fn join(&self) -> Arc<Waiter> {
        let mut line = self.line.lock();
        line.tickets += 1;
        let waiter = Arc::new(Waiter {
            ticket: line.tickets,
            woken: Condvar::new(),
        });
        line.waiters.push_back(Arc::clone(&waiter));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        waiter
    }

    /// Leaves the line. If that makes another publisher the first, wakes it.
    pub(super) fn leave(&self, waiter: &Arc<Waiter>) {
        let mut line = self.line.lock();
        let Some(at) = line
            .waiters
            .iter()
            .position(|held| Arc::ptr_eq(held, waiter))
        else {
            return;
        };
        line.waiters.remove(at);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if at == 0
            && let Some(first) = line.waiters.front()
        {
            first.woken.notify_all();
        }
    }

    /// Wakes the first in the line, because there may be room.
    pub(super) fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(first) = self.line.lock().waiters.front() {
            first.woken.notify_all();
        }
    }

    /// Waits until this publisher is woken, or until the deadline. Checks for room under the lock of the line, so that a
    /// wake-up cannot come between the check and the wait.
    pub(super) fn wait(
        &self,
        waiter: &Arc<Waiter>,
        deadline: Instant,
        has_room: impl Fn() -> bool,
    ) -> Waited {
        let mut line = self.line.lock();
        let is_first = line
            .waiters
            .front()
            .is_some_and(|first| Arc::ptr_eq(first, waiter));
        if is_first && has_room() {
            Waited::HasRoom
        } else if waiter.woken.wait_until(&mut line, deadline).timed_out() {
            Waited::TimedOut
        } else {
            Waited::Woken
        }
    }
}

/// Why a wait in the line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// The publisher is first, and there is room.
    HasRoom,
    /// The publisher may be first, and there may be room: it must check.
    Woken,
    TimedOut,
}
