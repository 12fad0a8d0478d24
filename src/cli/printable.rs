//! Escapes untrusted text for a terminal, so that it cannot move the cursor, change colours or reverse text.

use std::borrow::Cow;
use std::fmt::Write;

/// Control characters (C0, DEL, C1), and the overrides and isolates of bidirectional text.
fn is_control(c: char) -> bool {
    char::is_control(c) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text on one line, with control characters escaped as in Rust: `\n`, `\u{9b}`.
pub(super) fn text(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        match is_control(c) {
            true => printable.extend(c.escape_default()),
            false => printable.push(c),
        }
    }
    printable
}

/// JSON text with control characters in strings escaped: `\u009b`. Its value is unchanged. White space between tokens is kept.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| is_control(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_escaped(c) {
            // Writing into a String cannot fail.
            true => drop(write!(printable, "\\u{:04x}", u32::from(c))),
            false => printable.push(c),
        }
    }
    Cow::Owned(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_no_control_characters_left() {
        assert_eq!(text("a\n\u{1b}[2Jé\u{9b}"), "a\\n\\u{1b}[2Jé\\u{9b}");
        assert_eq!(
            text("\u{7f}\u{202e}\u{2069}‐日"),
            "\\u{7f}\\u{202e}\\u{2069}‐日"
        );
    }

    #[test]
    fn json_keeps_its_value_and_its_lines() {
        let plain = "{\n\t\"é日\": \"\\u001b\"}";
        assert!(matches!(json(plain), Cow::Borrowed(_)));
        let every: String = ('\u{7f}'..='\u{9f}')
            .chain('\u{202a}'..='\u{202e}')
            .collect();
        let every = format!("[\"{every}\u{2066}\u{2069}\"]");
        let escaped = json(&every);
        assert!(!escaped.contains(is_control), "{escaped:?}");
        let read = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap();
        assert_eq!(read(&escaped), read(&every));
    }
}
