//! Numbers with a unit: bytes and seconds.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Allowed, digits};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(in crate::cli) struct Bytes(pub(in crate::cli) usize);

impl From<Bytes> for usize {
    fn from(bytes: Bytes) -> usize {
        bytes.0
    }
}

/// The units, largest first. Only the binary ones: `k` and `KB` mean a thousand to some.
const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: u32| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(|(_, shift)| whole(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

pub(super) fn parse_bytes(text: &str) -> Option<Bytes> {
    let lower = text.to_ascii_lowercase();
    let in_unit = |(unit, shift): &(&str, u32)| {
        Some((
            lower.strip_suffix(&unit.to_ascii_lowercase())?.trim_end(),
            *shift,
        ))
    };
    let (number, shift) = UNITS.iter().find_map(in_unit).unwrap_or((&lower, 0));
    digits::<usize>(number)?.checked_mul(1 << shift).map(Bytes)
}

pub(in crate::cli) fn bytes(range: RangeInclusive<usize>) -> Allowed<Bytes> {
    let (start, end) = (Bytes(*range.start()), Bytes(*range.end()));
    let phrase = format!("bytes from {start} to {end}, as a whole number or with KiB, MiB or GiB");
    Allowed::new(phrase, move |text| {
        parse_bytes(text).filter(|bytes| range.contains(&bytes.0))
    })
}

/// A time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(in crate::cli) struct Seconds(pub(in crate::cli) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Duration {
        seconds.0
    }
}

/// `10`, `0.25`: exact, where a float would not be; nanoseconds at most.
pub(super) fn parse_seconds(text: &str) -> Option<Seconds> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let places = u32::try_from(fraction.len()).ok()?;
    let nanos =
        digits::<u32>(fraction)?.checked_mul(10_u32.checked_pow(9_u32.checked_sub(places)?)?)?;
    Some(Seconds(Duration::new(digits(whole)?, nanos)))
}

/// How long something is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(in crate::cli) struct Ttl(pub(in crate::cli) Duration);

/// `3600`, `90s`, `30m`, `1h`, `7d`.
pub(super) fn parse_ttl(text: &str) -> Option<Ttl> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let in_unit = |(unit, secs): &(char, u64)| Some((text.strip_suffix(*unit)?, *secs));
    let (number, secs) = units.iter().find_map(in_unit).unwrap_or((text, 1));
    let secs = digits::<u64>(number)?.checked_mul(secs)?;
    Some(Ttl(Duration::from_secs(secs)))
}

pub(in crate::cli) fn ttl(range: RangeInclusive<Duration>) -> Allowed<Ttl> {
    let days = range.end().as_secs() / 86_400;
    let phrase = format!("a time up to {days} days, such as 90s, 30m, 1h or 7d");
    Allowed::new(phrase, move |text| {
        parse_ttl(text).filter(|ttl| range.contains(&ttl.0))
    })
}

pub(in crate::cli) fn seconds(range: RangeInclusive<Duration>) -> Allowed<Seconds> {
    let (start, end) = (Seconds(*range.start()), Seconds(*range.end()));
    let phrase = format!("seconds from {start} to {end}, decimals allowed");
    Allowed::new(phrase, move |text| {
        parse_seconds(text).filter(|time| range.contains(&time.0))
    })
}
