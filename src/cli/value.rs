//! Parsers from the text of a flag or a variable to its value. Each parser says in one phrase what it allows. The text need
//! not be UTF-8.

mod allowed;
mod files;
mod units;

use std::fmt::{self, Display};
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use threadcast::config::{Config, RedisUrl, normalize_origin};
use threadcast::{ApiKey, InvalidApiKey, InvalidJwtKeys, InvalidJwtSecret, JwtKeys, JwtSecret};

pub(super) use allowed::{Allowed, Change};
pub(super) use files::{certificates, file, private_key};
pub(super) use units::{Bytes, Seconds, Ttl, bytes, seconds, ttl};

/// Digits only: no sign, no space, no separator.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

pub(super) fn port() -> Allowed<u16> {
    Allowed::new("a port number from 0 to 65535".to_owned(), digits)
}

pub(super) fn host() -> Allowed<String> {
    let phrase = "an IP address (IPv6 without brackets) or a host name, without a port";
    Allowed::new(phrase.to_owned(), |text| {
        is_host(text).then(|| text.to_owned())
    })
}

fn is_host(text: &str) -> bool {
    let address = text
        .split_once('%')
        .map_or(text, |(address, _zone)| address);
    let name = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
    };
    address.parse::<Ipv6Addr>().is_ok() || (!text.is_empty() && text.len() <= 253 && name(text))
}

pub(super) fn number<T>(range: RangeInclusive<T>) -> Allowed<T>
where
    T: FromStr + PartialOrd + Display + Send + Sync + 'static,
{
    let phrase = format!("a whole number from {} to {}", range.start(), range.end());
    Allowed::new(phrase, move |text| {
        digits(text).filter(|number| range.contains(number))
    })
}

/// `true` or `false`, in any of the usual spellings.
pub(super) fn switch() -> Allowed<bool> {
    let phrase = "true, false, 1, 0, yes, no, on or off";
    Allowed::new(phrase.to_owned(), |text| {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    })
    .offering(["true", "false"])
}

/// One of these names, or another one that `named` accepts. Case does not matter; `-` is the same as `_`.
pub(super) fn choice<T: 'static, const N: usize>(
    names: [&'static str; N],
    named: fn(&str) -> Option<T>,
) -> Allowed<T> {
    Allowed::new(one_of(&names), move |text| {
        named(&text.to_ascii_lowercase().replace('-', "_"))
    })
    .offering(names)
}

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// Origins, separated by commas; none at all is allowed.
pub(super) fn origins() -> Allowed<Vec<String>> {
    let phrase = "origins like https://shop.example:8443, separated by commas, or *";
    Allowed::new(phrase.to_owned(), |text| {
        if text.is_empty() {
            return Some(Vec::new());
        }
        text.split(',')
            .map(|origin| normalize_origin(origin.trim()))
            .collect()
    })
}

/// Addresses and networks, separated by commas; none at all is allowed.
pub(super) fn networks() -> Allowed<Vec<String>> {
    let phrase = "addresses and networks like 192.0.2.7,10.0.0.0/8, separated by commas";
    Allowed::new(phrase.to_owned(), |text| {
        let networks = text.split(',').map(str::trim).filter(|_| !text.is_empty());
        let config = Config {
            trusted_proxies: networks.map(str::to_owned).collect(),
            ..Config::default()
        };
        config.validate().is_ok().then_some(config.trusted_proxies)
    })
}

/// Names of topics, separated by commas; none at all is allowed.
pub(super) fn topic_names() -> Allowed<Vec<String>> {
    let phrase = "names of topics separated by commas, each 1 to 128 letters, digits or any of . _ : - and beginning with a letter, a digit or _";
    Allowed::new(phrase.to_owned(), |text| {
        let names = text.split(',').map(str::trim).filter(|_| !text.is_empty());
        let topics: Vec<String> = names.map(str::to_owned).collect();
        let config = Config {
            topics: topics.clone(),
            max_topics: usize::MAX,
            ..Config::default()
        };
        let has_wrong = config
            .validate()
            .is_err_and(|wrong| wrong.setting == "topics");
        (!has_wrong).then_some(topics)
    })
}

/// URLs of Redis, separated by commas; none at all is allowed. An error does not show them if
/// there may be a password in them.
pub(super) fn redis_urls() -> Allowed<Vec<RedisUrl>> {
    let phrase = "URLs like rediss://user:password@host:6379 or redis+sentinel://host:26379,host2:26379/master, separated by commas";
    Allowed::new(phrase.to_owned(), |text| match text {
        "" => Some(Vec::new()),
        urls => RedisUrl::list(urls),
    })
    .secret(|urls| urls.contains(['@', '?']))
}

/// The begin of names in Redis.
pub(super) fn redis_prefix() -> Allowed<String> {
    let phrase = "1 to 64 letters, digits, dots, underscores and hyphens";
    Allowed::new(phrase.to_owned(), |text| {
        let config = Config {
            redis_prefix: text.to_owned(),
            ..Config::default()
        };
        config.validate().is_ok().then(|| text.to_owned())
    })
}

/// A host, with or without a port; an empty text is none.
pub(super) fn advertised_address() -> Allowed<Option<String>> {
    let phrase = "host:port or a host, which other machines can reach";
    Allowed::new(phrase.to_owned(), |text| {
        if text.is_empty() {
            return Some(None);
        }
        let config = Config {
            advertised_address: Some(text.to_owned()),
            ..Config::default()
        };
        config
            .validate()
            .is_ok()
            .then_some(config.advertised_address)
    })
}

/// A key; an empty text is none.
pub(super) fn api_key() -> Allowed<Option<ApiKey>> {
    Allowed::new(InvalidApiKey.to_string(), |text| match text {
        "" => Some(None),
        secret => ApiKey::new(secret).ok().map(Some),
    })
    .secret(|_| true)
}

/// The secret of tokens; an empty text is none.
pub(super) fn jwt_secret() -> Allowed<Option<JwtSecret>> {
    Allowed::new(InvalidJwtSecret.to_string(), |text| match text {
        "" => Some(None),
        secret => JwtSecret::new(secret).ok().map(Some),
    })
    .secret(|_| true)
}

/// Where the public keys of tokens are; an empty text is none. An error does not show a password.
pub(super) fn jwt_keys() -> Allowed<Option<JwtKeys>> {
    Allowed::new(InvalidJwtKeys.to_string(), |text| match text {
        "" => Some(None),
        keys => JwtKeys::new(keys).ok().map(Some),
    })
    .secret(|keys| keys.contains('@'))
}

/// What a claim of tokens must be; an empty text is none.
pub(super) fn claim() -> Allowed<Option<String>> {
    let phrase = "1 to 256 characters, none of them a control character";
    Allowed::new(phrase.to_owned(), |text| {
        let fits = text.chars().count() <= 256 && !text.contains(char::is_control);
        fits.then(|| (!text.is_empty()).then(|| text.to_owned()))
    })
}

/// A text that is never shown, not even by `Debug`.
#[derive(Clone)]
pub(super) struct Secret(pub(super) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

pub(super) fn secret() -> Allowed<Secret> {
    let phrase = "visible ASCII characters only, and at least one";
    Allowed::new(phrase.to_owned(), |text| {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Secret(text.to_owned()))
    })
    .secret(|_| true)
}

/// How long a user may let a command wait.
pub(super) const WAIT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(365 * 86_400);

/// A number of messages per second.
pub(super) fn rate() -> Allowed<f64> {
    Allowed::new(
        "a number of messages a second, more than 0".to_owned(),
        |text| {
            let rate: f64 = text.parse().ok()?;
            (rate.is_finite() && rate > 0.0).then_some(rate)
        },
    )
}

/// A position in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct After {
    pub(super) seq: u64,
    pub(super) epoch: Option<String>,
}

pub(super) fn after() -> Allowed<After> {
    Allowed::new(
        "SEQ or SEQ@EPOCH, such as 41@9f2c61d0a7b34e18".to_owned(),
        |text| {
            let (seq, epoch) = match text.split_once('@') {
                Some((_, "")) => return None,
                Some((seq, epoch)) => (seq, Some(epoch.to_owned())),
                None => (text, None),
            };
            Some(After {
                seq: digits(seq)?,
                epoch,
            })
        },
    )
}

#[cfg(test)]
mod tests;
