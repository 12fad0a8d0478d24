//! Signs tokens, to try them out.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use super::token::JwtSecret;
use crate::protocol::{TopicFilter, UserName};

/// A token to be signed with the secret of a server (HS256). Who signs tokens for others usually does so elsewhere, with a library
/// for JSON Web Tokens.
///
/// ```
/// use std::time::Duration;
/// use threadcast::{JwtSecret, NewToken};
///
/// let secret = JwtSecret::new("0123456789abcdef0123456789abcdef")?;
/// let token = NewToken {
///     user: Some("ann".to_owned()),
///     subscribe: vec!["shop.*".to_owned()],
///     ..NewToken::expiring_in(Duration::from_secs(3600))
/// };
/// assert_eq!(token.sign(&secret)?.split('.').count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// How long it is valid from now on.
    pub expires_in: Duration,
    /// The claim `sub`: the user.
    pub user: Option<String>,
    /// The topics that its holder may publish to: names or patterns.
    pub publish: Vec<String>,
    /// The topics that its holder may subscribe to: names or patterns.
    pub subscribe: Vec<String>,
    /// Whether its holder may create and delete topics, and read the state of the server.
    pub admin: bool,
    /// The claim `aud`.
    pub audience: Option<String>,
    /// The claim `iss`.
    pub issuer: Option<String>,
}

/// Why no token was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewTokenError {
    /// The user is not 1 to 128 characters, or has control characters.
    User,
    /// One of the topics is neither a name nor a pattern.
    Topic,
    /// The signature could not be made.
    Signature,
}

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: u64,
    exp: u64,
    threadcast: Grant<'a>,
}

#[derive(Serialize)]
struct Grant<'a> {
    publish: &'a [String],
    subscribe: &'a [String],
    admin: bool,
}

impl NewToken {
    /// A token without a user and without rights.
    #[must_use]
    pub fn expiring_in(time: Duration) -> NewToken {
        NewToken {
            expires_in: time,
            user: None,
            publish: Vec::new(),
            subscribe: Vec::new(),
            admin: false,
            audience: None,
            issuer: None,
        }
    }

    /// The token as a client presents it.
    ///
    /// # Errors
    /// [`NewTokenError`] for what no server would accept.
    pub fn sign(&self, secret: &JwtSecret) -> Result<String, NewTokenError> {
        if let Some(user) = &self.user {
            UserName::new(user).ok_or(NewTokenError::User)?;
        }
        for topic in self.publish.iter().chain(&self.subscribe) {
            TopicFilter::parse(topic).map_err(|_| NewTokenError::Topic)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let claims = Claims {
            sub: self.user.as_deref(),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
            iat: now.as_secs(),
            exp: now.saturating_add(self.expires_in).as_secs(),
            threadcast: Grant {
                publish: &self.publish,
                subscribe: &self.subscribe,
                admin: self.admin,
            },
        };
        let key = EncodingKey::from_secret(secret.bytes());
        key.and_then(|key| encode(&Header::default(), &claims, &key))
            .map_err(|_| NewTokenError::Signature)
    }
}

impl fmt::Display for NewTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NewTokenError::User => "a user is 1 to 128 characters without control characters",
            NewTokenError::Topic => "a topic is a name, or a pattern with one to four *",
            NewTokenError::Signature => "the token could not be signed",
        })
    }
}

impl std::error::Error for NewTokenError {}
