//! Valid and invalid keys files.

use proptest::prelude::*;

use super::*;

fn sha256(secret: &str) -> String {
    Digest::of(secret.as_bytes()).to_hex()
}

fn entry(name: &str, more: &str) -> String {
    format!(
        "[[key]]\nname = \"{name}\"\nsha256 = \"{}\"\n{more}\n",
        sha256(name)
    )
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text)
}

#[test]
fn entry_with_all_fields_is_read() {
    let rights =
        "publish = [\"orders\", \"shop.*\"] # a comment\nsubscribe = [\"*\"]\nadmin = false";
    let keys = parse(&entry("dashboard", rights)).unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert_eq!(key.name, "dashboard");
    assert_eq!(key.digest, Digest::of(b"dashboard"));
    assert!(
        key.rights.may_publish("orders")
            && key.rights.may_publish("shop.eu")
            && !key.rights.may_publish("logs")
    );
    assert!(key.rights.may_subscribe("logs") && !key.rights.admin);
}

#[test]
fn missing_right_is_not_granted() {
    let keys = parse(&entry("a", "")).unwrap();
    assert!(
        !keys[0].rights.admin
            && !keys[0].rights.may_publish("a")
            && !keys[0].rights.may_subscribe("a")
    );
}

#[test]
fn errors_name_the_key_or_the_line() {
    let a = entry("a", "");
    for (text, error) in [
        (String::new(), "there is no [[key]] in it"),
        ("# nothing yet".to_owned(), "there is no [[key]] in it"),
        ("key = []".to_owned(), "there is no [[key]] in it"),
        (format!("{a}{a}"), "key 'a': keys 1 and 2 have this name"),
        (
            format!("{a}{}", a.replace("\"a\"", "\"b\"")),
            "key 'b': sha256 is that of key 'a'",
        ),
        (
            a.replace("\"a\"", "\"\""),
            "key 1: name must be 1 to 128 printable ASCII characters",
        ),
        (
            format!("{a}{}", entry("ä", "")),
            "key 2: name must be 1 to 128 printable ASCII characters",
        ),
        (
            entry(&"x".repeat(129), ""),
            "key 1: name must be 1 to 128 printable ASCII characters",
        ),
        (
            "[[key]]\nname = \"a\"\nsha256 = \"the secret itself\"".to_owned(),
            "key 'a': sha256 must be 64 hex digits",
        ),
        (
            entry("a", "publish = [\"orders\", \"a/*\"]"),
            "key 'a': publish: entry 2 must be a topic name, or a pattern with one to four *",
        ),
        (
            entry("a", "subscribe = [\"\"]"),
            "key 'a': subscribe: entry 1 must be a topic name, or a pattern with one to four *",
        ),
        (
            entry("a", "publsh = []"),
            "line 4: unknown field `publsh`, expected one of `name`, `sha256`, `publish`, `subscribe`, `admin`",
        ),
        (
            "[[keys]]\nname = \"a\"".to_owned(),
            "line 1: unknown field `keys`, expected `key`",
        ),
        (
            "[[key]]\nname = \"a\"".to_owned(),
            "line 1: missing field `sha256`",
        ),
        (
            format!("[[key]]\nsha256 = \"{}\"", sha256("a")),
            "line 1: missing field `name`",
        ),
        (entry("a", "admin = 1"), "line 4: expected a boolean"),
        (entry("a", "publish = \"*\""), "line 4: expected a sequence"),
        (a.replace("[[key]]", "[key]"), "line 1: expected a sequence"),
        (
            format!("key = [[\"a\", \"{}\"]]", sha256("a")),
            "line 1: expected named fields",
        ),
    ] {
        assert_eq!(refused(&text), error, "{text}");
    }
}

#[test]
fn invalid_toml_is_reported_in_one_line() {
    for text in [
        "[[key]]\nname = a",
        "[[key]\nname = \"a\"",
        "[[key]]\nname = \"a",
        "name",
        "[[key]]\nname = \"a\"\nname = \"b\"",
        "\0",
        "[[key]]\nname = '''a\nb''' x",
        "\"\\u001b[2J\\r\\n\" = 1",
    ] {
        let error = refused(text);
        assert!(error.starts_with("line "), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn unreadable_file_is_named() {
    let missing = read(Path::new("/nowhere/keys.toml")).unwrap_err();
    assert!(
        missing.to_string().starts_with("/nowhere/keys.toml: "),
        "{missing}"
    );
    let folder = read(Path::new("/")).unwrap_err();
    assert_eq!(folder.to_string(), "/: a regular file is needed");
    let endless = read(Path::new("/dev/zero")).unwrap_err();
    assert_eq!(endless.reason, "a regular file is needed");
}

/// A valid file with one word replaced by a secret, with or without quotes.
fn with_secret_in_a_wrong_place(secret: &str) -> impl Strategy<Value = String> {
    let file = entry(
        "a",
        "publish = [\"orders\"]\nsubscribe = [ \"*\" ]\nadmin = false",
    );
    let words = file.split(' ').count();
    let (quoted, bare) = (format!("\"{secret}\""), secret.to_owned());
    (0..words, prop::sample::select(vec![quoted, bare])).prop_map(move |(at, secret)| {
        let replaced = |(n, word): (usize, &str)| {
            if n == at {
                let end = word.find(['\n', ']']).unwrap_or(word.len());
                format!("{secret}{}", &word[end..])
            } else {
                word.to_owned()
            }
        };
        file.split(' ')
            .enumerate()
            .map(replaced)
            .collect::<Vec<_>>()
            .join(" ")
    })
}

proptest! {
    #[test]
    fn misplaced_secret_is_not_shown(text in with_secret_in_a_wrong_place("tc_s3cr3t")) {
        if let Err(error) = parse(&text) {
            // The name of a key is shown.
            prop_assert!(!error.contains("s3cr3t") || error.starts_with("key 'tc_s3cr3t'"), "{}", error);
        }
    }

    #[test]
    fn errors_of_any_text_are_one_line(text in "[\\PC\n]{0,80}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.is_empty() && !error.contains('\n'), "{}", error);
        }
    }

    #[test]
    fn keys_round_trip_through_the_file(
        names in prop::collection::hash_set("[a-zA-Z0-9 ._-]{1,20}", 1..20),
        pattern in "[*]?[a-z]{1,5}[*]?",
        admin in any::<bool>(),
    ) {
        let rights = format!("publish = [\"{pattern}\"]\nadmin = {admin}");
        let text: String = names.iter().map(|name| entry(name, &rights)).collect();
        let keys = parse(&text).unwrap();
        prop_assert_eq!(keys.len(), names.len());
        for (key, name) in keys.iter().zip(&names) {
            prop_assert_eq!(&key.name, name);
            prop_assert_eq!(&key.digest, &Digest::of(name.as_bytes()));
            prop_assert_eq!(&key.rights.publish, &[TopicFilter::parse(&pattern).unwrap()]);
            prop_assert_eq!(key.rights.admin, admin);
        }
    }
}
