//! The payload of every event: when it was sent and which one it is, in hex, and padding. One JSON string, so that it goes
//! through all servers as it is.

/// Bytes of a payload, quotes included.
pub(crate) const PAYLOAD_BYTES: usize = 128;

/// Time of sending and number of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) sent_nanos: u64,
    pub(crate) number: u64,
}

impl Stamp {
    pub(crate) fn payload(self) -> Vec<u8> {
        let Stamp { sent_nanos, number } = self;
        let stamp = format!("\"{sent_nanos:016x}{number:016x}");
        format!("{stamp:x<width$}\"", width = PAYLOAD_BYTES - 1).into_bytes()
    }

    pub(crate) fn of(payload: &[u8]) -> Option<Stamp> {
        let hex = |at: usize| {
            let digits = std::str::from_utf8(payload.get(at..at + 16)?).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        Some(Stamp {
            sent_nanos: hex(1)?,
            number: hex(17)?,
        })
    }
}
