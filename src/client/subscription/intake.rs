//! Handles the frames of the server: finds their topic, and checks that they are valid in its phase.

mod of_pattern;
mod of_topics;

use tungstenite::Utf8Bytes;

use super::{Followed, Ready, Subscription};
use crate::client::Error;
use crate::client::phase::Phase;
use crate::client::position::Position;
use crate::client::reconnect::RetryState;
use crate::client::wire::{self, Frame, NewEpoch};

impl Subscription {
    /// Handles one text of the server. While the subscription opens, every refusal is an error; later some are retried. A
    /// temporary error means that the connection is of no use.
    pub(super) fn handle(&mut self, text: &Utf8Bytes, is_opening: bool) -> Result<(), Error> {
        let frame = wire::parse(text)?;
        if let Frame::Refused {
            request_id,
            code,
            message,
        } = &frame
        {
            self.note_answer();
            let Some(index) = self.requested(request_id)? else {
                return Ok(());
            };
            let error = Error::refused(code, message);
            if is_opening && !self.settings.waits_for_topic(&error) {
                return Err(error);
            }
            return self.on_refused(index, error);
        }
        match self.followed {
            Followed::Topics(_) => self.handle_of_topics(frame, text),
            Followed::Pattern(_) => self.handle_of_pattern(frame, text),
        }
    }

    /// The index of the subscribe that this answers; `None` if the caller has unsubscribed.
    fn requested(&self, request_id: &str) -> Result<Option<usize>, Error> {
        let index = request_id.split('.').next();
        let index = index.and_then(|index| index.parse().ok());
        match index.and_then(|index| self.followed.phases().nth(index)) {
            Some(Phase::Unsubscribed) => Ok(None),
            Some(phase) if phase.is_subscribing() => Ok(index),
            _ => Err(Error::protocol("an answer without a request")),
        }
    }

    /// The server refused to subscribe after a reconnect. Retries, on this connection or on one to another server, or ends the
    /// topic.
    fn on_refused(&mut self, index: usize, error: Error) -> Result<(), Error> {
        let is_retryable = error.is_temporary() || error.code() == Some("TOPIC_NOT_FOUND");
        let waits = self.settings.waits_for_topic(&error);
        if waits && let Followed::Topics(topics) = &mut self.followed {
            topics[index].cursor.begin_with_the_topic();
        }
        let Some(phase) = self.followed.phases_mut().nth(index) else {
            return Ok(());
        };
        let mut retry = phase.attempts().unwrap_or_else(RetryState::new);
        let reconnect = &self.settings.reconnect;
        if waits || (is_retryable && reconnect.allows_attempt(retry.since.elapsed())) {
            let again = retry.next(self.settings.backoff, 1);
            *phase = Phase::Missing { retry, again };
            if error.is_temporary() && self.is_of_no_use() {
                return Err(error);
            }
        } else {
            *phase = Phase::Ended;
            self.ready.push_back(Ready::Failed(error));
        }
        Ok(())
    }

    /// Whether another server may serve the topics, while this one serves none.
    fn is_of_no_use(&self) -> bool {
        let is_served = |phase: &Phase| matches!(phase, Phase::Live | Phase::Subscribing { .. });
        self.settings.addresses.count() > 1 && !self.followed.phases().any(is_served)
    }
}

impl From<NewEpoch<'_>> for Position {
    fn from(next: NewEpoch<'_>) -> Position {
        Position {
            seq: next.seq,
            epoch: next.epoch.into(),
        }
    }
}
