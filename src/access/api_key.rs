//! The single key that may do everything, as it is configured.

use std::fmt;

use super::Digest;

/// Longer secrets are not presented by anybody.
const MAX_CHARS: usize = 1024;

/// The single key of a server, which may do everything. Only its SHA-256 is kept.
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
    /// A key whose holders present this secret.
    ///
    /// # Errors
    /// [`InvalidApiKey`] unless it is 1 to 1024 visible ASCII characters: nothing else fits into every door.
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

/// The text is no API key. It is not told here.
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
    fn what_no_header_could_carry_is_no_key() {
        for secret in ["", " ", "a b", "a\n", "\u{7f}", "ä", &"x".repeat(1025)] {
            assert_eq!(ApiKey::new(secret), Err(InvalidApiKey), "{secret:?}");
        }
        for secret in ["a", "!~", "a,b;c=\"d\"", &"x".repeat(1024)] {
            assert!(ApiKey::new(secret).is_ok(), "{secret:?}");
        }
    }
}
