//! A set of topics: one topic by its name, or all topics whose names match a pattern. Subscriptions, rights and lists use it.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "server")]
use super::TopicName;
use super::name::{InvalidName, MAX_NAME_CHARS, is_in_topic_names};

/// A pattern has at most this many stars.
const MAX_STARS: usize = 4;

/// Which topics something applies to, such as a right of a key.
#[cfg(feature = "server")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicFilter {
    /// `orders`: this topic.
    Topic(TopicName),
    /// `shop.*` or `*`: see [`TopicPattern`].
    Pattern(TopicPattern),
}

#[cfg(feature = "server")]
impl TopicFilter {
    /// # Errors
    /// [`InvalidName`], whose text states the rule: that of a pattern if there is a star, else that of a name.
    pub(crate) fn parse(text: &str) -> Result<TopicFilter, InvalidName> {
        match text.contains('*') {
            true => TopicPattern::new(text).map(TopicFilter::Pattern),
            false => TopicName::new(text).map(TopicFilter::Topic),
        }
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        match self {
            TopicFilter::Topic(name) => topic == name.as_str(),
            TopicFilter::Pattern(pattern) => pattern.matches(topic),
        }
    }

    /// Whether it matches every name that the pattern matches.
    pub(crate) fn covers(&self, other: &TopicPattern) -> bool {
        match self {
            TopicFilter::Topic(_) => false,
            TopicFilter::Pattern(pattern) => pattern.covers(other),
        }
    }
}

/// A pattern: 1–128 characters of `A–Z a–z 0–9 . _ : -` and one to four `*`, each of which stands for any run of characters, also
/// for none.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicPattern(Arc<str>);

impl TopicPattern {
    /// # Errors
    /// [`InvalidName::Pattern`], whose text states the rule.
    pub(crate) fn new(text: &str) -> Result<TopicPattern, InvalidName> {
        let stars = text.bytes().filter(|byte| *byte == b'*').count();
        let is_valid = text.len() <= MAX_NAME_CHARS
            && (1..=MAX_STARS).contains(&stars)
            && text
                .bytes()
                .all(|byte| byte == b'*' || is_in_topic_names(byte));
        match is_valid {
            true => Ok(TopicPattern(text.into())),
            false => Err(InvalidName::Pattern),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        let Some((first, others)) = self.0.split_once('*') else {
            return topic == self.as_str();
        };
        let (middle, last) = others.rsplit_once('*').unwrap_or(("", others));
        let Some(mut rest) = topic.strip_prefix(first) else {
            return false;
        };
        // The first place is always a right one: it leaves the most for the parts behind it.
        for part in middle.split('*') {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Whether it matches every name that the other pattern matches. A star of the other one may stand for anything, so that only a
    /// star of this one matches it.
    #[cfg(feature = "server")]
    pub(crate) fn covers(&self, other: &TopicPattern) -> bool {
        self.matches(other.as_str())
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(feature = "server")]
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    #[test]
    fn name_matches_only_itself() {
        assert!(matches("orders", "orders"));
        for topic in ["order", "orders.eu", "Orders", "my.orders"] {
            assert!(!matches("orders", topic), "{topic}");
        }
    }

    #[test]
    fn star_stands_for_any_run_of_characters() {
        for (pattern, topic) in [
            ("shop.*", "shop."),
            ("shop.*", "shop.eu.de"),
            ("*.paid", "shop.eu.paid"),
            ("*.paid", "a.paid.paid"),
            ("eu.*.orders", "eu.shop.orders"),
            ("eu.*.orders", "eu..orders"),
            ("*a*b*c*", "abc"),
            ("*ab*ba*", "abba"),
            ("a**b", "ab"),
            ("*", "anything"),
            ("****", "x"),
        ] {
            assert!(matches(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("shop.*", "shop"),
            ("shop.*", "my.shop.eu"),
            ("*.paid", "paid"),
            ("*.paid", "x.paid."),
            ("eu.*.orders", "eu.orders"),
            ("ab*ba", "aba"),
            ("*ab*ba*", "aba"),
            ("a*b*c", "acb"),
        ] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
    }

    #[test]
    fn texts_that_are_neither_name_nor_pattern_are_refused() {
        let long = format!("{}*", "a".repeat(128));
        for text in ["*****", " *", "a *", "ä*", "a/b*", "a\0*", "?*", &long] {
            assert_eq!(
                TopicFilter::parse(text),
                Err(InvalidName::Pattern),
                "{text:?}"
            );
        }
        for text in ["", ".a", "a/b"] {
            assert_eq!(
                TopicFilter::parse(text),
                Err(InvalidName::Topic),
                "{text:?}"
            );
        }
        // A star may stand for the first character.
        for text in [".*", "-*", &long[1..]] {
            assert!(TopicFilter::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn pattern_covers_what_matches_no_more() {
        for (right, asked) in [
            ("*", "shop.*"),
            ("shop.*", "shop.*"),
            ("shop.*", "shop.eu.*"),
            ("shop.*", "shop.*.paid"),
            ("*.paid", "*.eu.paid"),
            ("a*c", "ab*bc"),
        ] {
            assert!(pattern(right).covers(&pattern(asked)), "{right} {asked}");
        }
        for (right, asked) in [
            ("shop.*", "*"),
            ("shop.*", "shop*"),
            ("shop.eu.*", "shop.*"),
            ("*.paid", "shop.*"),
            ("a*b*c", "a*c"),
        ] {
            assert!(!pattern(right).covers(&pattern(asked)), "{right} {asked}");
        }
        assert!(
            !TopicFilter::parse("shop")
                .unwrap()
                .covers(&pattern("shop*"))
        );
    }

    /// The definition, word for word.
    fn matches_by_definition(pattern: &[u8], topic: &[u8]) -> bool {
        match pattern.split_first() {
            None => topic.is_empty(),
            Some((b'*', rest)) => {
                (0..=topic.len()).any(|run| matches_by_definition(rest, &topic[run..]))
            }
            Some((byte, rest)) => {
                topic.first() == Some(byte) && matches_by_definition(rest, &topic[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn pattern_matches_what_the_definition_says(text in "[ab*]{1,8}", topic in "[ab]{1,10}") {
            if let Ok(pattern) = TopicPattern::new(&text) {
                let expected = matches_by_definition(text.as_bytes(), topic.as_bytes());
                prop_assert_eq!(pattern.matches(&topic), expected);
            }
        }

        #[test]
        fn whatever_a_covered_pattern_matches_the_other_matches(
            right in "[ab*]{1,6}", asked in "[ab*]{1,6}", runs in proptest::collection::vec("[abc]{0,3}", 4),
        ) {
            if let (Ok(right), Ok(asked)) = (TopicPattern::new(&right), TopicPattern::new(&asked)) {
                let mut runs = runs.iter();
                let parts: Vec<_> = asked.as_str().split('*').collect();
                let topic = parts.iter().map(|part| (*part).to_owned());
                let topic = topic.reduce(|topic, part| topic + runs.next().unwrap() + &part).unwrap();
                prop_assert!(asked.matches(&topic));
                if right.covers(&asked) {
                    prop_assert!(right.matches(&topic));
                } else {
                    // A letter that the right does not have, for each star, shows a name that it does not match.
                    prop_assert!(!right.matches(&asked.as_str().replace('*', "z")));
                }
            }
        }

        #[test]
        fn name_matches_no_other_name(name in "[a-c.]{1,4}", topic in "[a-c.]{1,4}") {
            if let Ok(filter) = TopicFilter::parse(&name) {
                prop_assert_eq!(filter.matches(&topic), name == topic);
            }
        }
    }
}
