//! The history of one client on one topic, checked as it comes: only a position is kept.

/// Where a subscription was asked to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Live,
    LastN(u64),
    After(u64),
}

/// A subscription asked for.
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

/// The books of one client on one topic, over all its subscriptions. An `Err` is a violation; the account goes on
/// behind it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Received or told, up to here.
    pub(crate) position: u64,
    pub(crate) live: bool,
    pub(crate) asked: Option<Asked>,
    /// An unsubscribe is under way.
    pub(crate) leaving: bool,
    /// Whether it is to be subscribed when all is over.
    pub(crate) wanted: bool,
    /// A subscribe was still on its way when the client cut its connection. Done late, it takes over what came after.
    pub(crate) haunted: bool,
    /// A resume was told that something is missing; the gap must be the next thing.
    gap_due: bool,
}

impl Account {
    pub(crate) fn event(&mut self, seq: u64) -> Result<(), String> {
        self.in_place(seq, seq)
    }

    pub(crate) fn gap(&mut self, from: u64, to: u64, count: u64) -> Result<(), String> {
        self.gap_due = false;
        self.in_place(from, to)?;
        match (to + 1).checked_sub(from) {
            Some(events) if events == count && count > 0 => Ok(()),
            _ => Err(format!("the gap {from} to {to} counts {count}")),
        }
    }

    /// What covers `from` to `to` stands in the stream.
    fn in_place(&mut self, from: u64, to: u64) -> Result<(), String> {
        let expected = self.position + 1;
        self.position = to;
        if !self.live {
            return Err(format!("{from} came without a subscription"));
        }
        if std::mem::take(&mut self.gap_due) {
            return Err(format!("{from} came instead of the gap that was due"));
        }
        match from {
            _ if from == expected => Ok(()),
            _ if from > expected => Err(format!("{expected} to {} lost untold", from - 1)),
            _ => Err(format!("{from} doubled or reordered: {expected} was next")),
        }
    }

    /// The connection is gone, and with it the answers that have not come.
    pub(crate) fn disconnected(&mut self, cut_by_client: bool) {
        self.haunted |= cut_by_client && self.asked.is_some();
        self.live = false;
        self.leaving = false;
        self.gap_due = false;
        self.asked = None;
    }

    pub(crate) fn subscribed(&mut self, ack: SubscribeAck, history: u64) -> Result<(), String> {
        let Some(asked) = self.asked.take() else {
            return Err("a subscribe ack that was not asked for".to_owned());
        };
        let SubscribeAck { seq, recovered } = ack;
        let before = self.position;
        self.live = true;
        self.gap_due = recovered == Some(false);
        self.position = match asked.start {
            Start::Live => seq,
            Start::LastN(events) => seq - events.min(history).min(seq),
            Start::After(position) => position,
        };
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

    /// The subscription ended, and the server says that it sent or told everything up to `seq`.
    pub(crate) fn ended(&mut self, seq: u64) -> Result<(), String> {
        let was_live = std::mem::take(&mut self.live);
        if !was_live {
            return Err(format!("an end at {seq} without a subscription"));
        }
        if self.gap_due || seq != self.position {
            let position = self.position;
            return Err(format!("the end is said to be {seq}, but {position} is"));
        }
        Ok(())
    }
}
