//! Slots: what travels between a connection's thread and a worker in process, because HTTP cannot carry it.
//!
//! A request through tiny_http names its slot in [`TICKET_HEADER`], the only private header. The worker takes the
//! [`Request`] from the slot, and leaves there what its response has beside its head and a small body.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::request::Request;
use super::super::request::SMALL_RESPONSE_BYTES;
use super::super::response::{Response, Retry};

pub(super) const TICKET_HEADER: &str = "x-threadcast-ticket";

#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Locked for one look-up. Holds only requests that are being answered.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    slots: HashMap<u64, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Until a worker takes it.
    request: Option<Request>,
    retry: Option<Retry>,
    /// A body that is handed over without a copy, because it is large.
    body: Option<Vec<u8>>,
}

/// Owns a slot: its contents are dropped with it.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    slots: Arc<Slots>,
}

impl Slots {
    pub(super) fn open(self: &Arc<Self>, request: Request) -> Ticket {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let request = Some(request);
        let slot = Slot {
            request,
            ..Slot::default()
        };
        state.slots.insert(number, slot);
        Ticket {
            number,
            slots: Arc::clone(self),
        }
    }

    /// `None` when the connection's thread has stopped waiting.
    pub(super) fn take_request(&self, ticket: u64) -> Option<Request> {
        self.state.lock().slots.get_mut(&ticket)?.request.take()
    }

    /// Moves the retry and a large body of the response into the slot, if there still is one.
    pub(super) fn leave(&self, ticket: u64, response: &mut Response) {
        if let Some(slot) = self.state.lock().slots.get_mut(&ticket) {
            slot.retry = response.retry.take();
            if response.body.len() > SMALL_RESPONSE_BYTES {
                slot.body = Some(std::mem::take(&mut response.body));
            }
        }
    }
}

impl Ticket {
    /// Completes a response that came through tiny_http with what the worker left in the slot.
    pub(super) fn complete(&self, response: &mut Response) {
        if let Some(slot) = self.slots.state.lock().slots.get_mut(&self.number) {
            response.retry = slot.retry.take();
            if let Some(body) = slot.body.take() {
                response.body = body;
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let slot = self.slots.state.lock().slots.remove(&self.number);
        // The memory is freed without the lock.
        drop(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::rest::fixture::request;

    fn response(bytes: usize) -> Response {
        Response::new(200, "text/plain", vec![b'x'; bytes])
    }

    #[test]
    fn a_request_is_taken_once_and_only_by_its_ticket() {
        let slots = Arc::new(Slots::default());
        let list = request("GET", "/topics", b"");
        let ticket = slots.open(list.clone());
        assert_eq!(slots.take_request(ticket.number + 1), None);
        assert_eq!(slots.take_request(ticket.number), Some(list));
        assert_eq!(slots.take_request(ticket.number), None);
    }

    #[test]
    fn a_large_body_and_a_retry_reach_the_owner_of_the_ticket_and_end_with_it() {
        let slots = Arc::new(Slots::default());
        let open = || slots.open(request("GET", "/topics", b""));
        let (ticket, other) = (open(), open());
        let retry = Retry::Memory { bytes: 1 };
        let mut left = response(SMALL_RESPONSE_BYTES + 1).with_retry(retry);
        slots.leave(ticket.number, &mut left);
        assert_eq!((left.body.len(), left.retry), (0, None));
        let mut received = response(0);
        other.complete(&mut received);
        assert_eq!((received.body.len(), received.retry), (0, None));
        ticket.complete(&mut received);
        assert_eq!(received.body.len(), SMALL_RESPONSE_BYTES + 1);
        assert_eq!(received.retry, Some(retry));
        let number = ticket.number;
        drop(ticket);
        let mut late = response(SMALL_RESPONSE_BYTES + 1);
        slots.leave(number, &mut late);
        assert_eq!(
            late.body.len(),
            SMALL_RESPONSE_BYTES + 1,
            "nobody waits for it"
        );
        drop(other);
        assert!(slots.state.lock().slots.is_empty());
    }

    #[test]
    fn a_small_body_goes_through_tiny_http() {
        let slots = Arc::new(Slots::default());
        let ticket = slots.open(request("GET", "/topics", b""));
        let mut small = response(SMALL_RESPONSE_BYTES);
        slots.leave(ticket.number, &mut small);
        assert_eq!(small.body.len(), SMALL_RESPONSE_BYTES);
    }
}
