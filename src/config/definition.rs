//! What is known of a setting besides its value, and the macro that turns the table of settings into [`Config`] and `SETTINGS`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{
    check_address, check_claim, check_key, check_network, check_origin, check_overflow,
    check_prefix, check_proxy_protocol, check_topics, within,
};
use super::{Config, InvalidConfig, OverflowPolicy, RedisUrl, Setting, SettingValue, Source};
use crate::access::{ApiKey, JwtKeys, JwtSecret};

/// Makes from the table: the struct [`Config`], its default, and the list of the settings.
macro_rules! settings {
    ($(
        #[doc = $help:literal] $(#[doc = $more:literal])*
        $field:ident: $type:ty = $default:expr, $group:ident, $value_name:literal, $kind:ident $(($range:expr))?;
    )*) => {
        /// The settings of a server. `Config::default()` is what `threadcast` runs with when nothing is set.
        ///
        /// [`SETTINGS`] has the range of each; [`Config::validate`] checks them.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config {
            $(
                #[doc = $help]
                $(#[doc = $more])*
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                pub $field: $type,
            )*
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($field: $default),* }
            }
        }

        /// Every setting, in the order of `GET /config`.
        pub static SETTINGS: &[SettingDefinition] = &[$(
            SettingDefinition {
                field: stringify!($field),
                doc: $help,
                group: Group::$group,
                value_name: $value_name,
                kind: Kind::$kind(
                    Field {
                        get: |config| &config.$field,
                        get_mut: |config| &mut config.$field,
                    },
                    $($range)?
                ),
            },
        )*];
    };
}
pub(super) use settings;

/// One setting: everything but its value.
///
/// ```
/// use threadcast::Config;
/// use threadcast::config::SETTINGS;
///
/// let config = Config { history_size: 7, ..Config::default() };
/// let history = SETTINGS.iter().find(|setting| setting.field == "history_size").unwrap();
/// assert_eq!(history.help(), "Events kept for replay, per topic; 0 is none");
/// assert_eq!(history.of(&config).flag(), "--history-size");
/// ```
#[derive(Debug)]
pub struct SettingDefinition {
    /// The field of [`Config`] that has the value.
    pub field: &'static str,
    /// Where `--help` and the documents list it.
    pub group: Group,
    /// What stands for the value in `--help`, such as `BYTES`.
    pub value_name: &'static str,
    /// What the value may be.
    pub kind: Kind,
    pub(super) doc: &'static str,
}

/// A group of settings. `--help` has them in this order, under these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Where the server listens.
    Listening,
    /// Who may do what.
    Access,
    /// What a topic keeps, and what it does when a subscriber is slow.
    Topics,
    /// What clients may use up.
    Limits,
    /// How long things may take.
    Times,
    /// Several servers as one.
    Cluster,
}

/// Where a [`Config`] has the value of a setting.
#[derive(Debug)]
pub struct Field<T> {
    /// Reads it.
    pub get: fn(&Config) -> &T,
    /// Lets it be changed.
    pub get_mut: fn(&mut Config) -> &mut T,
}

/// What the value of a setting may be, and the field that has it.
#[derive(Debug)]
pub enum Kind {
    /// An address or a host name.
    Host(Field<String>),
    /// A port.
    Port(Field<u16>),
    /// A number of things.
    Number(Field<usize>, RangeInclusive<usize>),
    /// A number of things; the server computes it if there is none.
    OptionalNumber(Field<Option<usize>>, RangeInclusive<usize>),
    /// A number of things per second.
    Rate(Field<u32>, RangeInclusive<u32>),
    /// A number of bytes.
    Bytes(Field<usize>, RangeInclusive<usize>),
    /// A time. The unit outside of the program is the second, and the name there ends in `_secs`.
    Time(Field<Duration>, RangeInclusive<Duration>),
    /// On or off.
    Switch(Field<bool>),
    /// The name of an overflow policy.
    Overflow(Field<OverflowPolicy>),
    /// A list of origins; see [`normalize_origin`](super::normalize_origin).
    Origins(Field<Vec<String>>),
    /// A list of addresses and networks.
    Networks(Field<Vec<String>>),
    /// On or off; on only where proxies are trusted.
    ProxyProtocol(Field<bool>),
    /// A list of names of topics.
    TopicNames(Field<Vec<String>>),
    /// A list of URLs of Redis; their passwords are never shown.
    RedisUrls(Field<Vec<RedisUrl>>),
    /// The begin of names in Redis.
    RedisPrefix(Field<String>),
    /// A host, with or without a port.
    Address(Field<Option<String>>),
    /// A key, which is never shown.
    Secret(Field<Option<ApiKey>>),
    /// The secret of tokens, which is never shown.
    TokenSecret(Field<Option<JwtSecret>>),
    /// The public keys of tokens.
    TokenKeys(Field<Option<JwtKeys>>),
    /// What a claim of tokens must be.
    Claim(Field<Option<String>>),
    /// The path of a file.
    File(Field<Option<PathBuf>>),
    /// The path of a file with certificates, in PEM.
    Certificates(Field<Option<PathBuf>>),
    /// The path of a file with a private key, in PEM.
    PrivateKey(Field<Option<PathBuf>>),
}

impl SettingDefinition {
    /// The name outside of the program, such as `block_timeout_secs`. A time has its unit in it.
    #[must_use]
    pub fn id(&self) -> String {
        match self.kind {
            Kind::Time(..) => format!("{}_secs", self.field),
            _ => self.field.to_owned(),
        }
    }

    /// One line that says what the setting is.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.doc.trim().trim_end_matches('.')
    }

    /// The setting as this configuration has it. Another value than the default was chosen by the program.
    #[must_use]
    pub fn of(&self, config: &Config) -> Setting {
        let value = self.value(config);
        let default = self.value(&Config::default());
        Setting {
            id: self.id(),
            source: if value == default {
                Source::Default
            } else {
                Source::Program
            },
            value,
            default,
        }
    }

    fn value(&self, config: &Config) -> Option<SettingValue> {
        Some(match &self.kind {
            Kind::Host(field) => SettingValue::Text((field.get)(config).clone()),
            Kind::Port(field) => SettingValue::Whole((*(field.get)(config)).into()),
            Kind::Number(field, _) | Kind::Bytes(field, _) => {
                SettingValue::Whole(*(field.get)(config) as u64)
            }
            Kind::OptionalNumber(field, _) => SettingValue::Whole((*(field.get)(config))? as u64),
            Kind::Rate(field, _) => SettingValue::Whole((*(field.get)(config)).into()),
            Kind::Time(field, _) => SettingValue::Time(*(field.get)(config)),
            Kind::Switch(field) | Kind::ProxyProtocol(field) => {
                SettingValue::Switch(*(field.get)(config))
            }
            Kind::Overflow(field) => SettingValue::Text((field.get)(config).to_string()),
            Kind::Origins(field) | Kind::TopicNames(field) | Kind::Networks(field) => {
                SettingValue::List((field.get)(config).clone())
            }
            Kind::RedisUrls(field) => {
                let urls = (field.get)(config).iter().map(RedisUrl::to_string);
                SettingValue::List(urls.collect())
            }
            Kind::RedisPrefix(field) => SettingValue::Text((field.get)(config).clone()),
            Kind::Address(field) | Kind::Claim(field) => {
                SettingValue::Text((field.get)(config).clone()?)
            }
            Kind::Secret(field) => {
                (field.get)(config).as_ref()?;
                SettingValue::Secret
            }
            Kind::TokenSecret(field) => {
                (field.get)(config).as_ref()?;
                SettingValue::Secret
            }
            Kind::TokenKeys(field) => SettingValue::Text((field.get)(config).as_ref()?.to_string()),
            Kind::File(field) | Kind::Certificates(field) | Kind::PrivateKey(field) => {
                let path = (field.get)(config).as_ref()?;
                SettingValue::Text(path.to_string_lossy().into_owned())
            }
        })
    }

    /// Checks the value in this configuration against the range.
    pub(super) fn check(&self, config: &Config) -> Result<(), InvalidConfig> {
        match &self.kind {
            Kind::Number(field, range) | Kind::Bytes(field, range) => {
                within(self.field, (field.get)(config), range)
            }
            Kind::OptionalNumber(field, range) => (field.get)(config)
                .iter()
                .try_for_each(|number| within(self.field, number, range)),
            Kind::Rate(field, range) => within(self.field, (field.get)(config), range),
            Kind::Time(field, range) => within(self.field, (field.get)(config), range),
            Kind::Origins(field) => (field.get)(config)
                .iter()
                .try_for_each(|origin| check_origin(self.field, origin)),
            Kind::Networks(field) => (field.get)(config)
                .iter()
                .try_for_each(|network| check_network(self.field, network)),
            Kind::ProxyProtocol(field) => {
                check_proxy_protocol(self.field, *(field.get)(config), config)
            }
            Kind::TopicNames(field) => check_topics(self.field, (field.get)(config), config),
            Kind::RedisPrefix(field) => check_prefix(self.field, (field.get)(config)),
            Kind::Address(field) => check_address(self.field, (field.get)(config).as_deref()),
            Kind::Claim(field) => check_claim(self.field, (field.get)(config).as_deref(), config),
            Kind::PrivateKey(field) => check_key(self.field, (field.get)(config), config),
            Kind::Overflow(field) => check_overflow(self.field, *(field.get)(config), config),
            Kind::RedisUrls(_)
            | Kind::Host(_)
            | Kind::Port(_)
            | Kind::Switch(_)
            | Kind::Secret(_)
            | Kind::TokenSecret(_)
            | Kind::TokenKeys(_)
            | Kind::File(_)
            | Kind::Certificates(_) => Ok(()),
        }
    }
}
