//! Names a client chooses: topics, client ids, request ids. A value of these types is always valid.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use super::name_rule::{InvalidName, check_client_id, check_topic_name, fits};

/// The name of a topic: 1–128 characters out of `A–Z a–z 0–9 . _ : -`, beginning with a letter, a digit or `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicName(Arc<str>);

impl TopicName {
    /// Takes a name that keeps the rule.
    ///
    /// # Errors
    /// [`InvalidName`], whose text tells the rule.
    pub(crate) fn new(name: &str) -> Result<TopicName, InvalidName> {
        check_topic_name(name).map(|()| TopicName(name.into()))
    }

    /// The name as text.
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

/// Who subscribes: 1–128 characters of any kind, unique per topic.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct ClientId(Arc<str>);

impl ClientId {
    /// Takes an id of 1 to 128 characters.
    ///
    /// # Errors
    /// [`InvalidName`], whose text tells the rule.
    pub(crate) fn new(id: &str) -> Result<ClientId, InvalidName> {
        check_client_id(id).map(|()| ClientId(id.into()))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client calls its request: up to 128 characters, opaque, echoed in the reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RequestId<'a>(Cow<'a, str>);

impl<'a> RequestId<'a> {
    /// Takes an id of at most 128 characters.
    ///
    /// # Errors
    /// [`InvalidRequestId`], whose text tells the rule.
    pub(crate) fn new(id: Cow<'a, str>) -> Result<RequestId<'a>, InvalidRequestId> {
        if fits(&id) {
            Ok(RequestId(id))
        } else {
            Err(InvalidRequestId)
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request id that breaks its rule; the text says the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidRequestId;

impl fmt::Display for InvalidRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request_id must be a string of at most 128 characters")
    }
}

impl std::error::Error for InvalidRequestId {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_names_pass_and_one_more_does_not() {
        assert!(TopicName::new(&"a".repeat(128)).is_ok());
        assert!(TopicName::new(&"a".repeat(129)).is_err());
        assert!(ClientId::new(&"é".repeat(128)).is_ok());
        assert!(ClientId::new(&"é".repeat(129)).is_err());
        assert!(RequestId::new("é".repeat(128).into()).is_ok());
        assert!(RequestId::new("é".repeat(129).into()).is_err());
    }

    #[test]
    fn a_topic_never_begins_with_punctuation_but_an_underscore() {
        for name in ["", ".a", ":a", "-a", " a", "a b", "a/b", "ä", "a\n", "a%"] {
            assert!(TopicName::new(name).is_err(), "{name:?}");
        }
        for name in ["_", "_a", "0", "Z", "a.b_c:d-e"] {
            assert!(TopicName::new(name).is_ok(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_topic_name_is_valid_exactly_when_it_matches_the_rule(name in "[ -~]{0,6}|[A-Za-z0-9._:-]{1,130}") {
            let rule = name.len() <= 128
                && name.chars().enumerate().all(|(i, c)| c.is_ascii_alphanumeric() || c == '_' || (i > 0 && ".:-".contains(c)))
                && !name.is_empty();
            prop_assert_eq!(TopicName::new(&name).is_ok(), rule);
        }
    }
}
