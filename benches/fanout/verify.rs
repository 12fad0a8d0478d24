//! From the frames of one subscriber to its ledgers. A frame that breaks the order ends the run.

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

/// The ledgers of one subscriber, and where its frames have their numbers.
///
/// The publishers take turns, from message 1: only what one of them sends has an order.
#[derive(Debug)]
pub(crate) struct Reading {
    /// One for each publisher, which counts its messages from 1.
    ledgers: Vec<Ledger>,
    mark_at: usize,
}

impl Reading {
    pub(crate) fn of(publishers: usize) -> Reading {
        Reading {
            ledgers: (0..publishers).map(|_| Ledger::new()).collect(),
            mark_at: 0,
        }
    }

    /// The newest message up to which this subscriber has received, or been told about, all.
    pub(crate) fn accounted(&self) -> u64 {
        let publishers = self.ledgers.len() as u64;
        let missing = (1..).zip(&self.ledgers);
        let missing = missing.map(|(first, ledger)| first + ledger.accounted() * publishers);
        missing.min().unwrap_or(1) - 1
    }

    /// Enters one frame; fails when an event is missing, repeated or out of order.
    pub(crate) fn enter(&mut self, frame: &[u8]) -> Result<Entry, Failure> {
        let Some((sent_nanos, number)) = self.event(frame) else {
            return self.enter_gap(frame);
        };
        let before = number.checked_sub(1).ok_or("a message without a number")?;
        let publishers = self.ledgers.len() as u64;
        let publisher = (before % publishers) as usize;
        self.ledgers[publisher].enter(before / publishers + 1)?;
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
        // The numbers of a topic are those of its messages where one publisher sends them all.
        let [ledger] = &mut self.ledgers[..] else {
            return Err(unexpected().into());
        };
        let events = ledger.enter_gap(from, to)?;
        if gap["count"] != events {
            return Err(unexpected().into());
        }
        Ok(Entry::Gap { events })
    }
}
