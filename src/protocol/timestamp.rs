//! The `ts` of every frame: RFC 3339, UTC, microseconds, `Z`.

use std::fmt;

use jiff::fmt::temporal::DateTimePrinter;

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// A moment, shown as `2026-11-20T09:30:00.123456Z`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// How many bytes a shown timestamp has.
    pub(crate) const LEN: usize = "2026-11-20T09:30:00.123456Z".len();

    /// The current moment of the system clock.
    pub(crate) fn now() -> Timestamp {
        Timestamp(jiff::Timestamp::now())
    }

    /// Appends the text to `out`.
    pub(crate) fn push_to(self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = PRINTER.print_timestamp(&self.0, out);
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PRINTER.timestamp_to_string(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_second_still_shows_six_digits() {
        let ts = Timestamp(jiff::Timestamp::from_second(1_800_000_000).unwrap());
        assert_eq!(ts.to_string(), "2027-01-15T08:00:00.000000Z");
        let mut out = Vec::new();
        Timestamp::now().push_to(&mut out);
        assert_eq!(out.len(), Timestamp::LEN);
    }
}
