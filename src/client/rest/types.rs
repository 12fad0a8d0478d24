//! The values that the REST API takes and returns.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::{Event, Gap};
use crate::protocol::OverflowPolicy;

/// Settings of a topic; `None` is the setting of the server for a new topic, and no change for one that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// Events kept for replay.
    pub history_size: Option<usize>,
    /// Undelivered events a subscription may hold.
    pub max_queue_size: Option<usize>,
    /// What happens when a subscription exceeds its queue.
    pub overflow: Option<OverflowPolicy>,
    /// Age above which an event leaves the history; 0 is never.
    pub history_ttl: Option<Duration>,
    /// Time without a subscription and a publish after which the topic is deleted; 0 is never.
    pub idle: Option<Duration>,
}

/// An entry of the list of topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// Number of subscriptions.
    pub subscribers: u64,
}

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Number of subscriptions.
    pub subscribers: u64,
    /// Messages published since it was created.
    pub messages: u64,
    /// The newest `seq`; 0 if there is none.
    pub seq: u64,
    /// The epoch of the topic, which changes when it is created again. Opaque.
    pub epoch: String,
    /// What is kept for replay.
    pub history: HistoryState,
    /// The overflow policy.
    pub overflow: String,
    /// Its limits.
    pub limits: TopicLimits,
    /// Events skipped for slow subscribers, counted once per subscriber.
    pub dropped: u64,
}

/// Who is subscribed to a topic, sorted by client id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubscriberList {
    /// How many there are; `subscribers` may contain fewer.
    pub total: u64,
    /// The first of them.
    pub subscribers: Vec<SubscriberState>,
}

/// One subscriber of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubscriberState {
    /// Its `client_id`.
    pub client_id: String,
    /// When its subscription began: RFC 3339, UTC. A takeover begins a new one.
    pub since: String,
    /// The user of its token; `None` without a token, or if it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a topic keeps for replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryState {
    /// Number of events.
    pub count: u64,
    /// Size of the events in bytes.
    pub bytes: u64,
    /// The `seq` of the oldest event; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// When the oldest event was published: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ts: Option<String>,
}

/// The limits of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicLimits {
    /// Events kept for replay.
    pub history_size: u64,
    /// Bytes kept for replay.
    pub history_bytes: u64,
    /// Undelivered events a subscription may hold.
    pub max_queue_size: u64,
    /// Age above which an event leaves the history; 0 is never.
    #[serde(rename = "history_ttl_secs", with = "seconds", default)]
    pub history_ttl: Duration,
    /// Time without a subscription and a publish after which the topic is deleted; 0 is never.
    #[serde(rename = "idle_secs", with = "seconds", default)]
    pub idle: Duration,
}

/// A time as a number of seconds: a whole one, if it is one.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::client) fn serialize<S: Serializer>(
        time: &Duration,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match time.subsec_nanos() {
            0 => out.serialize_u64(time.as_secs()),
            _ => out.serialize_f64(time.as_secs_f64()),
        }
    }

    pub(in crate::client) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(input)?;
        Duration::try_from_secs_f64(seconds).map_err(de::Error::custom)
    }
}

/// The state of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Identifies this run of the server: opaque, different after each start. Empty if the server does not report it.
    #[serde(default)]
    pub instance: String,
    /// Seconds since the start.
    pub uptime_sec: u64,
    /// Number of topics.
    pub topics: u64,
    /// Number of subscriptions of all topics.
    pub subscribers: u64,
    /// Connections, including REST.
    #[serde(default)]
    pub connections: u64,
    /// Events sent to subscribers since the start, counted once per subscription.
    #[serde(default)]
    pub delivered: u64,
    /// Bytes of retained events.
    #[serde(default)]
    pub retained_bytes: u64,
    /// The server's version.
    #[serde(default)]
    pub version: String,
    /// Who numbers events and keeps history: `embedded`, the server itself; for a node of a cluster `up` or `down`, whether it
    /// can use Redis. Empty if the server does not report it.
    #[serde(default)]
    pub engine: String,
    /// Why the engine is down or not set up as it should be; `None` if there is nothing to report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_error: Option<String>,
}

impl Health {
    /// Whether the server is a node of a cluster.
    #[must_use]
    pub fn is_node(&self) -> bool {
        matches!(self.engine.as_str(), "up" | "down")
    }
}

/// A node of a cluster. Those other than the one that answers are shown as they were up to 2 seconds ago.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeState {
    /// Opaque, another one after each start.
    pub id: String,
    /// Address and port on which it listens.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Seconds since its start.
    pub uptime_sec: u64,
    /// Its connections, including REST.
    pub connections: u64,
    /// Its subscriptions.
    pub subscriptions: u64,
    /// How it reaches Redis.
    pub engine: EngineState,
}

/// How a node reaches Redis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EngineState {
    /// `up` or `down`.
    pub state: String,
    /// Milliseconds that an exchange with Redis takes.
    pub latency_ms: f64,
}

/// The counters of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicStats {
    /// Messages published since it was created.
    pub messages: u64,
    /// Number of subscriptions.
    pub subscribers: u64,
    /// The newest `seq`; 0 if there is none.
    #[serde(default)]
    pub seq: u64,
    /// Events skipped for slow subscribers, counted once per subscriber.
    #[serde(default)]
    pub dropped: u64,
    /// What is kept for replay.
    #[serde(default)]
    pub history: HistoryState,
}

/// A part of the history of a topic.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct History {
    /// The epoch of the topic, which changes when it is created again. Opaque.
    pub epoch: String,
    /// The newest `seq` of the topic.
    pub seq: u64,
    /// Events that were requested but are no longer in the history, before the first event.
    pub gap: Option<Gap>,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

/// The connections of a server, sorted by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connections {
    /// How many there are; `connections` may contain fewer.
    pub total: u64,
    /// The connections with the lowest ids.
    pub connections: Vec<ConnectionState>,
}

/// One connection. Its values are read at about the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionState {
    /// Its number on this server.
    pub id: u64,
    /// `websocket` or `http`.
    pub protocol: String,
    /// Address and port of the client.
    pub address: String,
    /// The name of the key presented last; `None` if the server requires none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The user of the token presented last; `None` without a token, or if it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Seconds since it was opened.
    pub uptime_sec: u64,
    /// Seconds since the client last sent anything.
    pub idle_sec: u64,
    /// Bytes that the server has still to write to the socket.
    pub pending_bytes: u64,
    /// Its subscriptions.
    pub subscriptions: Vec<SubscriptionState>,
}

/// One subscription of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubscriptionState {
    /// The topic.
    pub topic: String,
    /// The `client_id` of the subscriber.
    pub client_id: String,
    /// Live events that are not sent yet.
    pub lag: u64,
    /// Events that were skipped because it was slow, and reported as gaps.
    pub dropped: u64,
}
