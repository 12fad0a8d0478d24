//! Where a replay starts. Subscriptions and the history over REST use the same rule.

use super::log::Log;
use crate::protocol::{EventFrame, Gap, StartAt};

/// A position to read from, and the gap before it.
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
    pub(crate) seq: u64,
    /// The events missing at the start.
    pub(crate) gap: Option<Gap>,
    log: &'a Log,
    after: u64,
}

impl<'a> HistoryPage<'a> {
    pub(super) fn new(log: &'a Log, start: Start) -> HistoryPage<'a> {
        HistoryPage {
            seq: log.head(),
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

/// Finds the start of a replay in a log of the given epoch.
pub(super) fn find_start(
    log: &Log,
    current_epoch: &str,
    start_at: &StartAt,
) -> Result<Start, HistoryError> {
    let oldest = log.history_start() - 1;
    match start_at {
        StartAt::Last(n) => {
            let after = oldest.max(log.head().saturating_sub(*n));
            Ok(Start {
                after,
                gap: None,
                recovered: None,
            })
        }
        StartAt::After {
            epoch: Some(epoch), ..
        } if epoch != current_epoch => Ok(Start {
            after: oldest,
            gap: Some(Gap::epoch_changed()),
            recovered: Some(false),
        }),
        StartAt::After { seq, .. } if *seq > log.head() => Err(HistoryError::AheadOfTopic),
        StartAt::After { seq, .. } if *seq < oldest => {
            let gap = Gap::history_evicted(seq + 1, oldest);
            Ok(Start {
                after: oldest,
                gap: Some(gap),
                recovered: Some(false),
            })
        }
        StartAt::After { seq, .. } => Ok(Start {
            after: *seq,
            gap: None,
            recovered: Some(true),
        }),
    }
}
