//! Parsers from the text of a flag or a variable to its value. Each parser says in one phrase what it allows. The text need
//! not be UTF-8.

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::iter;
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use threadcast::config::{Config, Field, RedisUrl, normalize_origin};
use threadcast::{ApiKey, InvalidApiKey};

use super::error::{wrong_secret, wrong_value};
use super::origin::origin_of;

/// A wrong value is shown up to this length.
const MAX_SHOWN_CHARS: usize = 100;

type Parse<T> = dyn Fn(&str) -> Option<T> + Send + Sync;

/// A parser for one kind of setting.
#[derive(Clone)]
pub(super) struct Allowed<T> {
    phrase: String,
    parse: Arc<Parse<T>>,
    /// The names that shell completion offers.
    names: Vec<&'static str>,
    /// Whether errors must not show the value.
    is_secret: fn(&str) -> bool,
}

/// A new value for one setting.
#[derive(Clone)]
pub(super) struct Change(Arc<dyn Fn(&mut Config) + Send + Sync>);

impl Change {
    pub(super) fn apply(&self, config: &mut Config) {
        (self.0)(config);
    }
}

impl<T> Allowed<T> {
    fn new(phrase: String, parse: impl Fn(&str) -> Option<T> + Send + Sync + 'static) -> Self {
        Allowed {
            phrase,
            parse: Arc::new(parse),
            names: Vec::new(),
            is_secret: |_| false,
        }
    }

    fn offering<const N: usize>(self, names: [&'static str; N]) -> Self {
        Allowed {
            names: names.to_vec(),
            ..self
        }
    }

    /// The parser of a setting: what it parses goes into this field of the configuration.
    pub(super) fn into_field<F>(self, field: &Field<F>) -> Allowed<Change>
    where
        T: Clone + Send + Sync + 'static,
        F: From<T> + 'static,
    {
        let Allowed {
            phrase,
            parse,
            names,
            is_secret,
        } = self;
        let get_mut = field.get_mut;
        let change = move |value: T| {
            Change(Arc::new(move |config: &mut Config| {
                *get_mut(config) = value.clone().into();
            }))
        };
        Allowed {
            phrase,
            parse: Arc::new(move |text| parse(text).map(change)),
            names,
            is_secret,
        }
    }

    /// For a secret: errors do not show a value for which this is true.
    fn secret(self, is_secret: fn(&str) -> bool) -> Self {
        Allowed { is_secret, ..self }
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Allowed<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<T, clap::Error> {
        value
            .to_str()
            .and_then(|text| (self.parse)(text))
            .ok_or_else(|| {
                let origin = arg.map(|arg| origin_of(arg, source)).unwrap_or_default();
                let line = match (self.is_secret)(&value.to_string_lossy()) {
                    true => wrong_secret(&origin, &self.phrase),
                    false => wrong_value(&origin, &shown(value), &self.phrase),
                };
                let mut error = clap::Error::new(ErrorKind::ValueValidation).with_cmd(command);
                error.insert(ContextKind::Custom, ContextValue::String(line));
                error
            })
    }

    /// The phrase is for the help, which shows it instead of the names; the names are for shell completion.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let allowed = PossibleValue::new("").help(self.phrase.clone()).hide(true);
        let names = self.names.iter().map(PossibleValue::new);
        Some(Box::new(iter::once(allowed).chain(names)))
    }
}

/// A wrong value for an error text: printable, and cut to a length that fits a line.
fn shown(value: &OsStr) -> String {
    let text = match value.to_str() {
        Some(text) => text.chars().flat_map(char::escape_debug).collect(),
        None => value.as_encoded_bytes().escape_ascii().to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

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

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) struct Bytes(pub(super) usize);

impl From<Bytes> for usize {
    fn from(bytes: Bytes) -> usize {
        bytes.0
    }
}

/// The units, largest first. Only the binary ones: `k` and `KB` mean a thousand to some.
const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |shift: u32| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(|(_, shift)| whole(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

fn parse_bytes(text: &str) -> Option<Bytes> {
    let lower = text.to_ascii_lowercase();
    let in_unit = |(unit, shift): &(&str, u32)| {
        Some((
            lower.strip_suffix(&unit.to_ascii_lowercase())?.trim_end(),
            *shift,
        ))
    };
    let (number, shift) = UNITS.iter().find_map(in_unit).unwrap_or((&lower, 0));
    digits::<usize>(number)?.checked_mul(1 << shift).map(Bytes)
}

pub(super) fn bytes(range: RangeInclusive<usize>) -> Allowed<Bytes> {
    let (start, end) = (Bytes(*range.start()), Bytes(*range.end()));
    let phrase = format!("bytes from {start} to {end}, as a whole number or with KiB, MiB or GiB");
    Allowed::new(phrase, move |text| {
        parse_bytes(text).filter(|bytes| range.contains(&bytes.0))
    })
}

/// A time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) struct Seconds(pub(super) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Duration {
        seconds.0
    }
}

/// `10`, `0.25`: exact, where a float would not be; nanoseconds at most.
fn parse_seconds(text: &str) -> Option<Seconds> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let places = u32::try_from(fraction.len()).ok()?;
    let nanos =
        digits::<u32>(fraction)?.checked_mul(10_u32.checked_pow(9_u32.checked_sub(places)?)?)?;
    Some(Seconds(Duration::new(digits(whole)?, nanos)))
}

pub(super) fn seconds(range: RangeInclusive<Duration>) -> Allowed<Seconds> {
    let (start, end) = (Seconds(*range.start()), Seconds(*range.end()));
    let phrase = format!("seconds from {start} to {end}, decimals allowed");
    Allowed::new(phrase, move |text| {
        parse_seconds(text).filter(|time| range.contains(&time.0))
    })
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

/// A key; an empty text is none.
pub(super) fn api_key() -> Allowed<Option<ApiKey>> {
    Allowed::new(InvalidApiKey.to_string(), |text| match text {
        "" => Some(None),
        secret => ApiKey::new(secret).ok().map(Some),
    })
    .secret(|_| true)
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

/// A path; an empty text is none. What is wrong with the file itself shows when it is read.
pub(super) fn file() -> Allowed<Option<PathBuf>> {
    Allowed::new("a path".to_owned(), |text| {
        Some((!text.is_empty()).then(|| text.into()))
    })
}

/// The path of a file with certificates; an empty text is none.
pub(super) fn certificates() -> Allowed<Option<PathBuf>> {
    readable(
        "the path of a file with certificates (PEM)",
        has_certificates,
    )
}

/// The path of a file with a private key; an empty text is none.
pub(super) fn private_key() -> Allowed<Option<PathBuf>> {
    readable("the path of a file with a private key (PEM)", |path| {
        PrivateKeyDer::from_pem_file(path).is_ok()
    })
}

/// The path of a file that is right as it is now; an empty text is none.
fn readable(phrase: &str, is_right: fn(&str) -> bool) -> Allowed<Option<PathBuf>> {
    Allowed::new(phrase.to_owned(), move |text| match text {
        "" => Some(None),
        path => is_right(path).then(|| Some(path.into())),
    })
}

fn has_certificates(path: &str) -> bool {
    let Ok(certificates) = CertificateDer::pem_file_iter(path) else {
        return false;
    };
    let mut roots = RootCertStore::empty();
    let mut certificates = certificates.map(|read| read.is_ok_and(|read| roots.add(read).is_ok()));
    let are_valid = certificates.all(|is_valid| is_valid);
    are_valid && !roots.is_empty()
}

#[cfg(test)]
mod tests;
