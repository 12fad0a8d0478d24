//! A set of topics: one topic by its name, or all topics whose names begin with a prefix.

use super::TopicName;

/// Which topics something applies to, such as a right of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicFilter {
    /// `orders`: this topic.
    Topic(TopicName),
    /// `shop.*` or `*`: see [`TopicPattern`].
    Pattern(TopicPattern),
}

/// `shop.*` is every name that begins with `shop.`; `*` is every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicPattern {
    /// Empty, or a valid topic name.
    prefix: String,
}

impl TopicFilter {
    /// Parses a topic name, or a prefix followed by `*`. `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<TopicFilter> {
        match text.strip_suffix('*') {
            Some(prefix) => TopicPattern::new(prefix).map(TopicFilter::Pattern),
            None => TopicName::new(text).ok().map(TopicFilter::Topic),
        }
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        match self {
            TopicFilter::Topic(name) => topic == name.as_str(),
            TopicFilter::Pattern(pattern) => topic.starts_with(&pattern.prefix),
        }
    }
}

impl TopicPattern {
    fn new(prefix: &str) -> Option<TopicPattern> {
        let is_valid = prefix.is_empty() || TopicName::new(prefix).is_ok();
        is_valid.then(|| TopicPattern {
            prefix: prefix.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    #[test]
    fn name_matches_only_itself() {
        assert!(matches("orders", "orders"));
        for topic in ["order", "orders.eu", "Orders", "my.orders"] {
            assert!(!matches("orders", topic), "{topic}");
        }
    }

    #[test]
    fn pattern_matches_every_name_with_its_prefix() {
        for topic in ["shop.", "shop.eu", "shop.eu.de"] {
            assert!(matches("shop.*", topic), "{topic}");
        }
        for topic in ["shop", "shopping", "my.shop.eu"] {
            assert!(!matches("shop.*", topic), "{topic}");
        }
        assert!(matches("*", "anything"));
    }

    #[test]
    fn star_is_refused_anywhere_but_at_the_end() {
        for text in [
            "", "**", "*.eu", "a*b", "a**", ".a*", " *", "a *", "ä*", "a/b",
        ] {
            assert_eq!(TopicFilter::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pattern_matches_exactly_the_names_with_its_prefix(prefix in "[a-c]{0,3}", topic in "[a-c]{1,6}") {
            prop_assert_eq!(matches(&format!("{prefix}*"), &topic), topic.starts_with(&prefix));
        }

        #[test]
        fn name_matches_no_other_name(name in "[a-c.]{1,4}", topic in "[a-c.]{1,4}") {
            if let Some(filter) = TopicFilter::parse(&name) {
                prop_assert_eq!(filter.matches(&topic), name == topic);
            }
        }
    }
}
