//! The requests of a publishing connection that have no answer yet. No I/O.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Error;

/// The close code for a message that is too large.
const TOO_LARGE: u16 = 1009;

/// The requests without an answer.
#[derive(Debug, Default)]
pub(super) struct PendingAcks {
    sent: u64,
    /// By request: how many were sent before it, and the receiver of its answer.
    answers: HashMap<u64, (u64, Sender<Answer>)>,
    /// Why there will be no more answers.
    end: Option<Arc<Error>>,
}

/// The answer to a message, or why there is none.
#[derive(Debug)]
pub(super) enum Answer {
    Acked {
        seq: u64,
        ts: String,
        duplicate: bool,
    },
    Refused(Error),
    /// The server closed the connection because this message is too large.
    TooLarge,
    /// The connection ended before an answer.
    Lost(Arc<Error>),
    /// The server closed the connection because of an earlier message, and never read this one.
    NotProcessed(Arc<Error>),
    TimedOut,
}

impl PendingAcks {
    /// Registers a request; fails with the reason if there will be no answer.
    pub(super) fn register(&mut self, request: u64) -> Result<Receiver<Answer>, Arc<Error>> {
        if let Some(end) = &self.end {
            return Err(Arc::clone(end));
        }
        let (to, answer) = bounded(1);
        self.answers.insert(request, (self.sent, to));
        self.sent += 1;
        Ok(answer)
    }

    /// Removes a request; its answer goes to the returned channel.
    pub(super) fn take(&mut self, request: u64) -> Option<Sender<Answer>> {
        self.answers.remove(&request).map(|(_, to)| to)
    }

    pub(super) fn end_reason(&self) -> Option<&Error> {
        self.end.as_deref()
    }

    /// Ends if no ack is pending, so that no message can be lost.
    pub(super) fn end_if_idle(&mut self, end: impl FnOnce() -> Error) -> bool {
        let is_idle = self.answers.is_empty();
        if is_idle {
            self.end(end());
        }
        is_idle
    }

    /// Fails every pending ack. The server answers in order, so if a message was too large, it was the first without an
    /// answer, and the server has read none after it.
    pub(super) fn end(&mut self, end: Error) {
        if self.end.is_some() {
            return;
        }
        let end = Arc::new(end);
        let too_large = is_too_large(&end);
        let mut left: Vec<_> = self.answers.drain().map(|(_, entry)| entry).collect();
        left.sort_unstable_by_key(|(sent, _)| *sent);
        for (place, (_, to)) in left.into_iter().enumerate() {
            let answer = match (too_large, place) {
                (true, 0) => Answer::TooLarge,
                (true, _) => Answer::NotProcessed(Arc::clone(&end)),
                (false, _) => Answer::Lost(Arc::clone(&end)),
            };
            let _ = to.try_send(answer);
        }
        self.end = Some(end);
    }
}

fn is_too_large(end: &Error) -> bool {
    matches!(
        end,
        Error::Lost {
            close_code: Some(TOO_LARGE),
            ..
        }
    )
}
