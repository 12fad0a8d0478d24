//! Where a replay starts: one rule for subscriptions and for reading the history over REST.

use super::log::Log;
use crate::protocol::{EventFrame, Gap, StartAt};

/// A position to read on from, and what is missing before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) after: u64,
    pub(super) gap: Option<Gap>,
    /// Whether a position was given that could be resumed without a gap; `None` when none was given.
    pub(super) recovered: Option<bool>,
}

/// The part of a topic's history that was asked for, seen in its log.
#[derive(Debug)]
pub(crate) struct HistoryPage<'a> {
    pub(crate) seq: u64,
    /// What is missing at the start.
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

    /// The JSON text of each event, as on the WebSocket.
    pub(crate) fn events(&self) -> impl Iterator<Item = &'a str> {
        self.log.after(self.after).map(EventFrame::json)
    }

    /// At least as many bytes as all events have, with a separator for each.
    pub(crate) fn max_bytes(&self) -> usize {
        self.log.bytes_after(self.after)
    }
}

/// Why a history cannot be read.
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
