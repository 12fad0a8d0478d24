//! The API key: the one configured key that has all rights.

use std::fmt;

use super::Digest;

/// Limit for the length of a secret.
const MAX_CHARS: usize = 1024;

/// The key of a server that has all rights. Only its SHA-256 is kept.
///
/// ```
/// use threadcast::{ApiKey, Config};
///
/// let config = Config { api_key: Some(ApiKey::new("s3cret")?), ..Config::default() };
/// assert!(!format!("{config:?}").contains("s3cret"));
/// # Ok::<(), threadcast::InvalidApiKey>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Digest);

impl ApiKey {
    /// A key with this secret.
    ///
    /// # Errors
    /// [`InvalidApiKey`] unless it is 1 to 1024 visible ASCII characters, which every way of presenting it can carry.
    pub fn new(secret: &str) -> Result<ApiKey, InvalidApiKey> {
        let fits = (1..=MAX_CHARS).contains(&secret.len());
        if fits && secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(ApiKey(Digest::of(secret.as_bytes())))
        } else {
            Err(InvalidApiKey)
        }
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(not shown)")
    }
}

/// The text is not a valid API key. Does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidApiKey;

impl fmt::Display for InvalidApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an API key is 1 to {MAX_CHARS} visible ASCII characters")
    }
}

impl std::error::Error for InvalidApiKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_that_no_header_can_carry_is_refused() {
        for secret in ["", " ", "a b", "a\n", "\u{7f}", "ä", &"x".repeat(1025)] {
            assert_eq!(ApiKey::new(secret), Err(InvalidApiKey), "{secret:?}");
        }
        for secret in ["a", "!~", "a,b;c=\"d\"", &"x".repeat(1024)] {
            assert!(ApiKey::new(secret).is_ok(), "{secret:?}");
        }
    }
}
