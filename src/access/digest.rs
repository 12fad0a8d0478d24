//! The SHA-256 of a secret. The secret itself is not kept.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

const BYTES: usize = 32;

/// Identifies a secret. Compared in constant time. Never shown, since a weak secret can be guessed from it.
#[derive(Clone)]
pub(crate) struct Digest([u8; BYTES]);

impl Digest {
    pub(crate) fn of(secret: &[u8]) -> Digest {
        Digest(Sha256::digest(secret).into())
    }

    /// Parses 64 hex digits of either case.
    pub(crate) fn from_hex(text: &str) -> Option<Digest> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Digest)
    }

    pub(super) fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// For finding duplicates in a file, which needs no constant time.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl ConstantTimeEq for Digest {
    fn ct_eq(&self, other: &Digest) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digest_is_the_standard_sha_256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_hex(), known);
        assert_eq!(Digest::from_hex(known), Some(Digest::of(b"abc")));
        let upper = known.to_uppercase();
        assert_eq!(Digest::from_hex(&upper), Some(Digest::of(b"abc")));
    }

    #[test]
    fn text_other_than_64_hex_digits_is_refused() {
        let known = Digest::of(b"abc").to_hex();
        for text in [
            "",
            &known[1..],
            &format!("{known}0"),
            &format!("{known}00"),
            &known.replace('b', "g"),
            &format!(" {}", &known[1..]),
        ] {
            assert_eq!(Digest::from_hex(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn digests_are_equal_exactly_when_the_secrets_are(one in "[ab]{0,3}", other in "[ab]{0,3}") {
            prop_assert_eq!(Digest::of(one.as_bytes()) == Digest::of(other.as_bytes()), one == other);
        }

        #[test]
        fn debug_output_reveals_nothing(secret in "[a-z0-9]{8,40}") {
            let digest = Digest::of(secret.as_bytes());
            let shown = format!("{digest:?}");
            prop_assert!(!shown.contains(&secret) && !shown.contains(&digest.to_hex()[..8]));
        }
    }
}
