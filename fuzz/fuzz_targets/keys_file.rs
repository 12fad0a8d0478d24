//! The file of keys.
//!
//! It is accepted exactly if its TOML says what a file of keys may say; each key is then found by its digest alone and may do what its
//! patterns say; and whatever is wrong with a file is told in one line without a secret, wherever the secret stands.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::{keys, names};
use threadcast::fuzzing::Keys;

/// Stands for a digest, or for a secret in its place: no line that tells an error may hold them.
const MARKS: [(char, &str); 2] = [
    (
        '§',
        "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    ),
    ('¤', "correct-horse-battery-staple-9"),
];
const TOPICS: [&str; 5] = ["orders", "orders.eu", "shop.", "_", "a:b-c.d"];

fuzz_target!(|data: &[u8]| {
    let mut text = String::from_utf8_lossy(data).into_owned();
    for (mark, secret) in MARKS {
        text = text.replace(mark, secret);
    }
    match (Keys::parse(&text), keys::read(&text)) {
        (Ok(found), Some(expected)) => {
            assert_eq!(found.count(), expected.len());
            expected.iter().for_each(|key| check_key(&found, key));
        }
        (Err(told), None) => check_told(&told, &text),
        (Ok(_), None) => panic!("taken for a file of keys"),
        (Err(told), Some(_)) => panic!("refused: {told}"),
    }
});

fn check_key(keys: &Keys, key: &keys::Key) {
    let holder = keys.holder(&key.sha256).expect("not found by its digest");
    assert_eq!(
        (holder.name(), holder.is_admin()),
        (Some(&*key.name), key.admin)
    );
    let own = key
        .publish
        .iter()
        .chain(&key.subscribe)
        .map(|pattern| pattern.trim_end_matches('*'));
    for topic in TOPICS.into_iter().chain(own) {
        let allowed = |patterns: &[String]| {
            let mut matches = patterns
                .iter()
                .map(|pattern| names::pattern_matches(pattern, topic));
            matches.any(|matches| matches == Some(true))
        };
        assert_eq!(
            holder.may_publish(topic),
            allowed(&key.publish),
            "publish to {topic:?}"
        );
        assert_eq!(
            holder.may_subscribe(topic),
            allowed(&key.subscribe),
            "subscribe to {topic:?}"
        );
    }
    let other = if key.sha256.starts_with('0') {
        "1"
    } else {
        "0"
    }
    .to_owned()
        + &key.sha256[1..];
    assert!(
        keys.holder(&other)
            .is_none_or(|other| other.name() != Some(&*key.name))
    );
}

fn check_told(told: &str, text: &str) {
    assert!(
        !told.is_empty() && !told.contains(char::is_control),
        "{told:?} is not one line"
    );
    for (_, secret) in MARKS {
        // What a key or a field is called is told; who puts a secret there has published it himself.
        let is_told = told.contains(secret) && !keys::is_called(text, secret);
        assert!(!is_told, "a secret is told: {told:?}");
    }
}
