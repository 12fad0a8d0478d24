//! A gap: a range of events that a subscription does not get, sent in their place.

#[cfg(feature = "server")]
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    /// The subscriber read too slowly.
    SlowConsumer,
    /// The events were evicted from the history.
    HistoryEvicted,
    /// The position is from another epoch of the topic.
    EpochChanged,
}

impl GapReason {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            GapReason::SlowConsumer => "slow_consumer",
            GapReason::HistoryEvicted => "history_evicted",
            GapReason::EpochChanged => "epoch_changed",
        }
    }
}

/// A range of missing events; after a change of epoch the range is unknown.
///
/// Serializes as `{"from_seq":41,"to_seq":90,"count":50,"reason":"history_evicted"}`, without the numbers if unknown.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// First and last missing `seq`.
    pub(crate) range: Option<(u64, u64)>,
    /// Why.
    pub(crate) reason: GapReason,
}

#[cfg(feature = "server")]
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

    /// How many events are missing; 0 if unknown.
    pub(crate) fn count(&self) -> u64 {
        self.range.map_or(0, |(from, to)| to - from + 1)
    }
}

#[cfg(feature = "server")]
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
