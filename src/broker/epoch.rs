//! The epochs of a topic. Pure: no lock, no clock, no I/O.
//!
//! In the broker an event has a *position* in its topic's log, which only grows. Its seq counts from the beginning of its
//! epoch. A topic of an embedded server has one epoch for life, and each position is a seq. In a cluster a topic may begin
//! another epoch while it has subscribers: positions continue, and seqs start again.

use std::collections::VecDeque;

use crate::protocol::EpochName;

/// The most epochs that are kept: the current one and those that slow subscribers may still read.
const MAX_EPOCHS: usize = 8;

/// The epochs of one topic, oldest first; never empty.
#[derive(Debug)]
pub(super) struct Epochs {
    older: VecDeque<Epoch>,
    current: Epoch,
}

#[derive(Debug, Clone)]
pub(super) struct Epoch {
    name: EpochName,
    /// The position before its first event.
    pub(super) start: u64,
    mark: EpochMark,
}

/// Which epoch, and how its positions become seqs. Plain data for a cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EpochMark {
    number: u32,
    /// Position minus seq; wraps around, because the seq may be larger.
    offset: u64,
}

impl EpochMark {
    pub(super) fn seq(self, position: u64) -> u64 {
        position.wrapping_sub(self.offset)
    }

    pub(super) fn position(self, seq: u64) -> u64 {
        seq.wrapping_add(self.offset)
    }
}

impl Epoch {
    fn new(name: EpochName, number: u32, start: u64, seq: u64) -> Epoch {
        Epoch {
            name,
            start,
            mark: EpochMark {
                number,
                offset: start.wrapping_sub(seq),
            },
        }
    }

    /// An opaque text that identifies this incarnation of the topic.
    pub(super) fn name(&self) -> EpochName {
        self.name
    }

    pub(super) fn mark(&self) -> EpochMark {
        self.mark
    }

    pub(super) fn seq(&self, position: u64) -> u64 {
        self.mark.seq(position)
    }

    pub(super) fn position(&self, seq: u64) -> u64 {
        self.mark.position(seq)
    }
}

impl Epochs {
    /// The first epoch: positions are seqs.
    pub(super) fn new(name: EpochName) -> Epochs {
        Epochs {
            older: VecDeque::new(),
            current: Epoch::new(name, 0, 0, 0),
        }
    }

    pub(super) fn current(&self) -> &Epoch {
        &self.current
    }

    /// Begins an epoch after this position, whose next event has the seq after this one.
    pub(super) fn begin(&mut self, name: EpochName, position: u64, seq: u64) {
        let next = Epoch::new(name, self.current.mark.number + 1, position, seq);
        let ended = std::mem::replace(&mut self.current, next);
        self.older.push_back(ended);
        if self.older.len() >= MAX_EPOCHS {
            self.older.pop_front();
        }
    }

    /// The name of an epoch; `None` if it is not kept any more.
    pub(super) fn name_of(&self, mark: EpochMark) -> Option<EpochName> {
        if mark.number == self.current.mark.number {
            return Some(self.current.name);
        }
        let mut older = self.older.iter();
        let found = older.find(|epoch| epoch.mark.number == mark.number)?;
        Some(found.name)
    }

    /// The name of an epoch; that of the current one if it is not kept any more.
    pub(super) fn name_or_current(&self, mark: EpochMark) -> EpochName {
        self.name_of(mark).unwrap_or(self.current.name)
    }

    /// The oldest kept epoch that is newer than this one.
    pub(super) fn after(&self, mark: EpochMark) -> Option<&Epoch> {
        if mark.number == self.current.mark.number {
            return None;
        }
        let mut kept = self.older.iter().chain([&self.current]);
        kept.find(|epoch| epoch.mark.number > mark.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> EpochName {
        EpochName::parse(&format!("{number:016x}")).unwrap()
    }

    #[test]
    fn seqs_begin_anew_while_positions_continue() {
        let mut epochs = Epochs::new(name(0xa));
        let first = epochs.current().mark();
        assert_eq!((first.seq(7), first.position(7)), (7, 7));
        epochs.begin(name(0xb), 7, 0);
        let second = epochs.current().mark();
        assert_eq!((second.seq(8), second.position(1)), (1, 8));
        epochs.begin(name(0xc), 9, 500);
        let third = epochs.current().mark();
        assert_eq!((third.seq(10), third.position(501)), (501, 10));
        let next = epochs.after(first).unwrap();
        assert_eq!((next.name(), next.start), (name(0xb), 7));
        assert_eq!(epochs.after(second).unwrap().name(), name(0xc));
        assert_eq!(epochs.name_of(second), Some(name(0xb)));
        assert_eq!(epochs.name_of(third), Some(name(0xc)));
        assert!(epochs.after(third).is_none());
    }

    #[test]
    fn few_epochs_are_kept_and_a_mark_before_them_finds_the_oldest() {
        let mut epochs = Epochs::new(name(0));
        let first = epochs.current().mark();
        for n in 1..20 {
            epochs.begin(name(n), n, 0);
        }
        assert_eq!(epochs.after(first).unwrap().name(), name(12));
        assert_eq!(epochs.name_of(first), None);
        assert_eq!(epochs.current().name(), name(19));
    }
}
