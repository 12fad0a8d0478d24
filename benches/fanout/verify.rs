//! From the frames of one subscriber to its ledger. A frame that breaks the order ends the run.

use serde_json::Value;

use super::Failure;
use super::ledger::Ledger;
use super::template::{BETWEEN, DIGITS, MARK, read_hex};

/// What one frame brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An event, and when its message was sent.
    Event { sent_nanos: u64 },
    /// So many events were dropped, and told.
    Gap { events: u64 },
}

/// The ledger of one subscriber, and where its frames have their numbers.
#[derive(Debug)]
pub(crate) struct Reading {
    ledger: Ledger,
    mark_at: usize,
}

impl Reading {
    pub(crate) fn new() -> Reading {
        Reading {
            ledger: Ledger::new(),
            mark_at: 0,
        }
    }

    /// Messages that this subscriber has received or been told about.
    pub(crate) fn accounted(&self) -> u64 {
        self.ledger.accounted()
    }

    /// Enters one frame; fails when an event is missing, repeated or out of order.
    pub(crate) fn enter(&mut self, frame: &[u8]) -> Result<Entry, Failure> {
        let Some((sent_nanos, number)) = self.event(frame) else {
            return self.enter_gap(frame);
        };
        self.ledger.enter(number)?;
        Ok(Entry::Event { sent_nanos })
    }

    /// Time and number of an event; the place of the mark is the same in all events of a topic.
    fn event(&mut self, frame: &[u8]) -> Option<(u64, u64)> {
        if !frame.get(self.mark_at..)?.starts_with(MARK) {
            self.mark_at = frame.windows(MARK.len()).position(|bytes| bytes == MARK)?;
        }
        let (sent, rest) = frame[self.mark_at + MARK.len()..].split_at_checked(DIGITS)?;
        let number = rest.strip_prefix(BETWEEN)?.get(..DIGITS)?;
        Some((read_hex(sent)?, read_hex(number)?))
    }

    fn enter_gap(&mut self, frame: &[u8]) -> Result<Entry, Failure> {
        let unexpected = || format!("unexpected frame: {}", String::from_utf8_lossy(frame));
        let notice: Value = serde_json::from_slice(frame)?;
        let gap = &notice["gap"];
        let (Some(from), Some(to)) = (gap["from_seq"].as_u64(), gap["to_seq"].as_u64()) else {
            return Err(unexpected().into());
        };
        let events = self.ledger.enter_gap(from, to)?;
        if gap["count"] != events {
            return Err(unexpected().into());
        }
        Ok(Entry::Gap { events })
    }
}
