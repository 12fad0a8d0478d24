//! A setting with its value, its default and its source, as `GET /config` and `check-config` show it.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Config, SETTINGS};

/// The setting whose value may come from the machine.
pub(crate) const MAX_CONNECTIONS_ID: &str = "max_connections";

/// What stands for a secret, however long it is.
const MASK: &str = "***";

/// Where the value of a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody chose it.
    Default,
    /// An environment variable.
    Environment,
    /// A command-line flag.
    Flag,
    /// The machine's limits.
    Computed,
    /// The program that embeds the server.
    Program,
}

impl Source {
    /// The name in `GET /config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Default => "default",
            Source::Environment => "environment",
            Source::Flag => "flag",
            Source::Computed => "computed",
            Source::Program => "program",
        }
    }
}

/// The value of a setting, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// On or off.
    Switch(bool),
    /// A count, or bytes.
    Whole(u64),
    /// A time, shown in seconds.
    Time(Duration),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
    /// Something that is not shown.
    Secret,
}

impl Serialize for SettingValue {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            SettingValue::Switch(on) => out.serialize_bool(*on),
            SettingValue::Whole(number) => out.serialize_u64(*number),
            SettingValue::Time(time) if time.subsec_nanos() == 0 => {
                out.serialize_u64(time.as_secs())
            }
            SettingValue::Time(time) => out.serialize_f64(time.as_secs_f64()),
            SettingValue::Text(text) => out.serialize_str(text),
            SettingValue::List(texts) => out.collect_seq(texts),
            SettingValue::Secret => out.serialize_str(MASK),
        }
    }
}

/// One setting, as `GET /config` shows it.
///
/// ```
/// use threadcast::config::{Config, Source};
///
/// let settings = Config { history_size: 7, ..Config::default() }.settings();
/// let history = settings.iter().find(|setting| setting.id == "history_size").unwrap();
/// assert_eq!(history.variable(), "PUBSUB_HISTORY_SIZE");
/// assert_eq!(history.flag(), "--history-size");
/// assert_eq!(history.source, Source::Program);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, such as `max_queue_size`. A time has its unit in it.
    pub id: String,
    /// What is in force, if anything.
    pub value: Option<SettingValue>,
    /// What would be in force if nobody chose, if anything.
    pub default: Option<SettingValue>,
    /// Where the value came from.
    pub source: Source,
}

impl Setting {
    /// The environment variable of this setting.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("PUBSUB_{}", self.id.to_ascii_uppercase())
    }

    /// The command-line flag of this setting.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.id.replace('_', "-"))
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        map.serialize_entry("name", &self.variable())?;
        map.serialize_entry("flag", &self.flag())?;
        if let Some(value) = &self.value {
            map.serialize_entry("value", value)?;
        }
        if let Some(default) = &self.default {
            map.serialize_entry("default", default)?;
        }
        map.serialize_entry("source", self.source.as_str())?;
        map.end()
    }
}

impl Config {
    /// Every setting of this configuration. What differs from the default, the program chose.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        SETTINGS.iter().map(|setting| setting.of(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::ApiKey;

    fn json(config: &Config, id: &str) -> String {
        let settings = config.settings();
        let found = settings.iter().find(|setting| setting.id == id).unwrap();
        serde_json::to_string(found).unwrap()
    }

    #[test]
    fn a_setting_shows_its_value_its_default_and_its_source() {
        let config = Config {
            port: 0,
            block_timeout: Duration::from_millis(250),
            allowed_origins: vec!["https://a.example".to_owned()],
            ..Config::default()
        };
        for (id, expected) in [
            (
                "port",
                r#"{"name":"PUBSUB_PORT","flag":"--port","value":0,"default":8080,"source":"program"}"#,
            ),
            (
                "host",
                r#"{"name":"PUBSUB_HOST","flag":"--host","value":"127.0.0.1","default":"127.0.0.1","source":"default"}"#,
            ),
            (
                "block_timeout_secs",
                r#"{"name":"PUBSUB_BLOCK_TIMEOUT_SECS","flag":"--block-timeout-secs","value":0.25,"default":5,"source":"program"}"#,
            ),
            (
                "allowed_origins",
                r#"{"name":"PUBSUB_ALLOWED_ORIGINS","flag":"--allowed-origins","value":["https://a.example"],"default":[],"source":"program"}"#,
            ),
            (
                "max_connections",
                r#"{"name":"PUBSUB_MAX_CONNECTIONS","flag":"--max-connections","source":"default"}"#,
            ),
            (
                "heartbeat_json",
                r#"{"name":"PUBSUB_HEARTBEAT_JSON","flag":"--heartbeat-json","value":false,"default":false,"source":"default"}"#,
            ),
        ] {
            assert_eq!(json(&config, id), expected);
        }
    }

    #[test]
    fn a_secret_shows_neither_itself_nor_its_length() {
        let with = |secret: &str| Config {
            api_key: Some(ApiKey::new(secret).unwrap()),
            ..Config::default()
        };
        let expected =
            r#"{"name":"PUBSUB_API_KEY","flag":"--api-key","value":"***","source":"program"}"#;
        assert_eq!(json(&with("k"), "api_key"), expected);
        assert_eq!(json(&with("a-much-longer-key"), "api_key"), expected);
    }
}
