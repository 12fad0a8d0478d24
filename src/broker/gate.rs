//! The backpressure gate of a topic: publishers that find no room wait here, first come, first served.

use std::collections::VecDeque;
use std::time::Instant;

use crate::sync::{Arc, AtomicUsize, Condvar, Lock, Mutex, Ordering, mutex};

pub(super) struct Gate {
    /// Publishers in the line; whoever makes room looks here before it takes the lock.
    waiting: AtomicUsize,
    /// The topic's lock may be taken under it, to look for room.
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
    /// How many publishers have come to the gate so far.
    tickets: u64,
    /// Those that wait, in the order in which they came.
    waiters: VecDeque<Arc<Waiter>>,
}

/// A publisher in the line.
pub(super) struct Waiter {
    ticket: u64,
    /// Used with the lock of the line.
    called: Condvar,
}

impl Waiter {
    pub(super) fn ticket(&self) -> u64 {
        self.ticket
    }
}

impl Gate {
    /// Whether a publisher may append now, as far as the line is concerned: nobody waits, or it is first with this ticket.
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
            called: Condvar::new(),
        });
        line.waiters.push_back(Arc::clone(&waiter));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        waiter
    }

    /// Leaves the line; if that makes another one the first, it is called.
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
            first.called.notify_all();
        }
    }

    /// There may be room: calls the first in the line.
    pub(super) fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(first) = self.line.lock().waiters.front() {
            first.called.notify_all();
        }
    }

    /// Waits until this one is called, or until that moment. Room is looked for under the lock of the line, so that a call
    /// cannot come between the look and the wait.
    pub(super) fn wait(
        &self,
        waiter: &Arc<Waiter>,
        until: Instant,
        has_room: impl Fn() -> bool,
    ) -> Waited {
        let mut line = self.line.lock();
        let is_first = line
            .waiters
            .front()
            .is_some_and(|first| Arc::ptr_eq(first, waiter));
        if is_first && has_room() {
            Waited::HasRoom
        } else if waiter.called.wait_until(&mut line, until).timed_out() {
            Waited::TimedOut
        } else {
            Waited::Called
        }
    }
}

/// How a wait in the line came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// It is first, and has room.
    HasRoom,
    /// It may be first, and there may be room.
    Called,
    TimedOut,
}
