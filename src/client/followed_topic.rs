//! One topic of a subscription: its position and its phase.

use std::sync::Arc;
use std::time::Instant;

use super::Error;
use super::position::{Cursor, Position, Start, StartAck};
use super::reconnect::RetryState;
use super::wire::{Ack, Subscribe, Unsubscribe};

#[derive(Debug, Clone)]
pub(super) struct FollowedTopic {
    pub(super) name: Arc<str>,
    pub(super) cursor: Cursor,
    /// The position after the last delivery that the caller has received. Behind `cursor` by the deliveries in the queue.
    pub(super) delivered: Option<Position>,
    pub(super) phase: Phase,
}

#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// No subscribe was sent on this connection.
    Idle,
    /// The subscribe is not answered yet. After `until` the connection counts as lost.
    Subscribing {
        until: Instant,
        /// The attempts before this one, if the topic was missing.
        missing: Option<RetryState>,
    },
    /// The subscribe was acknowledged.
    Live,
    /// The topic does not exist. Retried, since after a restart of the server the topic may be created again.
    Missing { retry: RetryState, again: Instant },
    /// Ended by the server.
    Ended,
    /// Unsubscribed by the caller. Further frames of the topic are ignored.
    Unsubscribed,
}

impl FollowedTopic {
    pub(super) fn new(name: &str, start: Start) -> FollowedTopic {
        FollowedTopic {
            name: name.into(),
            cursor: Cursor::Fresh(start),
            delivered: None,
            phase: Phase::Idle,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Unsubscribed)
    }

    /// Whether a subscribe must be sent now.
    pub(super) fn is_due(&self) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Missing { again, .. } => again <= Instant::now(),
            _ => false,
        }
    }

    /// When to subscribe again, or to stop waiting for the answer.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Missing { again, .. } => Some(again),
            Phase::Subscribing { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Whether the answer to the subscribe is overdue.
    pub(super) fn is_overdue(&self) -> bool {
        matches!(self.phase, Phase::Subscribing { until, .. } if until <= Instant::now())
    }

    /// The subscribe was sent. Keeps the count of attempts until there is an answer.
    pub(super) fn on_subscribe_sent(&mut self, until: Instant) {
        let missing = self.attempts();
        self.phase = Phase::Subscribing { until, missing };
    }

    /// The attempts to subscribe, while the topic is missing.
    pub(super) fn attempts(&self) -> Option<RetryState> {
        match self.phase {
            Phase::Missing { retry, .. } => Some(retry),
            Phase::Subscribing { missing, .. } => missing,
            _ => None,
        }
    }

    /// The text of the subscribe request.
    pub(super) fn subscribe_request(
        &self,
        client_id: &str,
        request_id: &str,
    ) -> Result<String, Error> {
        let start = self.cursor.start();
        let (last_n, after_seq, epoch) = match &start {
            Start::Now => (None, None, None),
            Start::Last(n) => (Some(*n), None, None),
            Start::After { seq, epoch } => (None, Some(*seq), epoch.as_deref()),
        };
        serde_json::to_string(&Subscribe {
            r#type: "subscribe",
            topic: &self.name,
            client_id,
            last_n,
            after_seq,
            epoch,
            request_id,
        })
        .map_err(Error::Payload)
    }

    /// Unsubscribes. `true` if a subscribe may have been sent, so that an unsubscribe must be sent.
    pub(super) fn unsubscribe(&mut self) -> bool {
        !matches!(
            std::mem::replace(&mut self.phase, Phase::Unsubscribed),
            Phase::Idle
        )
    }

    /// The text of the unsubscribe request.
    pub(super) fn unsubscribe_request(&self, client_id: &str) -> Result<String, Error> {
        serde_json::to_string(&Unsubscribe {
            r#type: "unsubscribe",
            topic: &self.name,
            client_id,
        })
        .map_err(Error::Payload)
    }

    pub(super) fn on_ack(&mut self, ack: &Ack<'_>) -> Result<(), Error> {
        let Some(epoch) = ack.epoch.as_deref() else {
            return Err(Error::protocol("the ack of a subscribe has no epoch"));
        };
        self.cursor.on_ack(&StartAck {
            seq: ack.seq,
            epoch,
            recovered: ack.recovered,
        })?;
        self.phase = Phase::Live;
        if self.delivered.is_none() {
            self.delivered = self.cursor.position();
        }
        Ok(())
    }

    /// The connection was lost.
    pub(super) fn on_disconnect(&mut self) {
        match &mut self.phase {
            Phase::Subscribing {
                missing: Some(retry),
                ..
            } => {
                self.phase = Phase::Missing {
                    retry: *retry,
                    again: Instant::now(),
                };
            }
            Phase::Subscribing { .. } | Phase::Live => self.phase = Phase::Idle,
            Phase::Missing { again, .. } => *again = Instant::now(),
            Phase::Idle | Phase::Ended | Phase::Unsubscribed => {}
        }
    }
}
