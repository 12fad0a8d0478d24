//! Access control: keys, their rights, and which keys are valid.
//!
//! In reading order: a [`digest`] identifies a secret, a [`key`] has rights (with topic filters), a [`mod@file`] contains keys,
//! [`guard`] maps a presented secret to a [`principal`] and reloads the file. [`new_key`] generates secrets.
//!
//! Does no I/O except reading the file and random bytes. Knows no HTTP: the server extracts the presented secret. Keeps only
//! the SHA-256 of a secret; no text made here contains a secret or its digest.

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
