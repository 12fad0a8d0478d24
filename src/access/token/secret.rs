//! The secret with which tokens are signed and checked (HS256).

use std::fmt;

use subtle::ConstantTimeEq;

/// RFC 7518 demands as many bytes as the digest has.
const MIN_BYTES: usize = 32;
const MAX_BYTES: usize = 1024;

/// A secret that signs tokens. Never shown.
///
/// ```
/// use threadcast::{Config, JwtSecret};
///
/// let secret = JwtSecret::new("0123456789abcdef0123456789abcdef")?;
/// let config = Config { jwt_secret: Some(secret), ..Config::default() };
/// assert!(!format!("{config:?}").contains("abcdef"));
/// assert!(JwtSecret::new("too short").is_err());
/// # Ok::<(), threadcast::InvalidJwtSecret>(())
/// ```
#[derive(Clone)]
pub struct JwtSecret(Box<[u8]>);

impl JwtSecret {
    /// A secret of these bytes, as they are.
    ///
    /// # Errors
    /// [`InvalidJwtSecret`] unless they are 32 to 1024.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<JwtSecret, InvalidJwtSecret> {
        let secret = secret.as_ref();
        match (MIN_BYTES..=MAX_BYTES).contains(&secret.len()) {
            true => Ok(JwtSecret(secret.into())),
            false => Err(InvalidJwtSecret),
        }
    }

    pub(in crate::access) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for JwtSecret {
    fn eq(&self, other: &JwtSecret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for JwtSecret {}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret(not shown)")
    }
}

/// The bytes are too few or too many for a secret. Does not contain them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidJwtSecret;

impl fmt::Display for InvalidJwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a secret of {MIN_BYTES} to {MAX_BYTES} bytes")
    }
}

impl std::error::Error for InvalidJwtSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_as_many_bytes_as_the_digest() {
        for (bytes, fits) in [
            (0, false),
            (31, false),
            (32, true),
            (1024, true),
            (1025, false),
        ] {
            assert_eq!(JwtSecret::new(vec![b'x'; bytes]).is_ok(), fits, "{bytes}");
        }
    }

    #[test]
    fn secrets_are_equal_exactly_when_their_bytes_are() {
        let secret = |byte: u8, bytes: usize| JwtSecret::new(vec![byte; bytes]).unwrap();
        assert_eq!(secret(1, 32), secret(1, 32));
        assert_ne!(secret(1, 32), secret(2, 32));
        assert_ne!(secret(1, 32), secret(1, 33));
    }
}
