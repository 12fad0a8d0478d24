//! Checks texts: which key, the signature, the claims. Holds the keys that are valid now.

use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};

use super::claims::Claims;
use super::refresh::Refresh;
use super::verification_keys::{VerificationKey, VerificationKeys};
use super::{JwtKeys, JwtSecret, MAX_TOKEN_BYTES, Refused, Token};
use crate::access::InvalidKeysFile;
use crate::access::file::read_text;
use crate::access::token::{fetch, verification_keys};
use crate::protocol::NamedFields;
use crate::sync::{Arc, Lock, RwLock, rw_lock};

/// How long a request with an unknown key id waits for the keys to be fetched.
const FETCH_WAIT: Duration = Duration::from_secs(3);

/// Who may sign tokens, and what they must claim.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenSettings {
    pub(crate) secret: Option<JwtSecret>,
    pub(crate) keys: Option<JwtKeys>,
    /// The authorities that may sign the certificate of the keys' server, in PEM; without one, those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
}

/// Checks tokens.
pub(crate) struct Verifier {
    secret: Option<Arc<VerificationKey>>,
    source: Option<JwtKeys>,
    ca_file: Option<PathBuf>,
    /// The valid public keys. Held only to read or replace the pointer; no other lock is taken under it.
    keys: RwLock<Arc<VerificationKeys>>,
    refresh: Option<Refresh>,
    /// What every token must claim; its algorithm is set for each key.
    rules: Validation,
}

impl Verifier {
    /// `None` if nobody may sign tokens.
    ///
    /// # Errors
    /// [`InvalidKeysFile`] if the file with the public keys cannot be read or is wrong.
    pub(crate) fn new(settings: TokenSettings) -> Result<Option<Verifier>, InvalidKeysFile> {
        let TokenSettings {
            secret,
            keys: source,
            ca_file,
            audience,
            issuer,
        } = settings;
        if secret.is_none() && source.is_none() {
            return Ok(None);
        }
        let url = source.as_ref().and_then(JwtKeys::url);
        let verifier = Verifier {
            secret: secret.as_ref().and_then(VerificationKey::of_secret),
            ca_file,
            keys: rw_lock(Lock::TokenKeys, Arc::default()),
            refresh: url.map(|_| Refresh::default()),
            rules: rules(audience.as_ref(), issuer.as_ref()),
            source,
        };
        verifier.read_file()?;
        Ok(Some(verifier))
    }

    /// The token that this text is. If its key is unknown, the keys at a URL are fetched, and the thread waits for that.
    pub(crate) fn verify(&self, text: &[u8]) -> Result<Token, Refused> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refused::Malformed);
        }
        let header = decode_header(text).map_err(|_| Refused::Malformed)?;
        if header.crit.is_some() {
            return Err(Refused::Malformed);
        }
        let key = self.key(&header)?;
        // The algorithm is the one of the key.
        let rules = Validation {
            algorithms: vec![key.algorithm],
            ..self.rules.clone()
        };
        let decoded = decode::<NamedFields<Claims>>(text, &key.key, &rules);
        let NamedFields(claims) = decoded.map_err(|error| refused(&error))?.claims;
        claims.into_token()
    }

    fn key(&self, header: &Header) -> Result<Arc<VerificationKey>, Refused> {
        let (algorithm, id) = (header.alg, header.kid.as_deref());
        if algorithm == Algorithm::HS256 {
            return self.secret.clone().ok_or(Refused::Algorithm);
        }
        if self.source.is_none() {
            return Err(Refused::Algorithm);
        }
        match (self.current().find(algorithm, id), &self.refresh) {
            (Err(Refused::UnknownKey | Refused::NoKeys), Some(refresh))
                if refresh.wait(FETCH_WAIT) =>
            {
                self.current().find(algorithm, id)
            }
            (found, _) => found,
        }
    }

    /// How many keys may have signed a token.
    pub(crate) fn key_count(&self) -> usize {
        usize::from(self.secret.is_some()) + self.current().len()
    }

    /// Reads the file again; `false` if there is none.
    ///
    /// # Errors
    /// [`InvalidKeysFile`]; the valid keys stay unchanged.
    pub(crate) fn read_file(&self) -> Result<bool, InvalidKeysFile> {
        let Some(path) = self.source.as_ref().and_then(JwtKeys::file) else {
            return Ok(false);
        };
        let max = verification_keys::MAX_BYTES as u64;
        let text = read_text(path, max).map_err(|error| error.to_string());
        let keys = text.and_then(|text| VerificationKeys::parse(text.as_bytes()));
        let keys = keys.map_err(|reason| InvalidKeysFile {
            file: path.to_owned(),
            reason,
        })?;
        self.replace(keys);
        Ok(true)
    }

    /// Fetches the keys at the URL, and returns how many there are.
    ///
    /// # Errors
    /// One line for people; the valid keys stay unchanged.
    pub(crate) fn fetch(&self, url: &str) -> Result<usize, String> {
        let text = fetch::get(url, self.ca_file.as_deref(), verification_keys::MAX_BYTES)?;
        let keys = VerificationKeys::parse(&text)?;
        let count = keys.len();
        self.replace(keys);
        Ok(count)
    }

    /// The URL of the keys and what decides when they are fetched.
    pub(crate) fn refresh(&self) -> Option<(&str, &Refresh)> {
        let url = self.source.as_ref().and_then(JwtKeys::url)?;
        Some((url, self.refresh.as_ref()?))
    }

    fn replace(&self, keys: VerificationKeys) {
        *self.keys.write() = Arc::new(keys);
    }

    fn current(&self) -> Arc<VerificationKeys> {
        Arc::clone(&self.keys.read())
    }
}

impl VerificationKey {
    fn of_secret(secret: &JwtSecret) -> Option<Arc<VerificationKey>> {
        let key = DecodingKey::from_secret(secret.bytes()).ok()?;
        Some(Arc::new(VerificationKey::new(None, Algorithm::HS256, key)))
    }
}

/// A token with an audience is only for those who are that audience: where none is configured, it is refused.
fn rules(audience: Option<&String>, issuer: Option<&String>) -> Validation {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.leeway = 0;
    rules.validate_nbf = true;
    let mut required = vec!["exp"];
    if let Some(audience) = audience {
        rules.set_audience(&[audience]);
        required.push("aud");
    }
    if let Some(issuer) = issuer {
        rules.set_issuer(&[issuer]);
        required.push("iss");
    }
    rules.set_required_spec_claims(&required);
    rules
}

fn refused(error: &Error) -> Refused {
    match error.kind() {
        ErrorKind::InvalidSignature => Refused::Signature,
        ErrorKind::InvalidAlgorithm => Refused::Algorithm,
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::NotYetValid,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::InvalidIssuer => Refused::Issuer,
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            match claim.as_str() {
                "aud" => Refused::Audience,
                "iss" => Refused::Issuer,
                _ => Refused::Claims,
            }
        }
        ErrorKind::Json(_) => Refused::Claims,
        _ => Refused::Malformed,
    }
}

#[cfg(test)]
mod tests;
