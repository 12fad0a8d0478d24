//! Large answers: how much memory all of them may take at once, and how many workers may build one.
//!
//! A handler whose answer is larger than the room it was given builds nothing; it says how much it needs. The room is
//! then reserved here, on the connection's thread, and the handler is asked again. So a history or a long list, which is
//! asked for with a few bytes, takes memory only within the budget, from before it is built until its client has it.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::deadline::Deadline;
use super::gateway::Gateway;
use super::message::Request;
use super::problem::Problem;
use crate::server::semaphore::{Denied, Semaphore};

/// For all large answers of a server together. One that is larger still goes alone.
const MAX_BYTES: usize = 64 << 20;
/// An answer up to here needs no room: the number of such answers is bounded by that of the connections.
pub(crate) const SMALL_BYTES: usize = 32 << 10;

/// Tells a handler how many bytes its body may have; in its answer, how many it would have. It never leaves the server.
pub(crate) const ROOM_HEADER: &str = "x-threadcast-room";

pub(crate) struct LargeAnswers {
    room: Arc<Semaphore>,
    /// At most half of the workers, so that the others are there for requests that are done in no time.
    builders: Arc<Semaphore>,
    timeout: Duration,
}

impl LargeAnswers {
    /// `timeout` is how long a request may wait for room.
    pub(crate) fn new(workers: usize, timeout: Duration) -> LargeAnswers {
        LargeAnswers {
            room: Semaphore::new(MAX_BYTES),
            builders: Semaphore::new((workers / 2).max(1)),
            timeout,
        }
    }

    /// The answer, with the room it takes.
    pub(crate) fn ask(&self, gateway: &Gateway, request: &Request) -> Answer {
        let mut answer = gateway.exchange(request, SMALL_BYTES);
        let deadline = Deadline::after(self.timeout);
        while let Some(bytes) = needed(&mut answer) {
            answer = match self.ask_with_room(gateway, request, bytes, deadline) {
                Ok(answer) => answer,
                Err(Denied::TimedOut) => {
                    let detail = "Too many large answers are on their way";
                    Answer::from(&Problem::unavailable(detail))
                }
                Err(Denied::Closed) => Answer::from(&Problem::shutting_down()),
            };
        }
        answer
    }

    /// Refuses every request that waits for room or is still to come.
    pub(crate) fn close(&self) {
        self.room.close();
        self.builders.close();
    }

    /// The room comes first: whoever waits for it must not keep a worker from others.
    fn ask_with_room(
        &self,
        gateway: &Gateway,
        request: &Request,
        bytes: usize,
        deadline: Deadline,
    ) -> Result<Answer, Denied> {
        let mut room = self.room.acquire(bytes, deadline.instant())?;
        let builder = self.builders.acquire(1, deadline.instant())?;
        let mut answer = gateway.exchange(request, bytes);
        drop(builder);
        room.resize(answer.body.len());
        answer.room = Some(room);
        Ok(answer)
    }
}

/// How much room the handler would need for its answer.
fn needed(answer: &mut Answer) -> Option<usize> {
    answer.take_header(ROOM_HEADER)?.parse().ok()
}
