//! The check of a whole [`Config`] against the ranges of its settings. Never changes a value.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::redis_url::is_prefix;
use super::{AdvertisedAddress, Config, OverflowPolicy, SETTINGS, normalize_origin, parse_network};
use crate::protocol::{InvalidName, TopicName};

/// The most characters of an audience and an issuer.
const MAX_CLAIM_CHARS: usize = 256;

/// A setting outside of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidConfig {
    /// The name of the field of [`Config`].
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} is not allowed: {}",
            self.setting, self.value, self.allowed
        )
    }
}

impl std::error::Error for InvalidConfig {}

impl Config {
    /// Checks every setting against its range in [`SETTINGS`].
    ///
    /// # Errors
    /// The first setting that is outside of its range.
    ///
    /// ```
    /// use threadcast::config::Config;
    ///
    /// let config = Config { max_queue_size: 0, ..Config::default() };
    /// let refused = config.validate().unwrap_err();
    /// assert_eq!(refused.to_string(), "max_queue_size: 0 is not allowed: from 1 to 1000000");
    /// ```
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        SETTINGS.iter().try_for_each(|setting| setting.check(self))
    }
}

/// The most topics that exist from the start are as many as there may be.
pub(super) fn check_topics(
    setting: &'static str,
    topics: &[String],
    config: &Config,
) -> Result<(), InvalidConfig> {
    let refused = |value: String, allowed: String| {
        Err(InvalidConfig {
            setting,
            value,
            allowed,
        })
    };
    if let Some(wrong) = topics.iter().find(|name| TopicName::new(name).is_err()) {
        return refused(format!("{wrong:?}"), InvalidName::Topic.to_string());
    }
    let different: HashSet<&String> = topics.iter().collect();
    if different.len() > config.max_topics {
        let allowed = format!("at most {} of them (max_topics)", config.max_topics);
        return refused(format!("{} topics", different.len()), allowed);
    }
    Ok(())
}

pub(crate) fn within<T: PartialOrd + Debug>(
    setting: &'static str,
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), InvalidConfig> {
    if range.contains(value) {
        return Ok(());
    }
    Err(InvalidConfig {
        setting,
        value: format!("{value:?}"),
        allowed: format!("from {:?} to {:?}", range.start(), range.end()),
    })
}

pub(super) fn check_origin(setting: &'static str, origin: &str) -> Result<(), InvalidConfig> {
    match normalize_origin(origin) {
        Some(_) => Ok(()),
        None => Err(InvalidConfig {
            setting,
            value: format!("{origin:?}"),
            allowed: "* or scheme://host[:port]".to_owned(),
        }),
    }
}

pub(super) fn check_network(setting: &'static str, network: &str) -> Result<(), InvalidConfig> {
    match parse_network(network) {
        Some(_) => Ok(()),
        None => Err(InvalidConfig {
            setting,
            value: format!("{network:?}"),
            allowed: "an address, or a network like 10.0.0.0/8".to_owned(),
        }),
    }
}

/// Only a trusted proxy is believed who its client is.
pub(super) fn check_proxy_protocol(
    setting: &'static str,
    is_on: bool,
    config: &Config,
) -> Result<(), InvalidConfig> {
    if !is_on || !config.trusted_proxies.is_empty() {
        return Ok(());
    }
    Err(InvalidConfig {
        setting,
        value: is_on.to_string(),
        allowed: "false without trusted_proxies, which name the proxies that send the header"
            .to_owned(),
    })
}

pub(super) fn check_prefix(setting: &'static str, prefix: &str) -> Result<(), InvalidConfig> {
    match is_prefix(prefix) {
        true => Ok(()),
        false => Err(InvalidConfig {
            setting,
            value: format!("{prefix:?}"),
            allowed: "1 to 64 letters, digits, dots, underscores and hyphens".to_owned(),
        }),
    }
}

pub(super) fn check_address(
    setting: &'static str,
    address: Option<&str>,
) -> Result<(), InvalidConfig> {
    match address.filter(|address| AdvertisedAddress::parse(address).is_none()) {
        None => Ok(()),
        Some(address) => Err(InvalidConfig {
            setting,
            value: format!("{address:?}"),
            allowed: "host:port or a host, which other machines can reach".to_owned(),
        }),
    }
}

/// The policy `block` needs one place that sees all subscribers of a topic.
pub(super) fn check_overflow(
    setting: &'static str,
    overflow: OverflowPolicy,
    config: &Config,
) -> Result<(), InvalidConfig> {
    if overflow != OverflowPolicy::Block || config.redis_url.is_empty() {
        return Ok(());
    }
    Err(InvalidConfig {
        setting,
        value: overflow.to_string(),
        allowed: "drop_oldest or disconnect in a cluster, where no server sees all subscribers"
            .to_owned(),
    })
}

/// A text that tokens must have in a claim. Without a key that may sign tokens it would protect nothing.
pub(super) fn check_claim(
    setting: &'static str,
    claim: Option<&str>,
    config: &Config,
) -> Result<(), InvalidConfig> {
    let Some(claim) = claim else {
        return Ok(());
    };
    let refused = |value: String, allowed: String| {
        Err(InvalidConfig {
            setting,
            value,
            allowed,
        })
    };
    let is_length = (1..=MAX_CLAIM_CHARS).contains(&claim.chars().count());
    if !is_length || claim.contains(char::is_control) {
        let allowed =
            format!("1 to {MAX_CLAIM_CHARS} characters, none of them a control character");
        return refused(format!("{claim:?}"), allowed);
    }
    match config.jwt_secret.is_some() || config.jwt_keys.is_some() {
        true => Ok(()),
        false => {
            let allowed = "only together with jwt_secret or jwt_keys";
            refused(claim.to_owned(), allowed.to_owned())
        }
    }
}

/// A certificate and its key belong together.
pub(super) fn check_key(
    setting: &'static str,
    key: &Option<PathBuf>,
    config: &Config,
) -> Result<(), InvalidConfig> {
    let (certificate, other) = match setting {
        "tls_key" => (&config.tls_cert, "tls_cert"),
        _ => (&config.redis_cert_file, "redis_cert_file"),
    };
    if key.is_some() == certificate.is_some() {
        return Ok(());
    }
    let path = key
        .as_ref()
        .map(|path| format!("{:?}", path.display().to_string()));
    Err(InvalidConfig {
        setting,
        value: path.unwrap_or_else(|| "none".to_owned()),
        allowed: format!("a key together with its certificate in {other}, or neither"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::JwtSecret;

    fn refused(config: &Config) -> &'static str {
        config.validate().expect_err("must be refused").setting
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn a_setting_outside_of_its_range_is_named() {
        let base = Config::default;
        assert_eq!(
            refused(&Config {
                max_queue_size: 0,
                ..base()
            }),
            "max_queue_size"
        );
        assert_eq!(
            refused(&Config {
                max_connections: Some(0),
                ..base()
            }),
            "max_connections"
        );
        assert_eq!(
            refused(&Config {
                max_message_bytes: 0,
                ..base()
            }),
            "max_message_bytes"
        );
        assert_eq!(
            refused(&Config {
                rest_workers: 257,
                ..base()
            }),
            "rest_workers"
        );
        assert_eq!(
            refused(&Config {
                heartbeat: Duration::ZERO,
                ..base()
            }),
            "heartbeat"
        );
        assert_eq!(
            refused(&Config {
                redis_cert_file: Some("node.pem".into()),
                ..base()
            }),
            "redis_key_file"
        );
        assert_eq!(
            refused(&Config {
                advertised_address: Some("0.0.0.0:8080".to_owned()),
                ..base()
            }),
            "advertised_address"
        );
        assert_eq!(
            refused(&Config {
                trusted_proxies: vec!["10.0.0.0/33".to_owned()],
                ..base()
            }),
            "trusted_proxies"
        );
        assert_eq!(
            refused(&Config {
                proxy_protocol: true,
                ..base()
            }),
            "proxy_protocol"
        );
        let trusting = Config {
            proxy_protocol: true,
            trusted_proxies: vec!["::1".to_owned()],
            ..base()
        };
        assert_eq!(trusting.validate(), Ok(()));
        assert_eq!(
            refused(&Config {
                topics: vec!["a b".to_owned()],
                ..base()
            }),
            "topics"
        );
        assert_eq!(
            refused(&Config {
                jwt_issuer: Some("https://login.example".to_owned()),
                ..base()
            }),
            "jwt_issuer",
            "nobody may sign tokens"
        );
        let with_audience = |audience: &str| Config {
            jwt_secret: JwtSecret::new([7; 32]).ok(),
            jwt_audience: Some(audience.to_owned()),
            ..base()
        };
        for wrong in ["", "a\n", &"x".repeat(257)] {
            assert_eq!(refused(&with_audience(wrong)), "jwt_audience");
        }
        assert_eq!(with_audience("threadcast").validate(), Ok(()));
        let three = ["a", "b", "a", "c"].map(str::to_owned).to_vec();
        let with_max = |max_topics| Config {
            topics: three.clone(),
            max_topics,
            ..base()
        };
        assert_eq!(refused(&with_max(2)), "topics");
        assert_eq!(with_max(3).validate(), Ok(()));
        let origins = vec!["https://shop.example/".to_owned()];
        assert_eq!(
            refused(&Config {
                allowed_origins: origins,
                ..base()
            }),
            "allowed_origins"
        );
    }
}
