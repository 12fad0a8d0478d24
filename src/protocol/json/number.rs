//! Whole numbers in any notation that JSON has for them.

use serde_json::value::RawValue;

/// The whole number ≥ 0 a value is; one too large for 64 bits is the largest. `None` for any other kind of value.
///
/// JSON has only one kind of number, so the notation does not matter: `1.0` and `10e-1` are 1.
pub(crate) fn as_whole_number(value: &RawValue) -> Option<u64> {
    let text = value.get();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    is_number.then(|| general_number(text)).flatten()
}

/// [`as_whole_number`] for a number with a sign, a fraction or an exponent.
fn general_number(number: &str) -> Option<u64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{behind}", before.trim_start_matches('-'));
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    if number.starts_with('-') {
        return None;
    }
    // An exponent that overflows i64 is larger or smaller than any that matters.
    let overflow = if exponent.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    let exponent = exponent.parse().unwrap_or(overflow);
    let dropped = digits.len() - significant.len();
    let scale = exponent
        .saturating_add(dropped as i64)
        .saturating_sub(behind.len() as i64);
    let zeros = usize::try_from(scale).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.len().saturating_add(zeros) > u64::MAX.ilog10() as usize + 1 {
        return Some(u64::MAX);
    }
    let whole = format!("{significant}{}", "0".repeat(zeros));
    Some(whole.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_in_any_notation() {
        let number = |text: &str| {
            as_whole_number(
                serde_json::from_str::<Box<RawValue>>(text)
                    .unwrap()
                    .as_ref(),
            )
        };
        assert_eq!(number("0"), Some(0));
        for text in ["99999999999999999999999", "2e19", "1e99999999999999999999"] {
            assert_eq!(number(text), Some(u64::MAX), "{text}");
        }
        for (text, expected) in [
            ("1.0", 1),
            ("0.0", 0),
            ("-0", 0),
            ("-0.00e5", 0),
            ("0e-99999999999999999999", 0),
            ("371592.0", 371_592),
            ("1e3", 1000),
            ("1E+3", 1000),
            ("1.50e1", 15),
            ("0.015e3", 15),
            ("1000e-2", 10),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("18446744073709551615e0", u64::MAX),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in [
            "-1",
            "-1.0",
            "1.5",
            "0.1",
            "15e-1",
            "1e-1",
            "1e-99999999999999999999",
            "\"1\"",
            "\"1.0\"",
            "true",
            "false",
            "null",
            "[1]",
            "{}",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
