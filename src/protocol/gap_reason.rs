//! Why a gap is there, and how that is named on the wire.

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    /// The subscriber read too slowly.
    SlowConsumer,
    /// The events have left the history.
    HistoryEvicted,
    /// The topic is another incarnation than the one the position was taken in.
    EpochChanged,
}

impl GapReason {
    /// The reason as it stands on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            GapReason::SlowConsumer => "slow_consumer",
            GapReason::HistoryEvicted => "history_evicted",
            GapReason::EpochChanged => "epoch_changed",
        }
    }
}
