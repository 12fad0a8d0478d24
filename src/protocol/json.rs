//! Values of JSON: what kind a value is, and how deeply it is nested. Objects and numbers have a file each.

mod number;
mod object;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use number::as_whole_number;
pub(crate) use object::{StrictObject, all_fields};

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

/// The boolean a value is, or `None` for any other kind of value.
pub(crate) fn as_bool(value: &RawValue) -> Option<bool> {
    match value.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
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
        fn counting_never_panics(text in "[\\[\\]{}\":,ab\\\\0-9 \u{e9}]{0,40}") {
            let _ = nested_deeper_than(3, &text);
        }
    }
}
