//! Checks what one client is sent of one topic, over all its subscriptions.

use threadcast::load::SequenceChecker;

/// Where a subscription was asked to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Live,
    LastN(u64),
    After(u64),
}

/// A subscribe request without an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) start: Start,
    /// The newest seq acked to any publisher before it was asked: the ack must not be older.
    pub(crate) newest_acked: u64,
}

/// What the ack of a subscribe says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubscribeAck {
    pub(crate) seq: u64,
    pub(crate) recovered: Option<bool>,
}

/// One client on one topic. An `Err` is a violation; the check goes on behind it.
#[derive(Debug, Default)]
pub(crate) struct TopicCheck {
    sequence: SequenceChecker,
    pub(crate) live: bool,
    pub(crate) asked: Option<Asked>,
    /// An unsubscribe request has no answer yet.
    pub(crate) leaving: bool,
    /// Whether it is to be subscribed at the end.
    pub(crate) wanted: bool,
    /// The client cut its connection before a subscribe request was answered. Handled late, the request takes over a newer
    /// subscription.
    pub(crate) stale_subscribe: bool,
    /// The answer to a resume said that events are missing: the gap must come next.
    gap_due: bool,
}

impl TopicCheck {
    /// The last seq that was received or reported as a gap.
    pub(crate) fn position(&self) -> u64 {
        self.sequence.position()
    }

    pub(crate) fn event(&mut self, seq: u64) -> Result<(), String> {
        let checked = self.sequence.event(seq);
        self.check(seq, checked)
    }

    pub(crate) fn gap(&mut self, from: u64, to: u64, count: u64) -> Result<(), String> {
        self.gap_due = false;
        let checked = self.sequence.gap(from, to, count);
        self.check(from, checked)
    }

    /// `from` is the first seq of what came.
    fn check(&mut self, from: u64, checked: Result<(), String>) -> Result<(), String> {
        if !self.live {
            return Err(format!("{from} came without a subscription"));
        }
        if std::mem::take(&mut self.gap_due) {
            return Err(format!("{from} came instead of the gap that was due"));
        }
        checked
    }

    /// The connection has ended, and with it the wait for answers.
    pub(crate) fn disconnected(&mut self, cut_by_client: bool) {
        self.stale_subscribe |= cut_by_client && self.asked.is_some();
        self.live = false;
        self.leaving = false;
        self.gap_due = false;
        self.asked = None;
    }

    pub(crate) fn subscribed(&mut self, ack: SubscribeAck, history: u64) -> Result<(), String> {
        let Some(asked) = self.asked.take() else {
            return Err("a subscribe ack without a request".to_owned());
        };
        let SubscribeAck { seq, recovered } = ack;
        let before = self.position();
        self.live = true;
        self.gap_due = recovered == Some(false);
        self.sequence = SequenceChecker::after(match asked.start {
            Start::Live => seq,
            Start::LastN(events) => seq - events.min(history).min(seq),
            Start::After(position) => position,
        });
        if recovered.is_some() != matches!(asked.start, Start::After(_)) {
            return Err(format!(
                "{asked:?} was answered with recovered {recovered:?}"
            ));
        }
        if seq < before || seq < asked.newest_acked {
            return Err(format!("{asked:?} was answered with {seq} behind {before}"));
        }
        Ok(())
    }

    /// The subscription has ended; the server says that it sent or reported everything up to `seq`.
    pub(crate) fn ended(&mut self, seq: u64) -> Result<(), String> {
        let was_live = std::mem::take(&mut self.live);
        if !was_live {
            return Err(format!("an end at {seq} without a subscription"));
        }
        let position = self.position();
        if self.gap_due || seq != position {
            return Err(format!("the end is said to be {seq}, but {position} is"));
        }
        Ok(())
    }
}
