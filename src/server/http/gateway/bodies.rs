//! Bodies of large answers, handed from the worker to the connection's thread without a copy.
//!
//! tiny_http carries the head of such an answer; its body waits here under the ticket of the request.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::large_answers::SMALL_BYTES;

/// Tells a worker the ticket of a request, and the connection's thread that the body is here.
pub(super) const TICKET_HEADER: &str = "x-threadcast-ticket";

#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// Held for one look-up. Only requests that are being answered are in here.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: HashMap<u64, Vec<u8>>,
}

/// A request's right to a body; what nobody took is dropped with it.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    bodies: Arc<Bodies>,
}

impl Bodies {
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut state = self.state.lock();
        state.next += 1;
        let number = state.next;
        state.waiting.insert(number, Vec::new());
        Ticket {
            number,
            bodies: Arc::clone(self),
        }
    }

    /// Takes a large body over; returns one that is small, or that nobody waits for.
    pub(super) fn leave(&self, ticket: u64, body: Vec<u8>) -> Result<(), Vec<u8>> {
        if body.len() <= SMALL_BYTES {
            return Err(body);
        }
        match self.state.lock().waiting.get_mut(&ticket) {
            Some(place) => {
                *place = body;
                Ok(())
            }
            None => Err(body),
        }
    }
}

impl Ticket {
    pub(super) fn take(&self) -> Vec<u8> {
        let mut state = self.bodies.state.lock();
        state
            .waiting
            .get_mut(&self.number)
            .map(std::mem::take)
            .unwrap_or_default()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.bodies.state.lock().waiting.remove(&self.number);
        // Freed without the lock.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_waits_for_its_ticket_and_goes_with_it() {
        let bodies = Arc::new(Bodies::default());
        let (ticket, other) = (bodies.ticket(), bodies.ticket());
        let large = vec![b'x'; SMALL_BYTES + 1];
        assert!(bodies.leave(ticket.number, large.clone()).is_ok());
        assert!(other.take().is_empty());
        assert_eq!(ticket.take(), large);
        assert!(bodies.leave(ticket.number, large.clone()).is_ok());
        let number = ticket.number;
        drop(ticket);
        assert!(bodies.leave(number, large).is_err(), "nobody waits for it");
        drop(other);
        assert!(bodies.state.lock().waiting.is_empty());
    }

    #[test]
    fn a_small_body_is_not_taken_over() {
        let bodies = Arc::new(Bodies::default());
        let ticket = bodies.ticket();
        let small = vec![b'x'; SMALL_BYTES];
        assert_eq!(bodies.leave(ticket.number, small.clone()), Err(small));
    }
}
