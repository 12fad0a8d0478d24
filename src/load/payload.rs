//! The payload of every message of a measurement: a JSON string of its number, the time of sending, and padding.

use data_encoding::HEXLOWER;

/// Hex digits of one number.
const DIGITS: usize = 16;

/// Number and time of sending of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The number of the message, counted from 1.
    pub number: u64,
    /// When it was sent, by the clock of the load generator.
    pub sent_nanos: u64,
}

impl Stamp {
    /// Reads the stamp at the start of a payload, without the quotation mark.
    pub fn read(text: &[u8]) -> Option<Stamp> {
        let (number, rest) = text.split_first_chunk::<DIGITS>()?;
        let sent_nanos = rest.first_chunk::<DIGITS>()?;
        Some(Stamp {
            number: decode(number)?,
            sent_nanos: decode(sent_nanos)?,
        })
    }
}

fn decode(digits: &[u8; DIGITS]) -> Option<u64> {
    let mut bytes = [0; DIGITS / 2];
    HEXLOWER.decode_mut(digits, &mut bytes).ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// Writes payloads of one size.
#[derive(Debug, Clone)]
pub struct PayloadTemplate {
    text: Vec<u8>,
}

impl PayloadTemplate {
    /// For payloads of this many bytes, the quotation marks included; a stamp takes 34.
    pub fn new(payload_bytes: usize) -> PayloadTemplate {
        let length = payload_bytes.saturating_sub(2).max(2 * DIGITS);
        PayloadTemplate {
            text: vec![b'x'; length],
        }
    }

    /// The payload with this stamp, without quotation marks: it needs no escaping.
    pub fn stamped(&mut self, stamp: Stamp) -> &str {
        let (number, rest) = self.text.split_at_mut(DIGITS);
        HEXLOWER.encode_mut(&stamp.number.to_be_bytes(), number);
        HEXLOWER.encode_mut(&stamp.sent_nanos.to_be_bytes(), &mut rest[..DIGITS]);
        // Digits and padding are ASCII.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        number: 0x0123_4567_89ab_cdef,
        sent_nanos: u64::MAX,
    };

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let mut template = PayloadTemplate::new(128);
        let text = template.stamped(STAMP);
        assert_eq!(text.len(), 126);
        assert_eq!(Stamp::read(text.as_bytes()), Some(STAMP));
    }

    #[test]
    fn a_payload_has_room_for_its_stamp_whatever_its_size() {
        let mut template = PayloadTemplate::new(0);
        let text = template.stamped(STAMP);
        assert_eq!(text.len(), 32);
        assert_eq!(Stamp::read(text.as_bytes()), Some(STAMP));
    }

    #[test]
    fn a_foreign_payload_has_no_stamp() {
        for text in ["", "0123456789abcdef", "0123456789abcdefghijklmnopqrstuv"] {
            assert_eq!(Stamp::read(text.as_bytes()), None, "{text}");
        }
    }
}
