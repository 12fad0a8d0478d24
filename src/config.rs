//! Every limit of the server, with its default. Pure data: reads no environment, opens nothing.

mod check;
mod origin;
pub mod ranges;
pub(crate) mod settings;

use std::path::PathBuf;
use std::time::Duration;

pub use check::InvalidConfig;
pub use origin::normalize_origin;
pub use settings::{Setting, SettingValue, Source};

pub use crate::protocol::{OverflowPolicy, UnknownOverflowPolicy};

use crate::access::ApiKey;

/// The settings of a server. `Config::default()` is what `threadcast` runs with when nothing is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 takes any free one.
    pub port: u16,
    /// Undelivered live events a subscription may hold, at least 1.
    pub max_queue_size: usize,
    /// Events kept for replay, per topic; 0 keeps none.
    pub history_size: usize,
    /// Bytes of retained events, per topic.
    pub history_bytes: usize,
    /// Memory that retained events take, all topics together, in bytes.
    pub max_memory_bytes: usize,
    /// The overflow policy of topics that do not name their own.
    pub overflow: OverflowPolicy,
    /// How long a publisher waits under [`OverflowPolicy::Block`].
    pub block_timeout: Duration,
    /// Largest WebSocket message or request body, in bytes.
    pub max_message_bytes: usize,
    /// Most connections at once, REST too; `None` computes it from the machine's limits.
    pub max_connections: Option<usize>,
    /// Most topics.
    pub max_topics: usize,
    /// Most subscriptions of one connection.
    pub max_subscriptions: usize,
    /// Publishes per second and connection; 0 is unlimited.
    pub max_publish_rate: u32,
    /// Silence after which a WebSocket is pinged, and after as much again closed.
    pub heartbeat: Duration,
    /// Whether an `info`/`ping` frame goes with each ping.
    pub heartbeat_json: bool,
    /// Time to receive a whole request, head and body. A REST request waits as long for a worker, and for its answer.
    pub request_timeout: Duration,
    /// How long a peer may take nothing of a blocked write; in each such time it must also take 1 KiB a second on
    /// average.
    pub write_timeout: Duration,
    /// Time to send what is queued at shutdown.
    pub drain_timeout: Duration,
    /// Kernel send buffer per connection, in bytes.
    pub send_buffer_bytes: usize,
    /// Threads that answer REST requests; at most half of them build large answers.
    pub rest_workers: usize,
    /// Topics that have series of their own in `/metrics`; 0 is none.
    pub metrics_topics: usize,
    /// Foreign origins that may connect; `*` is any.
    pub allowed_origins: Vec<String>,
    /// One key that may do everything. With neither a key nor a file of keys, everyone may.
    pub api_key: Option<ApiKey>,
    /// TOML file of named keys and what each may do, read at the start and by
    /// [`Server::reload_keys`](crate::Server::reload_keys).
    pub keys_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            max_queue_size: 100,
            history_size: 100,
            history_bytes: 8 << 20,
            max_memory_bytes: 1 << 30,
            overflow: OverflowPolicy::DropOldest,
            block_timeout: Duration::from_secs(5),
            max_message_bytes: 1 << 20,
            max_connections: None,
            max_topics: 100_000,
            max_subscriptions: 1000,
            max_publish_rate: 0,
            heartbeat: Duration::from_secs(30),
            heartbeat_json: false,
            request_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
            send_buffer_bytes: 128 << 10,
            rest_workers: 4,
            metrics_topics: 0,
            allowed_origins: Vec::new(),
            api_key: None,
            keys_file: None,
        }
    }
}
