//! Key files.
//!
//! A file is accepted exactly if its TOML is a valid key file. Each key is found by its digest alone and has the rights that
//! its patterns give. An error is one line and contains no secret, wherever the secret is in the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oracle::{keys, names};
use threadcast::fuzzing::Keys;

/// Characters of the input that stand for a digest and for a secret; no error message may contain either.
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
        (Err(error), None) => check_error(&error, &text),
        (Ok(_), None) => panic!("accepted as a key file"),
        (Err(error), Some(_)) => panic!("refused: {error}"),
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

fn check_error(error: &str, text: &str) {
    assert!(
        !error.is_empty() && !error.contains(char::is_control),
        "{error:?} is not one line"
    );
    for (_, secret) in MARKS {
        // Errors contain the names of keys and fields; a secret used as a name is not protected.
        let is_exposed = error.contains(secret) && !keys::is_called(text, secret);
        assert!(!is_exposed, "an error contains a secret: {error:?}");
    }
}
