//! Entries of files of keys.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The entry of a key with these lines for its rights.
pub(crate) fn entry(name: &str, secret: &str, rights: &str) -> String {
    let sha256 = HEXLOWER.encode(&Sha256::digest(secret));
    format!("[[key]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n{rights}\n\n")
}
