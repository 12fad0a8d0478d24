//! What publishing a batch gives: the numbers of its messages, what Redis remembers of them, or an error.

use ::redis::Value;

use crate::broker::Topic;
use crate::broker::engine::redis::connection::lane;
use crate::protocol::EpochName;
use crate::sync::Arc;

/// The numbers of a batch.
#[derive(Clone)]
pub(crate) struct Receipt {
    pub(crate) epoch: EpochName,
    pub(crate) first: u64,
    /// No event is earlier than this, in microseconds since 1970.
    pub(crate) earliest: u64,
    /// The mirror on this node, which must be fanned out.
    pub(crate) mirror: Option<Arc<Topic>>,
    /// The mirror must read the stream first.
    pub(crate) is_late: bool,
    /// The number of each message, if some of them were not published again.
    pub(super) numbers: Vec<Number>,
}

/// The event that a message became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) epoch: EpochName,
    pub(crate) seq: u64,
    /// Its time, in microseconds since 1970.
    pub(crate) micros: u64,
    /// Whether it is an earlier event, of a message that was not published again.
    pub(crate) is_duplicate: bool,
}

impl Receipt {
    /// Of a batch of which everything was published before.
    pub(super) fn of_nothing(epoch: EpochName) -> Receipt {
        Receipt {
            epoch,
            first: 0,
            earliest: 0,
            mirror: None,
            is_late: false,
            numbers: Vec::new(),
        }
    }

    /// What a message of the batch became: the one with this number, from 0, which arrived at this time.
    pub(crate) fn number(&self, event: u64, micros: u64) -> Number {
        let known = self.numbers.get(event as usize).copied();
        known.unwrap_or_else(|| Number {
            epoch: self.epoch,
            seq: self.first + event,
            micros: self.earliest.max(micros),
            is_duplicate: false,
        })
    }
}

/// Why a batch was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchError {
    NotFound,
    /// The topic does not exist, and there are as many topics as there may be.
    LimitReached,
    /// It may have been taken or not.
    Unavailable,
    /// The same, because the connection broke before the answer.
    Unanswered,
}

/// What Redis remembers of a batch, of which it has then published nothing.
pub(super) struct Remembered {
    pub(super) epoch: EpochName,
    /// How many messages come before each, and what it became.
    pub(super) numbers: Vec<(u64, Number)>,
}

impl Remembered {
    /// `None` if this is another answer.
    pub(super) fn of(answer: &Value) -> Option<Remembered> {
        let Value::Array(values) = answer else {
            return None;
        };
        let [kind, epoch, rest @ ..] = &values[..] else {
            return None;
        };
        if lane::text(kind) != "remembered" {
            return None;
        }
        let epoch = EpochName::parse(&lane::text(epoch))?;
        let number = |value: &Value| {
            let text = lane::text(value);
            let mut words = text.split(' ').map(|word| word.parse().ok());
            let event = words.next()??;
            let number = Number {
                epoch,
                seq: words.next()??,
                micros: words.next()??,
                is_duplicate: true,
            };
            Some((event, number))
        };
        let numbers = rest.iter().map(number).collect::<Option<_>>()?;
        Some(Remembered { epoch, numbers })
    }
}
