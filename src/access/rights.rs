//! What the holder of a key or a token may do.

use crate::protocol::{TopicFilter, TopicPattern};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(super) publish: Vec<TopicFilter>,
    pub(super) subscribe: Vec<TopicFilter>,
    pub(super) admin: bool,
}

impl Rights {
    /// All of them.
    pub(super) fn everything() -> Rights {
        let all = || Vec::from_iter(TopicFilter::parse("*"));
        Rights {
            publish: all(),
            subscribe: all(),
            admin: true,
        }
    }

    pub(super) fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|filter| filter.matches(topic))
    }

    pub(super) fn may_subscribe(&self, topic: &str) -> bool {
        self.subscribe.iter().any(|filter| filter.matches(topic))
    }

    /// Whether they include a subscription to every topic that the pattern matches.
    pub(super) fn may_subscribe_to_all(&self, pattern: &TopicPattern) -> bool {
        self.subscribe.iter().any(|filter| filter.covers(pattern))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publish_and_subscribe_are_separate_rights() {
        let filters = |texts: &[&str]| {
            let parsed = texts.iter().map(|text| TopicFilter::parse(text).unwrap());
            parsed.collect()
        };
        let rights = Rights {
            publish: filters(&["orders", "shop.*"]),
            subscribe: filters(&["logs"]),
            admin: false,
        };
        assert!(rights.may_publish("orders") && rights.may_publish("shop.eu"));
        assert!(!rights.may_publish("logs"));
        assert!(rights.may_subscribe("logs") && !rights.may_subscribe("orders"));
    }

    #[test]
    fn everything_is_every_right() {
        let rights = Rights::everything();
        let all = TopicPattern::new("*").unwrap();
        assert!(rights.admin && rights.may_publish("a.b:c") && rights.may_subscribe("_"));
        assert!(rights.may_subscribe_to_all(&all));
    }
}
