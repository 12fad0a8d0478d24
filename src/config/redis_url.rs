//! The address of a Redis: a URL whose password is never shown.

use std::fmt;

use ::redis::IntoConnectionInfo;

/// Where a Redis is: `redis://[user:password@]host[:port][/database]`.
///
/// ```
/// use threadcast::config::RedisUrl;
///
/// let url = RedisUrl::new("redis://:secret@redis.example").unwrap();
/// assert_eq!(url.to_string(), "redis://***@redis.example");
/// assert_eq!(RedisUrl::new("http://redis.example"), None);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// `None` if the text is no such URL.
    #[must_use]
    pub fn new(text: &str) -> Option<RedisUrl> {
        let is_known = text.starts_with("redis://");
        let is_valid = is_known && text.into_connection_info().is_ok();
        is_valid.then(|| RedisUrl(text.to_owned()))
    }

    /// The URL, with its password.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

/// Without user and password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => write!(f, "{scheme}://***@{rest}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a text can stand before the keys of a cluster.
pub(super) fn is_prefix(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_valid_or_none() {
        for good in [
            "redis://127.0.0.1",
            "redis://redis.example:6380/2",
            "redis://user:p%40ss@[::1]:6379",
        ] {
            assert!(RedisUrl::new(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            "redis",
            "redis://",
            "http://a",
            "redis://a:port",
            "redis://a/x",
        ] {
            assert!(RedisUrl::new(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://user:hunter2@a:1/0",
            "redis://:hunter2@a",
            "redis://u:hunter2@x@a",
        ] {
            let shown = RedisUrl::new(url).map(|url| format!("{url} {url:?}"));
            assert!(!shown.unwrap_or_default().contains("hunter2"), "{url}");
        }
    }

    #[test]
    fn a_prefix_is_short_and_plain() {
        for good in ["threadcast", "a", "A.b_c-9", &"x".repeat(64)] {
            assert!(is_prefix(good), "{good}");
        }
        for wrong in ["", "a b", "a:b", "a{b}", "ä", &"x".repeat(65)] {
            assert!(!is_prefix(wrong), "{wrong}");
        }
    }
}
