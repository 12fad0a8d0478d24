//! A gap in a subscription: which events are missing, and why.

use std::fmt;
use std::sync::Arc;

use crate::protocol;

/// A range of events that a subscription does not receive, delivered in their place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    topic: Arc<str>,
    range: Option<(u64, u64)>,
    reason: GapReason,
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// This subscriber read too slowly, and the topic's policy is `drop_oldest`.
    SlowConsumer,
    /// The events were evicted from the history before they could be sent.
    HistoryEvicted,
    /// The position is from another epoch, because the server was restarted, the topic created again, or the Redis of a
    /// cluster has lost events. How many events are missing is unknown. After a reconnect everything in the history follows;
    /// on an open connection the next event does, and the position is already in the new epoch.
    EpochChanged,
    /// A reason that this version of the client does not know.
    Unknown,
}

impl Gap {
    pub(super) fn new(topic: &str, range: Option<(u64, u64)>, reason: GapReason) -> Gap {
        Gap {
            topic: topic.into(),
            range,
            reason,
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// First and last missing `seq`; `None` if unknown.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// How many events are missing; `None` if unknown.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.range.map(|(from, to)| (to - from).saturating_add(1))
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> GapReason {
        self.reason
    }
}

impl GapReason {
    /// The reasons and their names on the wire.
    const NAMES: [(GapReason, protocol::GapReason); 3] = [
        (GapReason::SlowConsumer, protocol::GapReason::SlowConsumer),
        (
            GapReason::HistoryEvicted,
            protocol::GapReason::HistoryEvicted,
        ),
        (GapReason::EpochChanged, protocol::GapReason::EpochChanged),
    ];

    pub(super) fn from_name(name: &str) -> GapReason {
        let reason = GapReason::NAMES
            .into_iter()
            .find(|(_, on_wire)| on_wire.as_str() == name);
        reason.map_or(GapReason::Unknown, |(reason, _)| reason)
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let name = GapReason::NAMES
            .into_iter()
            .find(|(reason, _)| *reason == self);
        name.map_or("unknown", |(_, on_wire)| on_wire.as_str())
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            Some((from, to)) => write!(f, "events {from} to {to} were missed ({})", self.reason),
            None => write!(f, "events were missed ({})", self.reason),
        }
    }
}
