//! The state of a server at one time, and the rates between two.

use std::collections::BTreeMap;
use std::time::Instant;

use threadcast::client::{Client, Connections, Error, Health, TopicStats};

/// How many connections to request: more would take longer than the interval.
const MAX_CONNECTIONS: u64 = 10_000;

/// The state at one time.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// Host and port.
    pub(super) server: String,
    pub(super) health: Health,
    pub(super) topics: BTreeMap<String, TopicStats>,
    pub(super) connections: Connections,
    /// How many nodes the cluster has; `None` for a server that is not a node.
    pub(super) nodes: Option<usize>,
}

impl Sample {
    /// All of it is of one server: if the client goes to another one meanwhile, it is taken again.
    pub(super) fn take(client: &Client) -> Result<Sample, Error> {
        loop {
            let health = client.health()?;
            let server = client.server();
            let nodes = health.is_node().then(|| client.nodes()).transpose()?;
            let sample = Sample {
                nodes: nodes.map(|nodes| nodes.len()),
                server,
                connections: client.connections(MAX_CONNECTIONS)?,
                at: Instant::now(),
                topics: client.stats()?,
                health,
            };
            if client.server() == sample.server {
                return Ok(sample);
            }
        }
    }
}

/// Rates per second, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(super) struct RateTable {
    pub(super) delivered: Option<f64>,
    topics: BTreeMap<String, Rates>,
}

/// The rates of one topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) messages: f64,
    pub(super) dropped: f64,
}

impl RateTable {
    /// A topic that was created again in between has no rates, since its counters started again.
    pub(super) fn between(before: &Sample, after: &Sample) -> RateTable {
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
        RateTable {
            topics: rates.collect(),
            delivered: rate(before.health.delivered, after.health.delivered)
                .filter(|_| is_same_server),
        }
    }

    pub(super) fn of(&self, topic: &str) -> Option<Rates> {
        self.topics.get(topic).copied()
    }
}

/// Detects a restart by the instance, or for a server without one by an uptime that decreases.
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
    fn restart_is_detected_even_after_a_long_interval() {
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
