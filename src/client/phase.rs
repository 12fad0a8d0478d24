//! How far the subscribe of a topic or a pattern is.

use std::time::Instant;

use super::reconnect::RetryState;

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

impl Phase {
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Phase::Ended | Phase::Unsubscribed)
    }

    pub(super) fn is_subscribing(&self) -> bool {
        matches!(self, Phase::Subscribing { .. })
    }

    /// Whether a subscribe must be sent now.
    pub(super) fn is_due(&self) -> bool {
        match self {
            Phase::Idle => true,
            Phase::Missing { again, .. } => *again <= Instant::now(),
            _ => false,
        }
    }

    /// When to subscribe again, or to stop waiting for the answer.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Phase::Missing { again, .. } => Some(*again),
            Phase::Subscribing { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Whether the answer to the subscribe is overdue.
    pub(super) fn is_overdue(&self) -> bool {
        matches!(self, Phase::Subscribing { until, .. } if *until <= Instant::now())
    }

    /// The subscribe was sent. Keeps the count of attempts until there is an answer.
    pub(super) fn on_subscribe_sent(&mut self, until: Instant) {
        let missing = self.attempts();
        *self = Phase::Subscribing { until, missing };
    }

    /// The attempts to subscribe, while the topic is missing.
    pub(super) fn attempts(&self) -> Option<RetryState> {
        match self {
            Phase::Missing { retry, .. } => Some(*retry),
            Phase::Subscribing { missing, .. } => *missing,
            _ => None,
        }
    }

    /// The connection was lost.
    pub(super) fn on_disconnect(&mut self) {
        match self {
            Phase::Subscribing {
                missing: Some(retry),
                ..
            } => {
                *self = Phase::Missing {
                    retry: *retry,
                    again: Instant::now(),
                };
            }
            Phase::Subscribing { .. } | Phase::Live => *self = Phase::Idle,
            Phase::Missing { again, .. } => *again = Instant::now(),
            Phase::Idle | Phase::Ended | Phase::Unsubscribed => {}
        }
    }
}
