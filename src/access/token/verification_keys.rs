//! The public keys that check tokens, each with the one algorithm that it is for.

use jsonwebtoken::crypto::CryptoProvider;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
    RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::Refused;
use crate::sync::Arc;

/// The most bytes of a file or a response with keys.
pub(super) const MAX_BYTES: usize = 256 << 10;
/// The most keys of a JWKS.
const MAX_KEYS: usize = 100;
/// Of a modulus in base64url: 2048 to 8192 bits.
const MODULUS_CHARS: std::ops::RangeInclusive<usize> = 342..=1366;

/// A key, and what it is for.
pub(super) struct VerificationKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl VerificationKey {
    pub(super) fn new(
        id: Option<String>,
        algorithm: Algorithm,
        key: DecodingKey,
    ) -> VerificationKey {
        VerificationKey { id, algorithm, key }
    }
}

/// The keys of a file or a URL.
#[derive(Default)]
pub(super) struct VerificationKeys(Vec<Arc<VerificationKey>>);

impl VerificationKeys {
    /// Reads a public key in PEM or a JWKS. The error is one line, and contains nothing of the text.
    pub(super) fn parse(text: &[u8]) -> Result<VerificationKeys, String> {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let keys = match first {
            Some(b'{') => of_set(text)?,
            _ => vec![of_pem(text)?],
        };
        Ok(VerificationKeys(keys.into_iter().map(Arc::new).collect()))
    }

    /// The key for a token with this algorithm and this key id. A single key needs no id, on either side.
    pub(super) fn find(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Arc<VerificationKey>, Refused> {
        let is_meant = |key: &&Arc<VerificationKey>| match (&key.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => self.0.len() == 1,
        };
        let mut meant = self.0.iter().filter(is_meant).peekable();
        if meant.peek().is_none() {
            return Err(match self.0.is_empty() {
                true => Refused::NoKeys,
                false => Refused::UnknownKey,
            });
        }
        let found = meant.find(|key| key.algorithm == algorithm);
        found.cloned().ok_or(Refused::Algorithm)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Keys that are not for checking signatures, or for algorithms that are not known here, are left out.
fn of_set(text: &[u8]) -> Result<Vec<VerificationKey>, String> {
    let set: Set = serde_json::from_slice(text).map_err(|_| "it is no JWKS".to_owned())?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    let keys = set.keys.into_iter().filter_map(of_jwk);
    let keys: Vec<VerificationKey> = keys.collect();
    match keys.is_empty() {
        true => Err("it has no key for RS256, ES256 or EdDSA".to_owned()),
        false => Ok(keys),
    }
}

fn of_jwk(value: Value) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let is_for_signatures = common
        .public_key_use
        .as_ref()
        .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_for_signatures || !verifies {
        return None;
    }
    let algorithm = algorithm_of(&jwk)?;
    let stated = common.key_algorithm;
    if stated.is_some_and(|stated| stated != KeyAlgorithm::from(algorithm)) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    checked(jwk.common.key_id, algorithm, key)
}

/// A symmetric key has no business among public keys: it is never used.
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    match &jwk.algorithm {
        AlgorithmParameters::RSA(RSAKeyParameters { n, .. }) => {
            MODULUS_CHARS.contains(&n.len()).then_some(Algorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Some(Algorithm::EdDSA)
        }
        _ => None,
    }
}

/// One key, under `PUBLIC KEY` or `RSA PUBLIC KEY`.
fn of_pem(text: &[u8]) -> Result<VerificationKey, String> {
    let text = str::from_utf8(text).unwrap_or_default();
    let labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN "))
        .collect();
    match labels[..] {
        ["PUBLIC KEY-----" | "RSA PUBLIC KEY-----"] => {}
        [label] if label.contains("PRIVATE") => {
            return Err("it has a private key; the public one is needed".to_owned());
        }
        [] | [_] => return Err("it is neither a public key (PEM) nor a JWKS".to_owned()),
        _ => return Err("several PEM blocks; several keys need a JWKS".to_owned()),
    }
    let key = DecodingKey::from_rsa_pem(text.as_bytes())
        .or_else(|_| DecodingKey::from_ec_pem(text.as_bytes()))
        .or_else(|_| DecodingKey::from_ed_pem(text.as_bytes()))
        .ok();
    let known = key.and_then(|key| {
        let jwk = Jwk::from_decoding_key(&key, None).ok()?;
        checked(None, algorithm_of(&jwk)?, key)
    });
    known
        .ok_or_else(|| "a public key must be RSA of 2048 to 8192 bits, P-256 or Ed25519".to_owned())
}

/// The key, if it can check anything.
fn checked(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Option<VerificationKey> {
    let provider = CryptoProvider::try_get_default()?;
    (provider.verifier_factory)(&algorithm, &key).ok()?;
    Some(VerificationKey::new(id, algorithm, key))
}

#[cfg(test)]
pub(super) mod tests;
