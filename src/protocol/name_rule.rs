//! The rules for names, for those who only check one: the client before it asks, the server where it keeps none.

use std::fmt;

/// Longest name of any kind, in characters.
const MAX_NAME_CHARS: usize = 128;

/// Whether this may be the name of a topic.
///
/// # Errors
/// [`InvalidName::Topic`], whose text tells the rule.
pub(crate) fn check_topic_name(name: &str) -> Result<(), InvalidName> {
    let begins = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let goes_on = |b: u8| begins(b) || matches!(b, b'.' | b':' | b'-');
    let fits = name.len() <= MAX_NAME_CHARS && name.bytes().next().is_some_and(begins);
    if fits && name.bytes().all(goes_on) {
        Ok(())
    } else {
        Err(InvalidName::Topic)
    }
}

/// Whether this may be the id of a subscriber.
///
/// # Errors
/// [`InvalidName::Client`], whose text tells the rule.
pub(crate) fn check_client_id(id: &str) -> Result<(), InvalidName> {
    if !id.is_empty() && fits(id) {
        Ok(())
    } else {
        Err(InvalidName::Client)
    }
}

/// Whether a name is not too long.
pub(super) fn fits(name: &str) -> bool {
    name.len() <= MAX_NAME_CHARS || name.chars().nth(MAX_NAME_CHARS).is_none()
}

/// A name that breaks its rule; the text says the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidName {
    /// Not the name of a topic.
    Topic,
    /// Not a client id.
    Client,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidName::Topic => {
                "topic must be 1 to 128 characters out of A-Z a-z 0-9 . _ : - and begin with a letter, a digit or _"
            }
            InvalidName::Client => "client_id must be a string of 1 to 128 characters",
        })
    }
}

impl std::error::Error for InvalidName {}
