//! What each kind of setting takes and refuses.

use std::ffi::OsStr;

use proptest::prelude::*;

use super::allowed::{MAX_SHOWN_CHARS, shown};
use super::units::{parse_bytes, parse_seconds, parse_ttl};
use super::*;

fn parsed<T>(allowed: &Allowed<T>, text: &str) -> Option<T> {
    (allowed.parse)(text)
}

#[test]
fn numbers_are_plain_digits_within_their_range() {
    let number = number(1..=100_usize);
    assert_eq!(parsed(&number, "1"), Some(1));
    assert_eq!(parsed(&number, "0100"), Some(100));
    for wrong in [
        "", "0", "101", "+1", "-1", " 1", "1 ", "1_0", "1.0", "1e1", "0x1", "١",
    ] {
        assert_eq!(parsed(&number, wrong), None, "{wrong:?}");
    }
    assert_eq!(parsed(&port(), "65535"), Some(65_535));
    assert_eq!(parsed(&port(), "65536"), None);
}

#[test]
fn a_choice_takes_each_of_its_names_and_says_which() {
    let names = ["one", "other_one", "third"];
    let allowed = choice(names, |name| name.starts_with('o').then_some(name.len()));
    assert_eq!(allowed.phrase, "one, other_one or third");
    for (text, length) in [("one", 3), ("ONE", 3), ("Other-One", 9)] {
        assert_eq!(parsed(&allowed, text), Some(length), "{text}");
    }
    assert_eq!(parsed(&allowed, "third"), None);
    assert_eq!(one_of(&["alone"]), "alone");
}

#[test]
fn bytes_take_binary_units_only() {
    let bytes = bytes(0..=1 << 40);
    let sizes = [
        ("7", 7),
        ("1KiB", 1024),
        ("8 mib", 8 << 20),
        ("2GIB", 2 << 30),
        ("0KiB", 0),
    ];
    for (text, expected) in sizes {
        assert_eq!(parsed(&bytes, text), Some(Bytes(expected)), "{text}");
    }
    let wrong = [
        "",
        "KiB",
        "1k",
        "1KB",
        "1B",
        "1 ",
        "-1KiB",
        "1.5MiB",
        "99999999999GiB",
        "2000GiB",
    ];
    for text in wrong {
        assert_eq!(parsed(&bytes, text), None, "{text:?}");
    }
}

#[test]
fn seconds_take_decimals() {
    let seconds = seconds(Duration::from_millis(1)..=Duration::from_secs(60));
    let times = [
        ("60", 60_000),
        ("0.001", 1),
        ("0.25", 250),
        ("1.500", 1_500),
        ("05.0", 5_000),
    ];
    for (text, millis) in times {
        assert_eq!(
            parsed(&seconds, text),
            Some(Seconds(Duration::from_millis(millis))),
            "{text}"
        );
    }
    let wrong = [
        "",
        ".",
        "0",
        "0.0009",
        "60.1",
        ".5",
        "5.",
        "1e1",
        "inf",
        "NaN",
        "-1",
        "1s",
        "1.0000000001",
    ];
    for text in wrong {
        assert_eq!(parsed(&seconds, text), None, "{text:?}");
    }
}

#[test]
fn switches_take_the_usual_words() {
    for (on, off) in [("true", "false"), ("1", "0"), ("YES", "No"), ("On", "OFF")] {
        assert_eq!(parsed(&switch(), on), Some(true));
        assert_eq!(parsed(&switch(), off), Some(false));
    }
    for wrong in ["", "2", "truee", "y", "enabled"] {
        assert_eq!(parsed(&switch(), wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_host_is_an_address_or_a_name() {
    for good in [
        "127.0.0.1",
        "::",
        "::1",
        "fe80::1%eth0",
        "localhost",
        "my_service-1.internal",
    ] {
        assert_eq!(parsed(&host(), good).as_deref(), Some(good));
    }
    let long = "a".repeat(254);
    for wrong in [
        "",
        " ",
        "a b",
        "[::1]",
        "localhost:80",
        "http://a",
        "a/b",
        "a%b",
        "é",
        &long,
    ] {
        assert_eq!(parsed(&host(), wrong), None, "{wrong:?}");
    }
}

#[test]
fn one_wrong_origin_refuses_the_list() {
    let list = "https://A.example, http://localhost:3000";
    let expected = vec![
        "https://a.example".to_owned(),
        "http://localhost:3000".to_owned(),
    ];
    assert_eq!(parsed(&origins(), list), Some(expected));
    assert_eq!(parsed(&origins(), ""), Some(Vec::new()));
    for wrong in [
        "https://a.example,",
        ",",
        "https://a.example/x",
        "*,nonsense",
    ] {
        assert_eq!(parsed(&origins(), wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_wrong_value_is_shown_printable_and_short() {
    assert_eq!(shown(OsStr::new("a\nb'")), "a\\nb\\'");
    assert_eq!(
        shown(OsStr::new(&"é".repeat(5_000))).chars().count(),
        MAX_SHOWN_CHARS + 1
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_utf8_is_shown_in_escapes() {
    use std::os::unix::ffi::OsStrExt;
    assert_eq!(shown(OsStr::from_bytes(b"80\xff")), "80\\xff");
}

#[test]
fn a_time_to_live_has_a_unit_or_is_in_seconds() {
    let secs = |text| parse_ttl(text).map(|ttl| ttl.0.as_secs());
    for (text, expected) in [
        ("90", Some(90)),
        ("90s", Some(90)),
        ("30m", Some(1800)),
        ("1h", Some(3600)),
        ("7d", Some(604_800)),
        ("", None),
        ("h", None),
        ("1.5h", None),
        ("-1h", None),
        ("1 h", None),
        ("1w", None),
        ("99999999999999999999d", None),
        ("9999999999999999999d", None),
    ] {
        assert_eq!(secs(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn bytes_are_read_back_as_shown(bytes: usize) {
        prop_assert_eq!(parse_bytes(&Bytes(bytes).to_string()), Some(Bytes(bytes)));
    }

    #[test]
    fn whole_units_are_read_back_as_shown(count in 0_usize..1 << 20, shift in 0_u32..31) {
        let bytes = Bytes(count << shift);
        prop_assert_eq!(parse_bytes(&bytes.to_string()), Some(bytes));
    }

    #[test]
    fn seconds_are_read_back_as_shown(secs: u64, nanos in 0_u32..1_000_000_000) {
        let time = Seconds(Duration::new(secs, nanos));
        prop_assert_eq!(parse_seconds(&time.to_string()), Some(time));
    }

    #[test]
    fn no_text_breaks_a_parser(text: String) {
        let _ = (parse_bytes(&text), parse_seconds(&text), is_host(&text), normalize_origin(&text));
        prop_assert!(!shown(OsStr::new(&text)).chars().any(char::is_control));
    }
}
