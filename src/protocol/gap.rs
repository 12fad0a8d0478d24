//! A gap: what a subscription was not sent, told in its place in the stream.

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::GapReason;

/// A range of events that will not come, or (after a change of epoch) an unknown one.
///
/// Serializes as `{"from_seq":41,"to_seq":90,"count":50,"reason":"history_evicted"}`, without the numbers when unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// First and last missing `seq`.
    pub(crate) range: Option<(u64, u64)>,
    /// Why.
    pub(crate) reason: GapReason,
}

impl Gap {
    pub(crate) fn slow_consumer(from_seq: u64, to_seq: u64) -> Gap {
        Gap {
            range: Some((from_seq, to_seq)),
            reason: GapReason::SlowConsumer,
        }
    }

    pub(crate) fn history_evicted(from_seq: u64, to_seq: u64) -> Gap {
        Gap {
            range: Some((from_seq, to_seq)),
            reason: GapReason::HistoryEvicted,
        }
    }

    pub(crate) fn epoch_changed() -> Gap {
        Gap {
            range: None,
            reason: GapReason::EpochChanged,
        }
    }

    /// How many events are missing; 0 when unknown.
    pub(crate) fn count(&self) -> u64 {
        self.range.map_or(0, |(from, to)| to - from + 1)
    }
}

impl Serialize for Gap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut gap = serializer.serialize_struct("Gap", 4)?;
        if let Some((from, to)) = self.range {
            gap.serialize_field("from_seq", &from)?;
            gap.serialize_field("to_seq", &to)?;
            gap.serialize_field("count", &self.count())?;
        }
        gap.serialize_field("reason", self.reason.as_str())?;
        gap.end()
    }
}
