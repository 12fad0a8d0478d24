//! The claims of a token whose signature is right: what they may be, and the token that they make.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::{Expiry, Refused, Token};
use crate::access::Rights;
use crate::protocol::{NamedFields, TopicFilter, UserName};

/// The most patterns in each list.
const MAX_PATTERNS: usize = 100;
/// A later `exp` counts as this one, the latest that a timestamp can show.
const MAX_EXP_SECS: u64 = 253_402_207_200;
/// A timer that is further away never ends.
const MAX_LEFT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Other claims are not looked at. `nbf`, `aud` and `iss` are checked with the signature; that they have a right form is checked
/// here. A claim that appears twice is an error of serde.
#[derive(Deserialize)]
pub(super) struct Claims {
    exp: f64,
    #[serde(rename = "iss")]
    _iss: Option<String>,
    sub: Option<String>,
    threadcast: Option<NamedFields<Grant>>,
}

/// What the token allows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    admin: bool,
}

impl Claims {
    pub(super) fn into_token(self) -> Result<Token, Refused> {
        let user = self
            .sub
            .map(|sub| UserName::new(&sub).ok_or(Refused::Claims));
        Ok(Token {
            expiry: expiry(self.exp)?,
            user: user.transpose()?,
            rights: match self.threadcast {
                Some(NamedFields(grant)) => grant.into_rights()?,
                None => Rights::default(),
            },
        })
    }
}

impl Grant {
    fn into_rights(self) -> Result<Rights, Refused> {
        Ok(Rights {
            publish: filters(&self.publish)?,
            subscribe: filters(&self.subscribe)?,
            admin: self.admin,
        })
    }
}

fn filters(texts: &[String]) -> Result<Vec<TopicFilter>, Refused> {
    if texts.len() > MAX_PATTERNS {
        return Err(Refused::Claims);
    }
    let filters = texts.iter().map(|text| TopicFilter::parse(text));
    filters
        .collect::<Result<_, _>>()
        .map_err(|_| Refused::Claims)
}

/// A token must not be accepted at its `exp` (RFC 7519 §4.1.4). Fractions of a second are cut off.
fn expiry(exp: f64) -> Result<Expiry, Refused> {
    if exp.is_nan() || exp < 0.0 {
        return Err(Refused::Claims);
    }
    let secs = (exp as u64).min(MAX_EXP_SECS);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let left = Duration::from_secs(secs).saturating_sub(now.unwrap_or_default());
    match left.is_zero() {
        true => Err(Refused::Expired),
        false => Ok(Expiry::after(left.min(MAX_LEFT), secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Result<Token, Refused> {
        let claims = serde_json::from_str::<NamedFields<Claims>>(claims);
        claims
            .map_err(|_| Refused::Claims)
            .and_then(|NamedFields(claims)| claims.into_token())
    }

    #[test]
    fn a_token_has_the_user_and_the_rights_that_it_claims() {
        let claims = r#"{"exp":99999999999,"sub":"ann","threadcast":{"publish":["orders"],"subscribe":["shop.*"]}}"#;
        let token = token(claims).unwrap();
        assert_eq!(token.user.as_ref().map(UserName::as_str), Some("ann"));
        assert!(token.rights.may_publish("orders") && !token.rights.may_publish("shop.eu"));
        assert!(token.rights.may_subscribe("shop.eu") && !token.rights.admin);
        assert_eq!(
            token.expiry.timestamp().as_str(),
            "5138-11-16T09:46:39.000000Z"
        );
    }

    #[test]
    fn a_token_without_the_claim_has_no_rights_and_without_sub_no_user() {
        let token = token(r#"{"exp":99999999999}"#).unwrap();
        assert_eq!((token.user, token.rights), (None, Rights::default()));
    }

    #[test]
    fn what_is_malformed_is_refused_whole() {
        let many = format!("[{}]", vec!["\"a\""; MAX_PATTERNS + 1].join(","));
        let long = "x".repeat(129);
        for (claims, refused) in [
            ("[99999999999]".to_owned(), Refused::Claims),
            ("{}".to_owned(), Refused::Claims),
            (r#"{"exp":"99999999999"}"#.to_owned(), Refused::Claims),
            (r#"{"exp":null}"#.to_owned(), Refused::Claims),
            (r#"{"exp":-1}"#.to_owned(), Refused::Claims),
            (r#"{"exp":1e999}"#.to_owned(), Refused::Claims),
            (r#"{"exp":1.5}"#.to_owned(), Refused::Expired),
            (
                r#"{"exp":99999999999,"exp":99999999999}"#.to_owned(),
                Refused::Claims,
            ),
            (r#"{"exp":99999999999,"sub":1}"#.to_owned(), Refused::Claims),
            (
                r#"{"exp":99999999999,"sub":""}"#.to_owned(),
                Refused::Claims,
            ),
            (
                format!(r#"{{"exp":99999999999,"sub":"{long}"}}"#),
                Refused::Claims,
            ),
            (
                r#"{"exp":99999999999,"sub":"a\nb"}"#.to_owned(),
                Refused::Claims,
            ),
            (
                r#"{"exp":99999999999,"iss":["a"]}"#.to_owned(),
                Refused::Claims,
            ),
        ] {
            assert_eq!(token(&claims), Err(refused), "{claims}");
        }
        for grant in [
            "1",
            "[]",
            r#"["a"]"#,
            r#"{"publish":"a"}"#,
            r#"{"publish":[1]}"#,
            r#"{"publish":null}"#,
            r#"{"publish":[""]}"#,
            r#"{"publish":["a b"]}"#,
            r#"{"subscribe":["*****"]}"#,
            r#"{"admin":"true"}"#,
            r#"{"admin":1}"#,
            r#"{"Publish":["a"]}"#,
            r#"{"publish":[],"publish":[]}"#,
            &format!(r#"{{"publish":{many}}}"#),
        ] {
            let claims = format!(r#"{{"exp":99999999999,"threadcast":{grant}}}"#);
            assert_eq!(token(&claims), Err(Refused::Claims), "{claims}");
        }
    }

    #[test]
    fn an_exp_in_the_far_future_is_as_good_as_any() {
        let token = token(r#"{"exp":1e300}"#).unwrap();
        assert_eq!(
            token.expiry.timestamp().as_str(),
            "9999-12-30T22:00:00.000000Z"
        );
        assert!(!token.expiry.has_passed());
    }
}
