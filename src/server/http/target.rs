//! Splits paths and queries, then percent-decodes the parts, exactly once.
//!
//! Pure. A broken escape, or bytes that are not UTF-8, are an error.

use std::fmt;

use super::problem::Problem;

/// Why a path or query could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MalformedTarget {
    Escape,
    Utf8,
}

impl fmt::Display for MalformedTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            MalformedTarget::Escape => "The target has a broken percent-encoding",
            MalformedTarget::Utf8 => "The target is not UTF-8",
        })
    }
}

impl From<MalformedTarget> for Problem {
    fn from(malformed: MalformedTarget) -> Problem {
        Problem::bad_request(malformed.to_string())
    }
}

/// The decoded segments of a raw path: `/` has none, `/topics/a%2Fb` has `topics` and `a/b`.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, MalformedTarget> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/')
        .map(|segment| decode(segment.bytes()))
        .collect()
}

/// The decoded pairs of a raw query, in order. `+` is a space, as in HTML forms.
pub(crate) fn query_pairs(query: &str) -> Result<Vec<(String, String)>, MalformedTarget> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode_form(name)?, decode_form(value)?))
        })
        .collect()
}

/// Decodes a text in which `+` is itself.
pub(crate) fn decode_text(text: &str) -> Result<String, MalformedTarget> {
    decode(text.bytes())
}

fn decode_form(text: &str) -> Result<String, MalformedTarget> {
    decode(
        text.bytes()
            .map(|byte| if byte == b'+' { b' ' } else { byte }),
    )
}

fn decode(mut bytes: impl Iterator<Item = u8>) -> Result<String, MalformedTarget> {
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => decode_escape(bytes.next(), bytes.next())?,
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| MalformedTarget::Utf8)
}

fn decode_escape(high: Option<u8>, low: Option<u8>) -> Result<u8, MalformedTarget> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(high), digit(low)) else {
        return Err(MalformedTarget::Escape);
    };
    u8::try_from(high * 16 + low).map_err(|_| MalformedTarget::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    #[test]
    fn a_path_is_split_before_it_is_decoded() {
        assert_eq!(segments("/").unwrap(), Vec::<String>::new());
        assert_eq!(segments("/topics/a%2Fb").unwrap(), ["topics", "a/b"]);
        assert_eq!(segments("/topics/").unwrap(), ["topics", ""]);
        assert_eq!(segments("//x").unwrap(), ["", "x"]);
    }

    #[test]
    fn decoding_happens_exactly_once() {
        assert_eq!(segments("/%2541").unwrap(), ["%41"]);
        assert_eq!(
            query_pairs("a=%252B").unwrap(),
            [("a".into(), "%2B".into())]
        );
    }

    #[test]
    fn a_plus_is_a_space_in_a_query_only() {
        assert_eq!(segments("/a+b").unwrap(), ["a+b"]);
        assert_eq!(
            query_pairs("a+b=c%2B+").unwrap(),
            [("a b".into(), "c+ ".into())]
        );
    }

    #[test]
    fn a_query_keeps_order_repeats_and_missing_values() {
        let pairs = query_pairs("a=1&&b&a=2=3&=x").unwrap();
        let expected = [("a", "1"), ("b", ""), ("a", "2=3"), ("", "x")];
        assert_eq!(
            pairs,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn broken_escapes_and_foreign_bytes_are_refused() {
        for path in ["/%", "/%4", "/%g1", "/%+1", "/a%4/b", "/% 41"] {
            assert_eq!(segments(path), Err(MalformedTarget::Escape), "{path}");
        }
        for path in ["/%ff", "/%c3", "/%c3/%a9", "/%ed%a0%80", "/%c0%af"] {
            assert_eq!(segments(path), Err(MalformedTarget::Utf8), "{path}");
        }
        assert!(query_pairs("a=%zz").is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(parts in prop::collection::vec(".{1,12}", 1..5)) {
            let path: String = parts.iter().map(|part| format!("/{}", encode(part))).collect();
            prop_assert_eq!(segments(&path).unwrap(), parts);
        }

        #[test]
        fn query_pairs_come_back(name in ".{0,12}", value in ".{0,12}") {
            let query = format!("{}={}", encode(&name), encode(&value));
            prop_assert_eq!(query_pairs(&query).unwrap(), [(name, value)]);
        }

        #[test]
        fn any_text_is_judged_without_panic(text in "[%0-9a-f/&=+\\PC]{0,64}") {
            let _ = (segments(&text), query_pairs(&text));
        }
    }
}
