//! The principal of a request or a connection, and its rights.

use super::key::Key;
use crate::protocol::TopicPattern;
use crate::sync::Arc;

/// Who made a request or opened a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// No key is configured: everyone may do everything.
    Everyone,
    /// The holder of this key.
    Holder(Arc<Key>),
}

impl Principal {
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        self.key().is_none_or(|key| key.may_publish(topic))
    }

    pub(crate) fn may_subscribe(&self, topic: &str) -> bool {
        self.key().is_none_or(|key| key.may_subscribe(topic))
    }

    /// Whether it may subscribe to every topic that the pattern matches.
    pub(crate) fn may_subscribe_to_all(&self, pattern: &TopicPattern) -> bool {
        let key = self.key();
        key.is_none_or(|key| key.may_subscribe_to_all(pattern))
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.key().is_none_or(|key| key.admin)
    }

    /// The name of the key, for the log.
    pub(crate) fn name(&self) -> Option<&str> {
        self.key().map(|key| key.name.as_str())
    }

    fn key(&self) -> Option<&Key> {
        match self {
            Principal::Everyone => None,
            Principal::Holder(key) => Some(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_may_do_everything() {
        let everyone = Principal::Everyone;
        assert!(everyone.is_admin() && everyone.may_publish("a") && everyone.may_subscribe("a"));
        assert_eq!(everyone.name(), None);
    }
}
