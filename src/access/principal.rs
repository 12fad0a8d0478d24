//! The principal of a request or a connection, and its rights.

use super::Rights;
use super::key::Key;
use super::token::{Expiry, Token};
use crate::protocol::{TopicPattern, UserName};
use crate::sync::Arc;

/// Who made a request or opened a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// No key is configured: everyone may do everything.
    Everyone,
    /// The holder of this key.
    Holder(Arc<Key>),
    /// The holder of this token.
    Bearer(Arc<Token>),
}

impl Principal {
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        self.rights().is_none_or(|rights| rights.may_publish(topic))
    }

    pub(crate) fn may_subscribe(&self, topic: &str) -> bool {
        let rights = self.rights();
        rights.is_none_or(|rights| rights.may_subscribe(topic))
    }

    /// Whether it may subscribe to every topic that the pattern matches.
    pub(crate) fn may_subscribe_to_all(&self, pattern: &TopicPattern) -> bool {
        let rights = self.rights();
        rights.is_none_or(|rights| rights.may_subscribe_to_all(pattern))
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.rights().is_none_or(|rights| rights.admin)
    }

    /// The name of the key, for the log.
    pub(crate) fn key_name(&self) -> Option<&str> {
        match self {
            Principal::Holder(key) => Some(&key.name),
            Principal::Everyone | Principal::Bearer(_) => None,
        }
    }

    /// The user of the token, if it names one.
    pub(crate) fn user(&self) -> Option<&UserName> {
        self.token().and_then(|token| token.user.as_ref())
    }

    /// When the token expires; `None` for everyone else.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        self.token().map(|token| token.expiry)
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.expiry().is_some_and(Expiry::has_passed)
    }

    fn token(&self) -> Option<&Token> {
        match self {
            Principal::Bearer(token) => Some(token),
            Principal::Everyone | Principal::Holder(_) => None,
        }
    }

    /// `None` is everything.
    fn rights(&self) -> Option<&Rights> {
        match self {
            Principal::Everyone => None,
            Principal::Holder(key) => Some(&key.rights),
            Principal::Bearer(token) => Some(&token.rights),
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
        assert_eq!(everyone.key_name(), None);
        assert!(!everyone.has_expired());
    }
}
