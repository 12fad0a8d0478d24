//! Access control: keys, tokens, their rights, and which of them are valid.
//!
//! In reading order: a [`digest`] identifies a secret, [`rights`] are topic filters, a [`key`] has rights, a [`mod@file`] contains keys,
//! a [`mod@token`] is signed by somebody else, [`guard`] maps a presented [`credential`] to a [`principal`] and reloads the files.
//! [`new_key`] generates secrets, [`new_token`] signs tokens.
//!
//! Does no I/O except reading files and random bytes, and fetching public keys (`token/fetch.rs`). Knows nothing of requests: the server extracts
//! the presented credential. Keeps only the SHA-256 of the secret of a key, and of a token only what it claims; no text made here contains a
//! secret, its digest or a token.

mod api_key;
mod credential;
mod digest;
mod file;
mod guard;
mod key;
mod new_key;
mod new_token;
mod principal;
mod rights;
mod token;

pub use api_key::{ApiKey, InvalidApiKey};
pub use file::InvalidKeysFile;
pub use new_key::{NewKey, NewKeyError};
pub use new_token::{NewToken, NewTokenError};
pub use token::{InvalidJwtKeys, InvalidJwtSecret, JwtKeys, JwtSecret};

pub(crate) use credential::Credential;
pub(crate) use digest::Digest;
pub(crate) use guard::{Denied, Guard};
pub(crate) use principal::Principal;
pub(crate) use rights::Rights;
pub(crate) use token::{Expiry, Outcome, Refresh, Refused, TokenSettings, Verifier};
