//! JSON Web Tokens (RFC 7519): who holds one, what it allows, and for how long.
//!
//! In reading order: [`secret`] and [`source`] are the settings; [`verification_keys`] reads public keys; [`claims`] makes a token of
//! what a signed text claims; [`verifier`] checks a text. With a JWKS at a URL, [`refresh`] decides when it is fetched, and [`fetch`] fetches it.
//!
//! A text is a token only if its signature is right under the one algorithm of a key that is configured. The header of a text
//! names a key; it never decides how that key is used. No error made here contains a part of a text.

mod claims;
mod fetch;
mod refresh;
mod secret;
mod source;
mod verification_keys;
mod verifier;

use std::time::{Duration, Instant};

pub use secret::{InvalidJwtSecret, JwtSecret};
pub use source::{InvalidJwtKeys, JwtKeys};

pub(crate) use refresh::{Outcome, Refresh};
pub(crate) use verifier::{TokenSettings, Verifier};

use super::Rights;
use crate::protocol::{Timestamp, UserName};

/// The largest text that is looked at. A head has room for 16 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 << 10;

/// What a valid token says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(super) user: Option<UserName>,
    pub(super) rights: Rights,
    pub(super) expiry: Expiry,
}

/// When a token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// Measured when the token was checked: a change of the clock does not move it.
    at: Instant,
    /// Its claim `exp`: seconds since 1970.
    secs: u64,
}

impl Expiry {
    /// At this second since 1970, which is this long from now.
    pub(crate) fn after(left: Duration, secs: u64) -> Expiry {
        Expiry {
            at: Instant::now() + left,
            secs,
        }
    }

    pub(crate) fn at(self) -> Instant {
        self.at
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_micros(self.secs * 1_000_000)
    }

    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.at
    }
}

/// Why a text is not accepted as a token. For the log and the metrics; a client does not get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not a signed token: not three parts in base64url, no JSON, too large, an algorithm that does not exist or is `none`.
    Malformed,
    /// Its algorithm is not the one of the key.
    Algorithm,
    /// No key has its key id, or it has none and there are several keys.
    UnknownKey,
    /// The public keys have not been fetched yet.
    NoKeys,
    Signature,
    Expired,
    NotYetValid,
    Audience,
    Issuer,
    /// A claim is missing or wrong.
    Claims,
}

impl Refused {
    pub(crate) const LABELS: [&'static str; 10] = [
        "malformed",
        "algorithm",
        "unknown_key",
        "no_keys",
        "signature",
        "expired",
        "not_yet_valid",
        "audience",
        "issuer",
        "claims",
    ];

    /// The label in the metrics and the log.
    pub(crate) fn label(self) -> &'static str {
        Refused::LABELS[self as usize]
    }
}
