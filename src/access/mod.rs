//! Who may do what: keys, what each may do, and which of them are in force.
//!
//! In reading order: a [`digest`] stands for a secret, a [`key`] says what its holder may do (with [`pattern`]s of topic
//! names), a [`mod@file`] holds keys, [`guard`] tells a presented secret's [`principal`] and reads the file again.
//! [`new_key`] makes secrets up.
//!
//! Pure, but for reading the file and the random bytes of a new key. Knows no HTTP: how a secret is presented is the
//! server's business. No secret is kept here, only its SHA-256; and no text made here holds either.

mod api_key;
mod digest;
mod file;
mod guard;
mod key;
mod new_key;
mod principal;

pub use api_key::{ApiKey, InvalidApiKey};
pub use file::InvalidKeysFile;
pub use new_key::{NewKey, NewKeyError};

pub(crate) use digest::Digest;
pub(crate) use guard::Guard;
pub(crate) use principal::Principal;
