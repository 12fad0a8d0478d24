//! Generates a key: its secret, to be shown once, and its entry for the keys file.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use super::digest::Digest;
use super::key::is_name;

/// Lets people and secret scanners recognise a leaked secret.
const PREFIX: &str = "tc_";
const RANDOM_BYTES: usize = 32;

/// A newly generated key.
///
/// ```
/// use threadcast::NewKey;
///
/// let key = NewKey::generate("dashboard")?;
/// assert!(key.secret().starts_with("tc_"));
/// assert!(key.entry().contains("name = \"dashboard\""));
/// # Ok::<(), threadcast::NewKeyError>(())
/// ```
pub struct NewKey {
    secret: String,
    entry: String,
}

/// Why no key was generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKeyError {
    /// The name is not 1 to 128 printable ASCII characters.
    Name,
    /// The system gave no random bytes.
    Random,
}

impl NewKey {
    /// Generates a secret of 256 random bits, for a key of this name without rights.
    ///
    /// # Errors
    /// [`NewKeyError`] for an invalid name, or if the system gives no random bytes.
    pub fn generate(name: &str) -> Result<NewKey, NewKeyError> {
        if !is_name(name) {
            return Err(NewKeyError::Name);
        }
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|_| NewKeyError::Random)?;
        let secret = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&random));
        let entry = entry(name, &Digest::of(secret.as_bytes()));
        Ok(NewKey { secret, entry })
    }

    /// The secret that the holder presents. It is not stored.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The `[[key]]` entry for the keys file, without the secret.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.entry
    }
}

fn entry(name: &str, digest: &Digest) -> String {
    let name = name.replace('\\', "\\\\").replace('"', "\\\"");
    let sha256 = digest.to_hex();
    format!(
        "[[key]]\n\
         name = \"{name}\"\n\
         sha256 = \"{sha256}\"\n\
         publish = []                   # topic names, or patterns with *\n\
         subscribe = []\n\
         admin = false                  # create and delete topics, read the state of the server\n"
    )
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for NewKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NewKeyError::Name => "1 to 128 printable ASCII characters",
            NewKeyError::Random => "the system gave no random bytes",
        })
    }
}

impl std::error::Error for NewKeyError {}

#[cfg(test)]
mod tests {
    use super::super::{Rights, file::parse};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_unique() {
        let secret = || NewKey::generate("a").unwrap().secret;
        let (one, other) = (secret(), secret());
        assert_ne!(one, other);
        assert_eq!(one.len(), PREFIX.len() + 43);
    }

    #[test]
    fn invalid_key_name_is_refused() {
        for name in ["", "a\nb", "ä", &"x".repeat(129)] {
            assert_eq!(NewKey::generate(name).unwrap_err(), NewKeyError::Name);
        }
    }

    proptest! {
        #[test]
        fn entry_has_the_name_and_the_digest_but_not_the_secret(name in "[ -~]{1,128}") {
            let new = NewKey::generate(&name).unwrap();
            let keys = parse(new.entry()).unwrap();
            prop_assert_eq!(keys.len(), 1);
            prop_assert_eq!(&keys[0].name, &name);
            prop_assert_eq!(&keys[0].digest, &Digest::of(new.secret().as_bytes()));
            prop_assert_eq!(&keys[0].rights, &Rights::default());
            prop_assert!(!new.entry().contains(new.secret()));
            let shown = format!("{new:?}");
            prop_assert!(!shown.contains(new.secret()));
        }
    }
}
