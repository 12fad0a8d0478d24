//! Which topics a right is for: a topic's name, or the beginning of names.

use crate::protocol::check_topic_name;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Topic(String),
    /// `shop.*`: every name that begins with `shop.`, and that itself too. `*` alone is every topic.
    Prefix(String),
}

impl Pattern {
    /// A topic's name, or the beginning of one and a `*`; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Pattern> {
        let is_name = |text: &str| check_topic_name(text).is_ok();
        match text.strip_suffix('*') {
            Some(prefix) if prefix.is_empty() || is_name(prefix) => {
                Some(Pattern::Prefix(prefix.to_owned()))
            }
            None if is_name(text) => Some(Pattern::Topic(text.to_owned())),
            _ => None,
        }
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        match self {
            Pattern::Topic(name) => topic == name,
            Pattern::Prefix(prefix) => topic.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(topic)
    }

    #[test]
    fn a_name_is_for_itself_alone() {
        assert!(matches("orders", "orders"));
        for topic in ["order", "orders.eu", "Orders", "my.orders"] {
            assert!(!matches("orders", topic), "{topic}");
        }
    }

    #[test]
    fn a_star_is_for_whatever_follows() {
        for topic in ["shop.", "shop.eu", "shop.eu.de"] {
            assert!(matches("shop.*", topic), "{topic}");
        }
        for topic in ["shop", "shopping", "my.shop.eu"] {
            assert!(!matches("shop.*", topic), "{topic}");
        }
        assert!(matches("*", "anything"));
    }

    #[test]
    fn a_star_anywhere_else_is_refused() {
        for text in [
            "", "**", "*.eu", "a*b", "a**", ".a*", " *", "a *", "ä*", "a/b",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_matches_exactly_the_names_that_begin_with_it(prefix in "[a-c]{0,3}", topic in "[a-c]{1,6}") {
            prop_assert_eq!(matches(&format!("{prefix}*"), &topic), topic.starts_with(&prefix));
        }

        #[test]
        fn a_name_matches_no_other(name in "[a-c.]{1,4}", topic in "[a-c.]{1,4}") {
            if let Some(pattern) = Pattern::parse(&name) {
                prop_assert_eq!(pattern.matches(&topic), name == topic);
            }
        }
    }
}
