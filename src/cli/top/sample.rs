//! What a server says about itself at one moment, and what has moved between two.

use std::collections::BTreeMap;
use std::time::Instant;

use threadcast::client::{Client, Connections, Error, Health, TopicStats};

/// Connections that are looked at; beyond that a second is too short to read about them.
const CONNECTIONS: u64 = 10_000;

/// One look.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) health: Health,
    pub(super) topics: BTreeMap<String, TopicStats>,
    pub(super) connections: Connections,
}

impl Sample {
    pub(super) fn take(client: &Client) -> Result<Sample, Error> {
        let health = client.health()?;
        let connections = client.connections(CONNECTIONS)?;
        Ok(Sample {
            at: Instant::now(),
            health,
            topics: client.stats()?,
            connections,
        })
    }
}

/// Rates a second, where they can be known.
#[derive(Debug, Clone, Default)]
pub(super) struct Movement {
    pub(super) delivered: Option<f64>,
    topics: BTreeMap<String, Rates>,
}

/// Those of one topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) messages: f64,
    pub(super) dropped: f64,
}

impl Movement {
    /// What was created again in between has no rates: its numbers began again.
    pub(super) fn between(before: &Sample, after: &Sample) -> Movement {
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let rate = |before: u64, after: u64| {
            let more = after.checked_sub(before)?;
            (seconds > 0.0).then(|| more as f64 / seconds)
        };
        let is_same_server = is_same_server(&before.health, &after.health);
        let rates = after.topics.iter().filter_map(|(name, now)| {
            let then = before.topics.get(name).filter(|_| is_same_server)?;
            let rates = Rates {
                messages: rate(then.messages, now.messages)?,
                dropped: rate(then.dropped, now.dropped)?,
            };
            Some((name.clone(), rates))
        });
        Movement {
            topics: rates.collect(),
            delivered: rate(before.health.delivered, after.health.delivered)
                .filter(|_| is_same_server),
        }
    }

    pub(super) fn of(&self, topic: &str) -> Option<Rates> {
        self.topics.get(topic).copied()
    }
}

/// A server that names no instance is known by its uptime, which goes back when it is restarted.
fn is_same_server(before: &Health, after: &Health) -> bool {
    after.instance == before.instance && after.uptime_sec >= before.uptime_sec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(instance: &str, uptime_sec: u64) -> Health {
        let text = format!(
            r#"{{"status":"ok"{instance},"uptime_sec":{uptime_sec},"topics":0,"subscribers":0}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_server_started_anew_is_another_one_however_late_it_is_looked_at() {
        let [a, b] = [r#","instance":"a""#, r#","instance":"b""#];
        for (before, after, same) in [
            (health(a, 1), health(a, 1), true),
            (health(a, 1), health(b, 9), false),
            (health("", 1), health("", 9), true),
            (health("", 9), health("", 1), false),
        ] {
            assert_eq!(
                is_same_server(&before, &after),
                same,
                "{before:?} {after:?}"
            );
        }
    }
}
