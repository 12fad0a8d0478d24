//! Names that a client chooses: topics and client ids. A value of these types is always valid.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest name of any kind, in characters.
pub(super) const MAX_NAME_CHARS: usize = 128;

/// Checks the name of a topic without keeping it.
///
/// # Errors
/// [`InvalidName::Topic`], whose text states the rule.
pub(crate) fn check_topic_name(name: &str) -> Result<(), InvalidName> {
    let begins = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = name.len() <= MAX_NAME_CHARS && name.bytes().next().is_some_and(begins);
    if fits && name.bytes().all(is_in_topic_names) {
        Ok(())
    } else {
        Err(InvalidName::Topic)
    }
}

/// Whether this is one of the characters of topic names.
pub(super) fn is_in_topic_names(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-')
}

/// Whether a name is at most 128 characters long.
pub(super) fn fits(name: &str) -> bool {
    name.len() <= MAX_NAME_CHARS || name.chars().nth(MAX_NAME_CHARS).is_none()
}

/// An invalid name; the text states the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidName {
    /// Not the name of a topic.
    Topic,
    /// Not a pattern for the names of topics.
    Pattern,
    /// Not a client id.
    Client,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidName::Topic => {
                "topic must be 1 to 128 characters out of A-Z a-z 0-9 . _ : - and begin with a letter, a digit or _"
            }
            InvalidName::Pattern => {
                "a pattern must be 1 to 128 characters out of A-Z a-z 0-9 . _ : - and *, with one to four *"
            }
            InvalidName::Client => "client_id must be a string of 1 to 128 characters",
        })
    }
}

impl std::error::Error for InvalidName {}

/// The name of a topic: 1–128 characters of `A–Z a–z 0–9 . _ : -`, beginning with a letter, a digit or `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicName(Arc<str>);

impl TopicName {
    /// # Errors
    /// [`InvalidName`], whose text states the rule.
    pub(crate) fn new(name: &str) -> Result<TopicName, InvalidName> {
        check_topic_name(name).map(|()| TopicName(name.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The id of a subscriber: 1–128 characters of any kind, unique per topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct ClientId(Arc<str>);

impl ClientId {
    /// # Errors
    /// [`InvalidName`], whose text states the rule.
    pub(crate) fn new(id: &str) -> Result<ClientId, InvalidName> {
        if !id.is_empty() && fits(id) {
            Ok(ClientId(id.into()))
        } else {
            Err(InvalidName::Client)
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_128_characters_are_valid_and_of_129_are_not() {
        assert!(TopicName::new(&"a".repeat(128)).is_ok());
        assert!(TopicName::new(&"a".repeat(129)).is_err());
        assert!(ClientId::new(&"é".repeat(128)).is_ok());
        assert!(ClientId::new(&"é".repeat(129)).is_err());
    }

    #[test]
    fn topic_name_does_not_begin_with_punctuation_except_underscore() {
        for name in ["", ".a", ":a", "-a", " a", "a b", "a/b", "ä", "a\n", "a%"] {
            assert!(TopicName::new(name).is_err(), "{name:?}");
        }
        for name in ["_", "_a", "0", "Z", "a.b_c:d-e"] {
            assert!(TopicName::new(name).is_ok(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn topic_name_is_valid_exactly_when_it_matches_the_rule(name in "[ -~]{0,6}|[A-Za-z0-9._:-]{1,130}") {
            let rule = name.len() <= 128
                && name.chars().enumerate().all(|(i, c)| c.is_ascii_alphanumeric() || c == '_' || (i > 0 && ".:-".contains(c)))
                && !name.is_empty();
            prop_assert_eq!(TopicName::new(&name).is_ok(), rule);
        }
    }
}
