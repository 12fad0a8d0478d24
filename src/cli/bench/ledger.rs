//! The books of one subscriber of one topic: every message once, in order, or told as a gap. Pure; the benchmarks
//! under `benches/` keep theirs with this file as well.

/// The numbers seen so far; messages are numbered from 1, as a topic numbers them.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    next: u64,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger { next: 1 }
    }

    /// Messages that this subscriber has received or been told about.
    pub(crate) fn accounted(&self) -> u64 {
        self.next - 1
    }

    /// Enters an event; fails when it is repeated or out of order, or one before it is missing.
    pub(crate) fn enter(&mut self, number: u64) -> Result<(), String> {
        if number != self.next {
            let what = if number < self.next {
                "repeated or late"
            } else {
                "after a hole"
            };
            return Err(format!("event {number} is {what}: {} was next", self.next));
        }
        self.next += 1;
        Ok(())
    }

    /// Enters a gap; fails when it is not about what was next. Returns how many events it is about.
    pub(crate) fn enter_gap(&mut self, from: u64, to: u64) -> Result<u64, String> {
        if from != self.next || to < from {
            return Err(format!(
                "a gap from {from} to {to} is out of place: {} was next",
                self.next
            ));
        }
        self.next = to + 1;
        Ok(to + 1 - from)
    }
}
