//! What every message carries: its number in its topic, when it was sent, and padding.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A message that was sent before the clock counted.
pub(super) const UNTIMED: u64 = 0;

#[derive(Debug, Serialize)]
pub(super) struct Payload<'a> {
    n: u64,
    t: u64,
    pad: &'a str,
}

/// What a subscriber looks at.
#[derive(Debug, Deserialize)]
pub(super) struct Stamp {
    /// The number of the message in its topic.
    pub(super) n: u64,
    /// Nanoseconds of the run at which it was sent, or [`UNTIMED`].
    pub(super) t: u64,
}

/// Makes the payloads of a run. One clock for publisher and subscribers: they are threads of one process.
#[derive(Debug, Clone)]
pub(super) struct Press {
    clock: Instant,
    pad: String,
}

impl Press {
    pub(super) fn new(payload_bytes: usize) -> Press {
        // {"n":123456,"t":123456789012,"pad":""}
        let pad = "x".repeat(payload_bytes.saturating_sub(38));
        Press {
            clock: Instant::now(),
            pad,
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn timed(&self, number: u64) -> Payload<'_> {
        self.payload(number, self.now().max(UNTIMED + 1))
    }

    pub(super) fn untimed(&self, number: u64) -> Payload<'_> {
        self.payload(number, UNTIMED)
    }

    fn payload(&self, n: u64, t: u64) -> Payload<'_> {
        Payload {
            n,
            t,
            pad: &self.pad,
        }
    }
}
