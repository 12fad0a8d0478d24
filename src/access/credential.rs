//! A credential: the text that a client presents, which is the secret of a key or a token.

use std::fmt;

use super::Digest;

/// Looked up by its digest; the text itself is only needed if it may be a token. Never shown.
#[derive(Clone)]
pub(crate) struct Credential {
    text: Box<[u8]>,
    digest: Digest,
}

impl Credential {
    pub(crate) fn new(text: &[u8]) -> Credential {
        Credential {
            text: text.into(),
            digest: Digest::of(text),
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// In constant time.
impl PartialEq for Credential {
    fn eq(&self, other: &Credential) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(not shown)")
    }
}
