//! The log of one topic: bounded, append-only, numbered from 1 without holes.
//!
//! It is the history and every subscriber's queue at once. Pure: no lock, no clock, no I/O.

use std::collections::VecDeque;

use crate::protocol::EventFrame;

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogBounds {
    /// Events a replay may reach back.
    pub(super) history_size: usize,
    /// Events a subscription may lag behind.
    pub(super) max_queue_size: usize,
    /// Bytes of all retained events. The newest event is kept even if it alone is larger.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<EventFrame>,
    head: u64,
    bytes: usize,
    bounds: LogBounds,
}

impl Log {
    pub(super) fn new(bounds: LogBounds) -> Log {
        Log {
            events: VecDeque::new(),
            head: 0,
            bytes: 0,
            bounds,
        }
    }

    /// The newest seq ever appended, 0 before the first.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The oldest retained seq; one past the head when nothing is retained.
    pub(super) fn first_seq(&self) -> u64 {
        self.head + 1 - self.events.len() as u64
    }

    /// Bytes of the retained events.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the event numbered `head + 1` and evicts what is over the bounds, but nothing behind `evictable`.
    pub(super) fn append(&mut self, event: EventFrame, evictable: u64) {
        self.head += 1;
        self.bytes += event.bytes().len();
        self.events.push_back(event);
        let retained = self.bounds.history_size.max(self.bounds.max_queue_size);
        while self.events.len() > retained
            || (self.bytes > self.bounds.bytes && self.events.len() > 1)
        {
            if !self.evict_oldest(evictable) {
                break;
            }
        }
    }

    /// Drops the oldest event; `false` when there is none, or the oldest is behind `evictable`.
    pub(super) fn evict_oldest(&mut self, evictable: u64) -> bool {
        if self.first_seq() > evictable {
            return false;
        }
        let Some(oldest) = self.events.pop_front() else {
            return false;
        };
        self.bytes -= oldest.bytes().len();
        true
    }

    /// Bytes of the retained events behind a position.
    pub(super) fn bytes_after(&self, seq: u64) -> usize {
        self.after(seq).map(|event| event.bytes().len()).sum()
    }

    /// The newest seq that appending an event of this many bytes would evict for the byte bound; 0 if none.
    pub(super) fn eviction_horizon(&self, incoming_bytes: usize) -> u64 {
        let mut bytes = self.bytes + incoming_bytes;
        let mut horizon = 0;
        for (seq, event) in (self.first_seq()..).zip(&self.events) {
            if bytes <= self.bounds.bytes {
                break;
            }
            bytes -= event.bytes().len();
            horizon = seq;
        }
        horizon
    }

    /// The oldest seq a replay may start with; one past the head when there is no history.
    pub(super) fn history_start(&self) -> u64 {
        let within_size = (self.head + 1).saturating_sub(self.bounds.history_size as u64);
        // Events that may not be evicted yet, or a newest one that is alone, may be over the bound: they are delivered,
        // but no history.
        self.first_seq()
            .max(self.eviction_horizon(0) + 1)
            .max(within_size)
    }

    /// The retained events behind a position, oldest first.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = &EventFrame> {
        let skipped = (seq + 1).saturating_sub(self.first_seq()) as usize;
        self.events.range(skipped.min(self.events.len())..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Timestamp, TopicName, encode_event};
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn event(seq: u64, pad: usize) -> EventFrame {
        let payload: Box<RawValue> =
            serde_json::from_str(&format!("\"{}\"", "x".repeat(pad))).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        encode_event(
            &TopicName::new("t").unwrap(),
            &message,
            seq,
            Timestamp::now(),
        )
    }

    #[test]
    fn an_event_over_the_byte_bound_is_kept_until_the_next_but_is_no_history() {
        let mut log = Log::new(LogBounds {
            history_size: 5,
            max_queue_size: 5,
            bytes: 10,
        });
        log.append(event(1, 0), u64::MAX);
        assert_eq!((log.first_seq(), log.history_start()), (1, 2));
        log.append(event(2, 0), u64::MAX);
        assert_eq!(
            (log.first_seq(), log.history_start(), log.after(0).count()),
            (2, 3, 1)
        );
    }

    proptest! {
        /// Against a model that keeps everything and computes each answer from the definition.
        #[test]
        fn the_log_keeps_the_newest_within_its_bounds(
            history_size in 0usize..6, max_queue_size in 1usize..6, bytes in 0usize..1200,
            pads in proptest::collection::vec(0usize..400, 0..20), evictions in 0usize..3,
        ) {
            let mut log = Log::new(LogBounds { history_size, max_queue_size, bytes });
            let mut model: Vec<usize> = Vec::new();
            for (i, pad) in pads.iter().enumerate() {
                let frame = event(i as u64 + 1, *pad);
                let size = frame.bytes().len();
                let horizon = log.eviction_horizon(size);
                log.append(frame, u64::MAX);
                prop_assert!(log.first_seq() > horizon.min(i as u64));
                model.push(size);
                let kept = model.len() + 1 - log.first_seq() as usize;
                let kept_bytes: usize = model.iter().rev().take(kept).sum();
                prop_assert!(kept <= history_size.max(max_queue_size));
                prop_assert!(kept == 1 || kept_bytes <= bytes);
                prop_assert_eq!(log.bytes(), kept_bytes);
            }
            for _ in 0..evictions { log.evict_oldest(u64::MAX); }
            prop_assert_eq!(log.head(), pads.len() as u64);
            let in_history = log.head() + 1 - log.history_start();
            prop_assert!(in_history as usize <= history_size);
            for after in 0..=log.head() {
                let expected = log.head() - after.max(log.first_seq() - 1);
                prop_assert_eq!(log.after(after).count() as u64, expected);
            }
        }
    }
}
