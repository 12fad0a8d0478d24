//! Who is connected, as the server tells it.

use serde::{Deserialize, Serialize};

/// The connections of a server, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connections {
    /// How many there are; those listed may be fewer.
    pub total: u64,
    /// Those with the lowest ids.
    pub connections: Vec<ConnectionState>,
}

/// One connection. Its figures are of about the same moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionState {
    /// Its number on this server.
    pub id: u64,
    /// `websocket` or `http`.
    pub protocol: String,
    /// Where the client is: address and port.
    pub address: String,
    /// The name of the key presented last; `None` when the server asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Seconds since it was opened.
    pub uptime_sec: u64,
    /// Seconds since anything came from the client.
    pub idle_sec: u64,
    /// Bytes that the system has not yet taken off the server's hands.
    pub pending_bytes: u64,
    /// What it is subscribed to.
    pub subscriptions: Vec<SubscriptionState>,
}

/// One subscription of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubscriptionState {
    /// The topic.
    pub topic: String,
    /// The name of the subscriber.
    pub client_id: String,
    /// Live events that it has still to get.
    pub lag: u64,
    /// Events that it was told as gaps for slowness.
    pub dropped: u64,
}
