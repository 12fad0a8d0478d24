//! Where a replay starts. Subscriptions and the history over REST use the same rule.

use super::epoch::Epoch;
use super::log::Log;
use crate::protocol::{EpochName, EventFrame, Gap, StartAt};

/// A position to read after, and the gap before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) after: u64,
    pub(super) gap: Option<Gap>,
    /// Whether the requested position could be resumed without a gap; `None` if none was requested.
    pub(super) recovered: Option<bool>,
}

/// The requested part of a topic's history, borrowed from its log.
#[derive(Debug)]
pub(crate) struct HistoryPage<'a> {
    pub(crate) epoch: EpochName,
    /// The newest seq.
    pub(crate) seq: u64,
    /// The events missing at the start.
    pub(crate) gap: Option<Gap>,
    log: &'a Log,
    after: u64,
}

impl<'a> HistoryPage<'a> {
    pub(super) fn new(log: &'a Log, epoch: &'a Epoch, start: Start) -> HistoryPage<'a> {
        HistoryPage {
            epoch: epoch.name(),
            seq: epoch.seq(log.head()),
            gap: start.gap,
            log,
            after: start.after,
        }
    }

    /// The JSON text of each event, the same as on the WebSocket.
    pub(crate) fn events(&self) -> impl Iterator<Item = &'a str> {
        self.log.after(self.after).map(EventFrame::json)
    }

    /// An upper bound for the size of all events with a separator after each.
    pub(crate) fn max_bytes(&self) -> usize {
        self.log.bytes_after(self.after)
    }
}

/// Why the history cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryError {
    /// The position is ahead of the newest event.
    AheadOfTopic,
}

/// What a position ahead of the newest event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    IsRefused,
    /// As a position of another epoch.
    IsForeign,
}

/// Finds the start of a replay in a log whose current epoch this is. Everything up to `expired` has left the history by age.
pub(super) fn find_start(
    expired: u64,
    log: &Log,
    current: &Epoch,
    start_at: &StartAt,
    ahead: Ahead,
) -> Result<Start, HistoryError> {
    let oldest = (log.history_start() - 1).max(current.start).max(expired);
    let foreign = Start {
        after: oldest,
        gap: Some(Gap::epoch_changed()),
        recovered: Some(false),
    };
    match start_at {
        StartAt::Last(n) => {
            let after = oldest.max(log.head().saturating_sub(*n));
            Ok(Start {
                after,
                gap: None,
                recovered: None,
            })
        }
        // What subscriptions may still read counts, also where the topic has no history.
        StartAt::First => {
            let after = (log.first_seq() - 1).max(current.start);
            let missing = current.seq(after);
            Ok(Start {
                after,
                gap: (missing > 0).then(|| Gap::history_evicted(1, missing)),
                recovered: None,
            })
        }
        StartAt::After {
            epoch: Some(epoch), ..
        } if epoch != current.name().as_str() => Ok(foreign),
        StartAt::After { seq, epoch } if *seq > current.seq(log.head()) => match ahead {
            Ahead::IsForeign if epoch.is_some() => Ok(foreign),
            _ => Err(HistoryError::AheadOfTopic),
        },
        StartAt::After { seq, .. } if *seq < current.seq(oldest) => {
            let gap = Gap::history_evicted(seq + 1, current.seq(oldest));
            Ok(Start {
                after: oldest,
                gap: Some(gap),
                recovered: Some(false),
            })
        }
        StartAt::After { seq, .. } => Ok(Start {
            after: current.position(*seq),
            gap: None,
            recovered: Some(true),
        }),
    }
}
