//! Strict parsing of JSON objects: every key at most once, values as the original bytes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The known fields of an object, in the order of the given names, and the error, if any.
///
/// Fields that were read before the error are kept; after a repeated key, later fields too.
#[derive(Debug)]
pub(crate) struct StrictObject<'a, const N: usize> {
    pub(crate) fields: [Option<&'a RawValue>; N],
    pub(crate) error: Option<ObjectError>,
}

/// Why a text is not a strict object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ObjectError {
    NotJson,
    NotAnObject,
    Twice(String),
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectError::NotJson => f.write_str("not valid JSON"),
            ObjectError::NotAnObject => f.write_str("not a JSON object"),
            ObjectError::Twice(name) => write!(f, "field '{name}' appears twice"),
        }
    }
}

impl<'a, const N: usize> StrictObject<'a, N> {
    /// Parses `text` and keeps the fields in `names`. Other fields must be valid JSON and are dropped.
    pub(crate) fn parse(text: &'a str, names: &[&'static str; N]) -> StrictObject<'a, N> {
        let mut object = StrictObject {
            fields: [None; N],
            error: None,
        };
        let mut twice = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let visitor = ObjectVisitor {
            names,
            fields: &mut object.fields,
            twice: &mut twice,
        };
        let read = reader.deserialize_map(visitor).and_then(|()| reader.end());
        object.error = match read {
            Err(error) if error.is_data() => Some(ObjectError::NotAnObject),
            Err(_) => Some(ObjectError::NotJson),
            Ok(()) => twice.map(ObjectError::Twice),
        };
        object
    }
}

struct ObjectVisitor<'o, 'a, const N: usize> {
    names: &'o [&'static str; N],
    fields: &'o mut [Option<&'a RawValue>; N],
    twice: &'o mut Option<String>,
}

impl<'a, const N: usize> Visitor<'a> for ObjectVisitor<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut repeated = [false; N];
        let mut others = HashSet::new();
        while let Some(key) = map.next_key_seed(KeySeed(self.names))? {
            match key {
                Key::Known(at) => {
                    let value = map.next_value()?;
                    if self.fields[at].is_some() || repeated[at] {
                        // Which of the two is meant is unknown, so neither is used.
                        repeated[at] = true;
                        self.fields[at] = None;
                        *self.twice = Some(self.names[at].to_owned());
                    } else {
                        self.fields[at] = Some(value);
                    }
                }
                Key::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if let Some(name) = others.replace(name) {
                        *self.twice = Some(name.chars().take(64).collect());
                    }
                }
            }
        }
        Ok(())
    }
}

enum Key<'a> {
    Known(usize),
    Other(Cow<'a, str>),
}

struct KeySeed<'o, const N: usize>(&'o [&'static str; N]);

impl<const N: usize> KeySeed<'_, N> {
    fn index(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|name| *name == key)
    }
}

impl<'a, const N: usize> DeserializeSeed<'a> for KeySeed<'_, N> {
    type Value = Key<'a>;

    fn deserialize<D: Deserializer<'a>>(self, key: D) -> Result<Key<'a>, D::Error> {
        key.deserialize_str(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for KeySeed<'_, N> {
    type Value = Key<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Key<'a>, E> {
        Ok(self
            .index(key)
            .map_or_else(|| Key::Other(key.to_owned().into()), Key::Known))
    }

    fn visit_borrowed_str<E: de::Error>(self, key: &'a str) -> Result<Key<'a>, E> {
        Ok(self.index(key).map_or(Key::Other(key.into()), Key::Known))
    }
}

/// The string a value is, or `None` for any other kind of value.
pub(crate) fn as_string(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

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

/// Deserializes a struct from named fields only. Without this wrapper serde also accepts an array with the values in the order of
/// declaration.
pub(crate) struct NamedFields<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NamedFields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedFieldsVisitor(PhantomData))
    }
}

struct NamedFieldsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedFieldsVisitor<T> {
    type Value = NamedFields<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("named fields")
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<NamedFields<T>, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(NamedFields)
    }
}

/// Whether the value is `null`.
pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Whether JSON text is nested deeper than `levels` brackets. The text must be valid.
pub(crate) fn nested_deeper_than(levels: usize, json: &str) -> bool {
    if json.len() <= 2 * levels {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 2] = ["a", "b"];

    fn texts<'a>(object: &StrictObject<'a, 2>) -> [Option<&'a str>; 2] {
        object.fields.map(|field| field.map(RawValue::get))
    }

    #[test]
    fn values_are_the_original_bytes() {
        let object = StrictObject::parse(
            r#" {"x":{},"b": [1,  2e999, "\ud800"] ,"\u0061":null} "#,
            &NAMES,
        );
        assert_eq!(object.error, None);
        assert_eq!(
            texts(&object),
            [Some("null"), Some(r#"[1,  2e999, "\ud800"]"#)]
        );
    }

    #[test]
    fn fields_before_a_syntax_error_are_kept() {
        let object = StrictObject::parse(r#"{"a":1,"b"#, &NAMES);
        assert_eq!(
            (texts(&object), object.error),
            ([Some("1"), None], Some(ObjectError::NotJson))
        );
    }

    #[test]
    fn repeated_key_is_an_error_and_later_fields_are_kept() {
        let object = StrictObject::parse(r#"{"a":1,"a":1,"a":2,"b":3}"#, &NAMES);
        assert_eq!(
            (texts(&object), object.error),
            ([None, Some("3")], Some(ObjectError::Twice("a".into())))
        );
        let object = StrictObject::parse(r#"{"x":1,"\u0078":2}"#, &NAMES);
        assert_eq!(object.error, Some(ObjectError::Twice("x".into())));
    }

    #[test]
    fn values_other_than_objects_are_refused() {
        for text in ["1", "[]", "\"a\"", "null", "true"] {
            assert_eq!(
                StrictObject::parse(text, &NAMES).error,
                Some(ObjectError::NotAnObject),
                "{text}"
            );
        }
        for text in ["", "{", "{}x", "{'a':1}", "{\"a\":01}", "nul"] {
            assert_eq!(
                StrictObject::parse(text, &NAMES).error,
                Some(ObjectError::NotJson),
                "{text}"
            );
        }
    }

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

    fn nested(levels: usize) -> String {
        format!(
            "{}\"]\\\"[{{\"{}",
            "[{\"k\":".repeat(levels / 2),
            "}]".repeat(levels / 2)
        )
    }

    #[test]
    fn brackets_in_strings_do_not_count_as_nesting() {
        assert!(!nested_deeper_than(128, &nested(128)));
        assert!(nested_deeper_than(128, &nested(130)));
        assert!(!nested_deeper_than(
            128,
            &format!("\"{}\"", "[".repeat(1000))
        ));
        assert!(nested_deeper_than(
            128,
            &format!("{}{}", "[".repeat(129), "]".repeat(129))
        ));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]{}\":,ab\\\\0-9 \u{e9}]{0,40}") {
            let _ = StrictObject::parse(&text, &NAMES);
            let _ = nested_deeper_than(3, &text);
        }
    }
}
