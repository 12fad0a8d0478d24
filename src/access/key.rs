//! A key: whose secret it is, and what its holder may do. And the set of them that a presented secret is looked up in.

use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::digest::Digest;
use crate::protocol::TopicFilter;
use crate::sync::Arc;

/// The longest name of a key, in characters.
pub(super) const MAX_NAME_CHARS: usize = 128;

/// What the single key is called in the log. A key of a file may have the same name, and is another one.
const API_KEY_NAME: &str = "api_key";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) publish: Vec<TopicFilter>,
    pub(super) subscribe: Vec<TopicFilter>,
    pub(super) admin: bool,
}

impl Key {
    /// The one that may do everything.
    pub(super) fn api_key(digest: Digest) -> Key {
        let everything = || TopicFilter::parse("*").into_iter().collect();
        Key {
            name: API_KEY_NAME.to_owned(),
            digest,
            publish: everything(),
            subscribe: everything(),
            admin: true,
        }
    }

    pub(super) fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|pattern| pattern.matches(topic))
    }

    pub(super) fn may_subscribe(&self, topic: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.matches(topic))
    }
}

/// Whether a key can be called this: 1 to 128 printable ASCII characters.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// All keys in force.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    pub(super) fn new(keys: impl IntoIterator<Item = Key>) -> KeySet {
        KeySet(keys.into_iter().map(Arc::new).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first key of this secret. Compares with every key in constant time, so that how long it takes tells nothing.
    pub(super) fn find(&self, presented: &Digest) -> Option<&Arc<Key>> {
        let mut found = u64::MAX;
        // Backwards, so that the first of two equal ones wins.
        for (at, key) in self.0.iter().enumerate().rev() {
            found.conditional_assign(&(at as u64), key.digest.ct_eq(presented));
        }
        usize::try_from(found).ok().and_then(|at| self.0.get(at))
    }

    /// Whether this very key, with these rights, is among them.
    pub(super) fn contains(&self, key: &Arc<Key>) -> bool {
        self.0.iter().any(|own| Arc::ptr_eq(own, key) || own == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(secret: &str, publish: &[&str], subscribe: &[&str]) -> Key {
        let patterns = |texts: &[&str]| {
            texts
                .iter()
                .filter_map(|text| TopicFilter::parse(text))
                .collect()
        };
        Key {
            name: secret.to_owned(),
            digest: Digest::of(secret.as_bytes()),
            publish: patterns(publish),
            subscribe: patterns(subscribe),
            admin: false,
        }
    }

    #[test]
    fn publishing_and_subscribing_are_rights_apart() {
        let key = key("k", &["orders", "shop.*"], &["logs"]);
        assert!(
            key.may_publish("orders") && key.may_publish("shop.eu") && !key.may_publish("logs")
        );
        assert!(key.may_subscribe("logs") && !key.may_subscribe("orders"));
    }

    #[test]
    fn the_api_key_may_do_everything() {
        let key = Key::api_key(Digest::of(b"k"));
        assert!(key.admin && key.may_publish("a.b:c") && key.may_subscribe("_"));
    }

    #[test]
    fn a_key_with_other_rights_is_another_key() {
        let set = KeySet::new([key("k", &["a"], &[])]);
        assert!(set.contains(&Arc::new(key("k", &["a"], &[]))));
        assert!(!set.contains(&Arc::new(key("k", &["b"], &[]))));
        assert!(!set.contains(&Arc::new(key("other", &["a"], &[]))));
    }

    #[test]
    fn of_two_keys_with_one_secret_the_first_counts() {
        let set = KeySet::new([Key::api_key(Digest::of(b"k")), key("k", &[], &[])]);
        assert!(set.find(&Digest::of(b"k")).unwrap().admin);
    }

    proptest! {
        #[test]
        fn exactly_the_key_of_the_secret_is_found(count in 0..20_u8, asked in 0..25_u8) {
            let secret = |n: u8| format!("secret-{n}");
            let set = KeySet::new((0..count).map(|n| key(&secret(n), &[], &[])));
            let found = set.find(&Digest::of(secret(asked).as_bytes()));
            let expected = (asked < count).then(|| secret(asked));
            prop_assert_eq!(found.map(|key| key.name.clone()), expected);
        }
    }
}
