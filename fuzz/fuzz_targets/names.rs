//! Names, patterns of names, and percent-encoding.
//!
//! A name or a pattern is accepted exactly if the grammar allows it. Paths and queries are decoded as plain code decodes
//! them, and encoding followed by decoding changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::names;
use oracle::pieces::Random;
use threadcast::config::normalize_origin;
use threadcast::fuzzing;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    check_names(&text);
    check_pattern(&text);
    assert_eq!(fuzzing::segments(&text), names::segments(&text));
    assert_eq!(fuzzing::query_pairs(&text), names::query_pairs(&text));
    assert_eq!(fuzzing::decode_text(&text), names::decode(&text));
    check_encoded(&text, &encode(&text, &mut Random::of(data)));
    if let Some(origin) = normalize_origin(&text) {
        assert_eq!(
            normalize_origin(&origin).as_ref(),
            Some(&origin),
            "not normal yet"
        );
    }
});

fn check_names(text: &str) {
    let chars = text.chars().count();
    assert_eq!(fuzzing::is_topic_name(text), names::is_topic_name(text));
    assert_eq!(fuzzing::is_client_id(text), (1..=128).contains(&chars));
    assert_eq!(fuzzing::is_request_id(text), chars <= 128);
}

/// A pattern and a topic, one per line.
fn check_pattern(text: &str) {
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, "orders"));
    for topic in [topic, pattern.trim_end_matches('*'), "orders.eu"] {
        let expected = names::pattern_matches(pattern, topic);
        assert_eq!(
            fuzzing::filter_matches(pattern, topic),
            expected,
            "{pattern:?} for {topic:?}"
        );
    }
}

/// Percent-encodes everything that must be, and some bytes that need not.
fn encode(text: &str, random: &mut Random) -> String {
    const DIGITS: [&[u8; 16]; 2] = [b"0123456789abcdef", b"0123456789ABCDEF"];
    let mut encoded = String::with_capacity(3 * text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
        let dice = random.below(8);
        if is_plain && dice < 6 {
            encoded.push(char::from(byte));
        } else {
            let digits = DIGITS[dice % 2];
            let halves = [byte >> 4, byte & 15].map(|half| char::from(digits[usize::from(half)]));
            encoded.push('%');
            encoded.extend(halves);
        }
    }
    encoded
}

fn check_encoded(text: &str, encoded: &str) {
    assert_eq!(fuzzing::decode_text(encoded).as_deref(), Some(text));
    let segments = fuzzing::segments(&["/topics/", encoded].concat()).unwrap();
    assert_eq!(segments, ["topics", text]);
    let pairs = fuzzing::query_pairs(&[encoded, "=", encoded].concat()).unwrap();
    assert_eq!(pairs, [(text.to_owned(), text.to_owned())]);
}
