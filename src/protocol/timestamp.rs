//! The `ts` of every frame: RFC 3339, UTC, with microseconds and `Z`.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, Serializer};

/// A point in time, as the text `2026-11-20T09:30:00.123456Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp {
    text: [u8; Timestamp::LEN],
    /// The same time in microseconds since 1970.
    micros: u64,
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: u64 = 719_468;

/// The text of a whole second, up to the point before the fraction.
type Second = [u8; "2026-11-20T09:30:00.".len()];

thread_local! {
    /// The text of the last second that this thread formatted: formatting a date costs more than a lookup.
    static LAST_SECOND: Cell<(u64, Second)> = const { Cell::new((0, *b"1970-01-01T00:00:00.")) };
}

impl Timestamp {
    /// Length of the text in bytes.
    pub(crate) const LEN: usize = "2026-11-20T09:30:00.123456Z".len();

    /// The earliest timestamp.
    pub(crate) const EARLIEST: Timestamp = Timestamp {
        text: *b"1970-01-01T00:00:00.000000Z",
        micros: 0,
    };

    /// The time of the system clock.
    pub(crate) fn now() -> Timestamp {
        Timestamp::of(since_epoch())
    }

    /// The time of the system clock, in microseconds since 1970.
    pub(crate) fn now_micros() -> u64 {
        as_micros(since_epoch())
    }

    /// The time that is this many microseconds after 1970 began.
    pub(crate) fn from_micros(micros: u64) -> Timestamp {
        Timestamp::of(Duration::from_micros(micros))
    }

    /// In microseconds since 1970.
    pub(crate) fn micros(self) -> u64 {
        self.micros
    }

    fn of(since_epoch: Duration) -> Timestamp {
        let mut text = [b'Z'; Timestamp::LEN];
        let (second, fraction) = text.split_at_mut(size_of::<Second>());
        second.copy_from_slice(&second_text(since_epoch.as_secs()));
        let mut micros = since_epoch.subsec_micros();
        for digit in fraction[..6].iter_mut().rev() {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        Timestamp {
            text,
            micros: as_micros(since_epoch),
        }
    }

    /// Parses a text of this form to microseconds since 1970.
    pub(crate) fn read_micros(text: &[u8; Timestamp::LEN]) -> u64 {
        let number = |from: usize, digits: usize| {
            let digits = text[from..from + digits].iter();
            digits.fold(0, |number, digit| number * 10 + u64::from(digit & 0xF))
        };
        let days = days_since_epoch(number(0, 4), number(5, 2), number(8, 2));
        let seconds = ((days * 24 + number(11, 2)) * 60 + number(14, 2)) * 60 + number(17, 2);
        seconds * 1_000_000 + number(20, 6)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

/// A clock before 1970 counts as 1970.
fn since_epoch() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Whole microseconds.
pub(crate) fn as_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Years are counted from March, so that the leap day is the last day of a year.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days.saturating_sub(DAYS_TO_EPOCH)
}

fn second_text(second: u64) -> Second {
    let (last, text) = LAST_SECOND.get();
    if last == second {
        return text;
    }
    let mut text = text;
    let time = i64::try_from(second)
        .ok()
        .and_then(|second| jiff::Timestamp::from_second(second).ok());
    let formatted = time.unwrap_or(jiff::Timestamp::MAX).to_string();
    text[..19].copy_from_slice(&formatted.as_bytes()[..19]);
    LAST_SECOND.set((second, text));
    text
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_second_is_formatted_with_six_digits() {
        let ts = Timestamp::of(Duration::from_secs(1_800_000_000));
        assert_eq!(format!("{ts:?}"), "2027-01-15T08:00:00.000000Z");
    }

    proptest! {
        #[test]
        fn text_is_the_time_and_reads_back(secs in 0u64..250_000_000_000, micros in 0u32..1_000_000) {
            let text = format!("{:?}", Timestamp::of(Duration::new(secs, micros * 1000)));
            let read: jiff::Timestamp = text.parse().unwrap();
            let expected = secs * 1_000_000 + u64::from(micros);
            prop_assert_eq!(read.as_microsecond(), i64::try_from(expected).unwrap());
            prop_assert_eq!(Timestamp::read_micros(text.as_bytes().try_into().unwrap()), expected);
            prop_assert_eq!(Timestamp::of(Duration::new(secs, micros * 1000)).micros(), expected);
        }
    }
}
