//! What both sides of TLS need: what was received, and whose certificates are accepted.

mod authorities;
mod received;

pub(crate) use authorities::{authorities, for_requests};
#[cfg(feature = "server")]
pub(crate) use received::End;
pub(crate) use received::{RECORD_BYTES, Received};
