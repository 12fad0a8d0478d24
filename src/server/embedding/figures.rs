//! What the embedding program gets to see: the receipt for a message, a topic, the whole server.

use std::time::Duration;

use crate::broker::{self, ListedSubscriber, TopicStats};
use crate::config::OverflowPolicy;
use crate::protocol::TopicName;

/// The receipt for a message: it is in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number it got in its topic; the first is 1.
    pub seq: u64,
    /// Its id: a new UUID.
    pub id: String,
    /// The time of the event: RFC 3339, UTC, microseconds.
    pub ts: String,
}

/// A topic at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Which incarnation of the topic this is: opaque, and another one after it was deleted and created anew.
    pub epoch: String,
    /// The number of the newest event, which is how many were published; 0 when there is none.
    pub seq: u64,
    /// Its subscriptions.
    pub subscribers: usize,
    /// Events skipped for slow subscribers, counted once for each of them.
    pub dropped: u64,
    /// Events kept for replay.
    pub history_count: usize,
    /// Bytes of the events kept for replay.
    pub history_bytes: usize,
    /// The number of the oldest event kept for replay, if there is one.
    pub history_first_seq: Option<u64>,
    /// What happens to a subscription that would hold more than its queue.
    pub overflow: OverflowPolicy,
    /// Events that may be kept for replay.
    pub max_history_size: usize,
    /// Bytes that may be kept for replay.
    pub max_history_bytes: usize,
    /// Undelivered events a subscription may hold.
    pub max_queue_size: usize,
    /// How old an event may become that is kept for replay; `None` is any age.
    pub history_ttl: Option<Duration>,
    /// How long the topic may be unused before it is deleted; `None` is for ever.
    pub idle: Option<Duration>,
}

/// Who is subscribed to a topic at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberList {
    /// How many they are.
    pub total: usize,
    /// The first of them, by client id.
    pub subscribers: Vec<SubscriberInfo>,
}

/// One subscription to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberInfo {
    /// What the subscriber calls itself.
    pub client_id: String,
    /// When the subscription began: RFC 3339, UTC, microseconds.
    pub since: String,
    /// The user of its token, if it presented one that names one.
    pub user: Option<String>,
}

/// The whole server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Since the start.
    pub uptime: Duration,
    /// Topics.
    pub topics: usize,
    /// Subscriptions, all topics together.
    pub subscribers: usize,
    /// Open connections, HTTP too.
    pub connections: usize,
    /// Events given to subscribers since the start, once for each subscription.
    pub delivered: u64,
    /// Bytes of retained events, all topics together.
    pub retained_bytes: usize,
    /// Memory that retained events and remembered ids take, in bytes: what
    /// [`Config::max_memory_bytes`](crate::Config::max_memory_bytes) bounds.
    pub memory_bytes: usize,
}

impl From<broker::SubscriberList> for SubscriberList {
    fn from(list: broker::SubscriberList) -> SubscriberList {
        let subscribers = list.listed.into_iter();
        let info = |line: ListedSubscriber| SubscriberInfo {
            client_id: line.client_id.to_string(),
            since: line.since.as_str().to_owned(),
            user: line.user.map(|user| user.to_string()),
        };
        SubscriberList {
            total: list.total,
            subscribers: subscribers.map(info).collect(),
        }
    }
}

impl TopicInfo {
    pub(super) fn of(name: &TopicName, stats: &TopicStats) -> TopicInfo {
        TopicInfo {
            name: name.to_string(),
            epoch: stats.epoch.to_string(),
            seq: stats.seq,
            subscribers: stats.subscribers,
            dropped: stats.dropped,
            history_count: stats.history_count,
            history_bytes: stats.history_bytes,
            history_first_seq: stats.history_first_seq,
            overflow: stats.overflow,
            max_history_size: stats.history_size,
            max_history_bytes: stats.max_history_bytes,
            max_queue_size: stats.max_queue_size,
            history_ttl: stats.lifetimes.history_ttl,
            idle: stats.lifetimes.idle,
        }
    }
}
