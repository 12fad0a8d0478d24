//! One topic of a subscription: where it stands, and whether it is asked for, followed, missing or over.

use std::sync::Arc;
use std::time::Instant;

use super::Error;
use super::position::{Cursor, Placed, Position, Start};
use super::reconnect::Recovery;
use super::wire::{Ack, Subscribe, Unsubscribe};

#[derive(Debug)]
pub(super) struct Followed {
    pub(super) name: Arc<str>,
    pub(super) cursor: Cursor,
    /// What the caller has; behind the cursor by what waits to be handed out.
    pub(super) given: Option<Position>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Not asked for on this connection.
    Idle,
    /// Asked for, not answered: until then the connection is good.
    Asked {
        until: Instant,
        /// The attempts before this one, if it was missing.
        missing: Option<Recovery>,
    },
    /// Acknowledged.
    Live,
    /// Not there, which may pass: the server was started again, and whoever creates the topic is yet to come.
    Missing { recovery: Recovery, again: Instant },
    /// For good.
    Over,
    /// For good, by the caller's wish: what the server still says of it is passed over.
    Left,
}

impl Followed {
    pub(super) fn new(name: &str, start: Start) -> Followed {
        Followed {
            name: name.into(),
            cursor: Cursor::Fresh(start),
            given: None,
            phase: Phase::Idle,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over | Phase::Left)
    }

    /// Whether it is to be asked for now.
    pub(super) fn is_due(&self) -> bool {
        match self.phase {
            Phase::Idle => true,
            Phase::Missing { again, .. } => again <= Instant::now(),
            _ => false,
        }
    }

    /// When there is something to be done about it: to ask for it, or to stop waiting for the answer.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Missing { again, .. } => Some(again),
            Phase::Asked { until, .. } => Some(until),
            _ => None,
        }
    }

    /// It was asked for, and the answer is overdue.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.phase, Phase::Asked { until, .. } if until <= Instant::now())
    }

    /// It is asked for now. Attempts go on being counted, until there is an answer.
    pub(super) fn ask(&mut self, until: Instant) {
        let missing = self.attempts();
        self.phase = Phase::Asked { until, missing };
    }

    /// The attempts to find it, while it is missing.
    pub(super) fn attempts(&self) -> Option<Recovery> {
        match self.phase {
            Phase::Missing { recovery, .. } => Some(recovery),
            Phase::Asked { missing, .. } => missing,
            _ => None,
        }
    }

    /// The text that asks for it.
    pub(super) fn request(&self, client_id: &str, request_id: &str) -> Result<String, Error> {
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

    /// The caller leaves it; `true` if the server may have been asked for it, and should know.
    pub(super) fn leave(&mut self) -> bool {
        !matches!(std::mem::replace(&mut self.phase, Phase::Left), Phase::Idle)
    }

    /// The text that tells the server so.
    pub(super) fn farewell(&self, client_id: &str) -> Result<String, Error> {
        serde_json::to_string(&Unsubscribe {
            r#type: "unsubscribe",
            topic: &self.name,
            client_id,
        })
        .map_err(Error::Payload)
    }

    pub(super) fn on_ack(&mut self, ack: &Ack<'_>) -> Result<(), Error> {
        let Some(epoch) = ack.epoch.as_deref() else {
            return Err(Error::protocol("an ack of a subscribe without an epoch"));
        };
        self.cursor.on_ack(&Placed {
            seq: ack.seq,
            epoch,
            recovered: ack.recovered,
        })?;
        self.phase = Phase::Live;
        if self.given.is_none() {
            self.given = self.cursor.position();
        }
        Ok(())
    }

    /// The connection is gone.
    pub(super) fn disconnect(&mut self) {
        match &mut self.phase {
            Phase::Asked {
                missing: Some(recovery),
                ..
            } => {
                self.phase = Phase::Missing {
                    recovery: *recovery,
                    again: Instant::now(),
                };
            }
            Phase::Asked { .. } | Phase::Live => self.phase = Phase::Idle,
            Phase::Missing { again, .. } => *again = Instant::now(),
            Phase::Idle | Phase::Over | Phase::Left => {}
        }
    }
}
