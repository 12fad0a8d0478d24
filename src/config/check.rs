//! The check of a whole [`Config`]: for those who fill one in by hand. Never changes a value.

use std::fmt::{self, Debug};
use std::ops::RangeInclusive;

use super::{Config, normalize_origin, ranges};

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
    /// Checks every setting against [`ranges`].
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
        self.validate_counts()?;
        self.validate_bytes()?;
        self.validate_times()?;
        self.allowed_origins
            .iter()
            .try_for_each(|origin| origin_is_valid(origin))
    }

    fn validate_counts(&self) -> Result<(), InvalidConfig> {
        within(
            "max_queue_size",
            self.max_queue_size,
            &ranges::MAX_QUEUE_SIZE,
        )?;
        within("history_size", self.history_size, &ranges::HISTORY_SIZE)?;
        if let Some(connections) = self.max_connections {
            within("max_connections", connections, &ranges::MAX_CONNECTIONS)?;
        }
        within("max_topics", self.max_topics, &ranges::MAX_TOPICS)?;
        within(
            "max_subscriptions",
            self.max_subscriptions,
            &ranges::MAX_SUBSCRIPTIONS,
        )?;
        within(
            "max_publish_rate",
            self.max_publish_rate,
            &ranges::MAX_PUBLISH_RATE,
        )?;
        within("rest_workers", self.rest_workers, &ranges::REST_WORKERS)?;
        within(
            "metrics_topics",
            self.metrics_topics,
            &ranges::METRICS_TOPICS,
        )
    }

    fn validate_bytes(&self) -> Result<(), InvalidConfig> {
        within("history_bytes", self.history_bytes, &ranges::HISTORY_BYTES)?;
        within(
            "max_memory_bytes",
            self.max_memory_bytes,
            &ranges::MAX_MEMORY_BYTES,
        )?;
        within(
            "max_message_bytes",
            self.max_message_bytes,
            &ranges::MAX_MESSAGE_BYTES,
        )?;
        within(
            "send_buffer_bytes",
            self.send_buffer_bytes,
            &ranges::SEND_BUFFER_BYTES,
        )
    }

    fn validate_times(&self) -> Result<(), InvalidConfig> {
        within("block_timeout", self.block_timeout, &ranges::BLOCK_TIMEOUT)?;
        within("heartbeat", self.heartbeat, &ranges::HEARTBEAT)?;
        within(
            "request_timeout",
            self.request_timeout,
            &ranges::REQUEST_TIMEOUT,
        )?;
        within("write_timeout", self.write_timeout, &ranges::WRITE_TIMEOUT)?;
        within("drain_timeout", self.drain_timeout, &ranges::DRAIN_TIMEOUT)
    }
}

fn within<T: Copy + PartialOrd + Debug>(
    setting: &'static str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), InvalidConfig> {
    if range.contains(&value) {
        return Ok(());
    }
    let allowed = format!("from {:?} to {:?}", range.start(), range.end());
    Err(InvalidConfig {
        setting,
        value: format!("{value:?}"),
        allowed,
    })
}

fn origin_is_valid(origin: &str) -> Result<(), InvalidConfig> {
    match normalize_origin(origin) {
        Some(_) => Ok(()),
        None => Err(InvalidConfig {
            setting: "allowed_origins",
            value: format!("{origin:?}"),
            allowed: "* or scheme://host[:port]".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
