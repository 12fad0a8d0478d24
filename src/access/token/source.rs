//! Where the public keys that check tokens come from: a file, or an https URL.

use std::fmt;
use std::path::{Path, PathBuf};

use ureq::http::Uri;

const MAX_URL_CHARS: usize = 2048;

/// Where the public keys are that check tokens: a file with a public key (PEM) or with a JWKS, or the https URL of a JWKS.
///
/// ```
/// use threadcast::JwtKeys;
///
/// assert!(JwtKeys::new("https://login.example/.well-known/jwks.json").is_ok());
/// assert!(JwtKeys::new("keys/public.pem").is_ok());
/// assert!(JwtKeys::new("http://login.example/jwks.json").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtKeys(Source);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Url(String),
}

impl JwtKeys {
    /// A text with `://` in it is a URL, any other a path.
    ///
    /// # Errors
    /// [`InvalidJwtKeys`] for an empty text, and for a URL without https, without a host, or with a user or a password.
    pub fn new(text: &str) -> Result<JwtKeys, InvalidJwtKeys> {
        match text {
            "" => Err(InvalidJwtKeys),
            url if url.contains("://") => match is_https(url) {
                true => Ok(JwtKeys(Source::Url(url.to_owned()))),
                false => Err(InvalidJwtKeys),
            },
            path => Ok(JwtKeys(Source::File(path.into()))),
        }
    }

    /// The path, if it is a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            Source::Url(_) => None,
        }
    }

    /// The URL, if it is one.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match &self.0 {
            Source::File(_) => None,
            Source::Url(url) => Some(url),
        }
    }
}

/// A URL in a log must hold no secret, so neither a user nor a password is allowed.
fn is_https(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    url.len() <= MAX_URL_CHARS
        && uri.scheme_str() == Some("https")
        && has_host
        && !authority.contains('@')
}

impl fmt::Display for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => path.display().fmt(f),
            Source::Url(url) => f.write_str(url),
        }
    }
}

/// The text is neither a path nor an https URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidJwtKeys;

impl fmt::Display for InvalidJwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a file with a public key (PEM) or a JWKS, or the https URL of a JWKS without a user or a password",
        )
    }
}

impl std::error::Error for InvalidJwtKeys {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_https_url_is_a_url_and_anything_else_a_path() {
        for url in [
            "https://a/",
            "https://a:8443/jwks?x=y",
            "https://[::1]/jwks",
            "HTTPS://a/b",
        ] {
            assert_eq!(JwtKeys::new(url).unwrap().url(), Some(url));
        }
        for path in ["a.pem", "/etc/keys/jwks.json", "./https:/a"] {
            assert_eq!(JwtKeys::new(path).unwrap().file(), Some(Path::new(path)));
        }
        let long = format!("https://a/{}", "x".repeat(MAX_URL_CHARS));
        for wrong in [
            "",
            "http://a/b",
            "file:///a",
            "https://",
            "https:///a",
            "https://u:p@a/",
            &long,
        ] {
            assert_eq!(JwtKeys::new(wrong), Err(InvalidJwtKeys), "{wrong}");
        }
    }
}
