//! A key with its rights, and the set of keys in which a presented secret is looked up.

use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::Rights;
use super::digest::Digest;
use crate::sync::Arc;

/// The longest name of a key, in characters.
pub(super) const MAX_NAME_CHARS: usize = 128;

/// The name of the API key in the log. A key of the file may have the same name.
const API_KEY_NAME: &str = "api_key";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(super) name: String,
    pub(super) digest: Digest,
    pub(super) rights: Rights,
}

impl Key {
    /// The API key, which has all rights.
    pub(super) fn api_key(digest: Digest) -> Key {
        Key {
            name: API_KEY_NAME.to_owned(),
            digest,
            rights: Rights::everything(),
        }
    }
}

/// Whether this is a valid name of a key: 1 to 128 printable ASCII characters.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// All valid keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    pub(super) fn new(keys: impl IntoIterator<Item = Key>) -> KeySet {
        KeySet(keys.into_iter().map(Arc::new).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first key with this secret. Compares with every key in constant time, so that the duration reveals nothing.
    pub(super) fn find(&self, presented: &Digest) -> Option<&Arc<Key>> {
        let mut found = u64::MAX;
        // In reverse, so that the first of two equal keys is found.
        for (at, key) in self.0.iter().enumerate().rev() {
            found.conditional_assign(&(at as u64), key.digest.ct_eq(presented));
        }
        usize::try_from(found).ok().and_then(|at| self.0.get(at))
    }

    /// Whether the set contains this key with the same rights.
    pub(super) fn contains(&self, key: &Arc<Key>) -> bool {
        self.0.iter().any(|own| Arc::ptr_eq(own, key) || own == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TopicFilter;
    use proptest::prelude::*;

    fn key(secret: &str, publish: &[&str]) -> Key {
        let publish = publish.iter();
        Key {
            name: secret.to_owned(),
            digest: Digest::of(secret.as_bytes()),
            rights: Rights {
                publish: publish
                    .map(|text| TopicFilter::parse(text).unwrap())
                    .collect(),
                ..Rights::default()
            },
        }
    }

    #[test]
    fn key_with_other_rights_is_a_different_key() {
        let set = KeySet::new([key("k", &["a"])]);
        assert!(set.contains(&Arc::new(key("k", &["a"]))));
        assert!(!set.contains(&Arc::new(key("k", &["b"]))));
        assert!(!set.contains(&Arc::new(key("other", &["a"]))));
    }

    #[test]
    fn first_of_two_keys_with_the_same_secret_is_used() {
        let set = KeySet::new([Key::api_key(Digest::of(b"k")), key("k", &[])]);
        assert!(set.find(&Digest::of(b"k")).unwrap().rights.admin);
    }

    proptest! {
        #[test]
        fn find_returns_exactly_the_key_of_the_secret(count in 0..20_u8, asked in 0..25_u8) {
            let secret = |n: u8| format!("secret-{n}");
            let set = KeySet::new((0..count).map(|n| key(&secret(n), &[])));
            let found = set.find(&Digest::of(secret(asked).as_bytes()));
            let expected = (asked < count).then(|| secret(asked));
            prop_assert_eq!(found.map(|key| key.name.clone()), expected);
        }
    }
}
