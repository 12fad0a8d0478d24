//! Strict parsing of objects: every key at most once, values as the original bytes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
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

impl ObjectError {
    fn of(error: &serde_json::Error) -> ObjectError {
        match error.is_data() {
            true => ObjectError::NotAnObject,
            false => ObjectError::NotJson,
        }
    }

    /// With as much of the name as an error message may have.
    fn twice(name: &str) -> ObjectError {
        ObjectError::Twice(name.chars().take(64).collect())
    }
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
            Err(error) => Some(ObjectError::of(&error)),
            Ok(()) => twice,
        };
        object
    }
}

/// All fields of an object, in their order.
///
/// # Errors
/// If the text is no object, or has a field twice.
pub(crate) fn all_fields(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, ObjectError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader
        .deserialize_map(AllFieldsVisitor)
        .and_then(|fields| reader.end().map(|()| fields));
    let fields = read.map_err(|error| ObjectError::of(&error))?;
    let mut names = HashSet::new();
    match fields.iter().find(|(name, _)| !names.insert(&**name)) {
        Some((name, _)) => Err(ObjectError::twice(name)),
        None => Ok(fields),
    }
}

struct AllFieldsVisitor;

impl<'a> Visitor<'a> for AllFieldsVisitor {
    type Value = Vec<(Cow<'a, str>, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::new();
        while let Some(Key::Other(name)) = map.next_key_seed(KeySeed(&[]))? {
            fields.push((name, map.next_value()?));
        }
        Ok(fields)
    }
}

struct ObjectVisitor<'o, 'a, const N: usize> {
    names: &'o [&'static str; N],
    fields: &'o mut [Option<&'a RawValue>; N],
    twice: &'o mut Option<ObjectError>,
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
                        *self.twice = Some(ObjectError::twice(self.names[at]));
                    } else {
                        self.fields[at] = Some(value);
                    }
                }
                Key::Other(name) => {
                    map.next_value::<IgnoredAny>()?;
                    if let Some(name) = others.replace(name) {
                        *self.twice = Some(ObjectError::twice(&name));
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
    fn all_fields_are_read_in_their_order() {
        let fields = all_fields(r#"{"b":1,"\u0061":{"x":2}}"#).unwrap();
        let texts: Vec<_> = fields
            .iter()
            .map(|(name, value)| (&**name, value.get()))
            .collect();
        assert_eq!(texts, [("b", "1"), ("a", r#"{"x":2}"#)]);
        for (text, error) in [
            (r#"{"a":1,"\u0061":2}"#, ObjectError::Twice("a".into())),
            ("[]", ObjectError::NotAnObject),
            ("{} {}", ObjectError::NotJson),
            ("{", ObjectError::NotJson),
        ] {
            assert_eq!(all_fields(text).unwrap_err(), error, "{text}");
        }
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

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]{}\":,ab\\\\0-9 \u{e9}]{0,40}") {
            let _ = StrictObject::parse(&text, &NAMES);
        }
    }
}
