//! One topic of a subscription: its position and its phase.

use std::sync::Arc;

use super::Error;
use super::phase::Phase;
use super::position::{Cursor, Position, Start, StartAck};
use super::wire::{Ack, Subscribe, SubscriberFields, Unsubscribe};

#[derive(Debug, Clone)]
pub(super) struct FollowedTopic {
    pub(super) name: Arc<str>,
    pub(super) cursor: Cursor,
    /// The position after the last delivery that the caller has received. Behind `cursor` by the deliveries in the queue.
    pub(super) delivered: Option<Position>,
    pub(super) phase: Phase,
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

    /// The text of the subscribe request.
    pub(super) fn subscribe_request(
        &self,
        subscriber: SubscriberFields<'_>,
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
            subscriber,
            last_n,
            after_seq,
            epoch,
            positions: None,
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
}
