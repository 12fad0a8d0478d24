//! Every setting of the server as a flag and an environment variable, and from them its [`Config`].
//! Defaults and ranges are the library's: here they are only shown and read.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};
use threadcast::ApiKey;
use threadcast::config::{Config, OverflowPolicy, ranges};
use tracing::Level;

use super::logging::{self, Format};
use super::value::{self, Bytes, Maybe, Origins, Seconds};

/// The settings of the server, as they stand in its help.
#[derive(Debug, Clone, Args)]
pub(super) struct Settings {
    #[command(flatten)]
    pub(super) listen: Listen,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    topics: Topics,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    pub(super) logs: Logs,
}

/// Where the server listens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub(super) struct Listen {
    /// Address or host name to listen on
    #[arg(long, env = "PUBSUB_HOST", value_name = "HOST")]
    #[arg(default_value_t = defaults().host, value_parser = value::host())]
    pub(super) host: String,

    /// Port to listen on; 0 takes any free one, which is printed
    #[arg(long, env = "PUBSUB_PORT", value_name = "PORT")]
    #[arg(default_value_t = defaults().port, value_parser = value::port())]
    pub(super) port: u16,
}

/// Who may do what. Without a key everyone may do everything.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct Access {
    /// One key that may do everything [default: none]
    #[arg(long, env = "PUBSUB_API_KEY", value_name = "KEY")]
    #[arg(value_parser = value::api_key())]
    api_key: Option<Maybe<ApiKey>>,

    /// TOML file of named keys and what each may do; read again on SIGHUP [default: none]
    #[arg(long, env = "PUBSUB_KEYS_FILE", value_name = "FILE")]
    #[arg(value_parser = value::file(), value_hint = ValueHint::FilePath)]
    keys_file: Option<Maybe<PathBuf>>,
}

/// What a topic keeps, and what it does when a subscriber is slow.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Topics")]
pub(super) struct Topics {
    /// Undelivered live events a subscription may hold
    #[arg(long, env = "PUBSUB_MAX_QUEUE_SIZE", value_name = "EVENTS")]
    #[arg(default_value_t = defaults().max_queue_size)]
    #[arg(value_parser = value::number(ranges::MAX_QUEUE_SIZE))]
    max_queue_size: usize,

    /// Events kept for replay, per topic; 0 is none
    #[arg(long, env = "PUBSUB_HISTORY_SIZE", value_name = "EVENTS")]
    #[arg(default_value_t = defaults().history_size)]
    #[arg(value_parser = value::number(ranges::HISTORY_SIZE))]
    history_size: usize,

    /// Bytes kept for replay, per topic; 0 is none
    #[arg(long, env = "PUBSUB_HISTORY_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = Bytes(defaults().history_bytes))]
    #[arg(value_parser = value::bytes(ranges::HISTORY_BYTES))]
    history_bytes: Bytes,

    /// Memory that retained events take, all topics together
    #[arg(long, env = "PUBSUB_MAX_MEMORY_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = Bytes(defaults().max_memory_bytes))]
    #[arg(value_parser = value::bytes(ranges::MAX_MEMORY_BYTES))]
    max_memory_bytes: Bytes,

    /// What happens to a subscription that would hold more than its queue
    #[arg(long, env = "PUBSUB_OVERFLOW", value_name = "POLICY")]
    #[arg(default_value_t = defaults().overflow, value_parser = overflow())]
    overflow: OverflowPolicy,

    /// How long publishers wait under the block policy
    #[arg(long, env = "PUBSUB_BLOCK_TIMEOUT_SECS", value_name = "SECONDS")]
    #[arg(default_value_t = Seconds(defaults().block_timeout))]
    #[arg(value_parser = value::seconds(ranges::BLOCK_TIMEOUT))]
    block_timeout_secs: Seconds,
}

/// What clients may use up.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// Largest WebSocket message or request body
    #[arg(long, env = "PUBSUB_MAX_MESSAGE_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = Bytes(defaults().max_message_bytes))]
    #[arg(value_parser = value::bytes(ranges::MAX_MESSAGE_BYTES))]
    max_message_bytes: Bytes,

    /// Connections at once, REST too; not more than are computed from the machine's limits [default: computed]
    #[arg(long, env = "PUBSUB_MAX_CONNECTIONS", value_name = "CONNECTIONS")]
    #[arg(value_parser = value::number(ranges::MAX_CONNECTIONS))]
    max_connections: Option<usize>,

    /// Topics, in all
    #[arg(long, env = "PUBSUB_MAX_TOPICS", value_name = "TOPICS")]
    #[arg(default_value_t = defaults().max_topics)]
    #[arg(value_parser = value::number(ranges::MAX_TOPICS))]
    max_topics: usize,

    /// Subscriptions of one connection
    #[arg(long, env = "PUBSUB_MAX_SUBSCRIPTIONS", value_name = "SUBSCRIPTIONS")]
    #[arg(default_value_t = defaults().max_subscriptions)]
    #[arg(value_parser = value::number(ranges::MAX_SUBSCRIPTIONS))]
    max_subscriptions: usize,

    /// Messages per second that one connection may publish; 0 is unlimited
    #[arg(long, env = "PUBSUB_MAX_PUBLISH_RATE", value_name = "MESSAGES")]
    #[arg(default_value_t = defaults().max_publish_rate)]
    #[arg(value_parser = value::number(ranges::MAX_PUBLISH_RATE))]
    max_publish_rate: u32,

    /// Kernel send buffer of each connection
    #[arg(long, env = "PUBSUB_SEND_BUFFER_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = Bytes(defaults().send_buffer_bytes))]
    #[arg(value_parser = value::bytes(ranges::SEND_BUFFER_BYTES))]
    send_buffer_bytes: Bytes,

    /// Threads that answer REST requests
    #[arg(long, env = "PUBSUB_REST_WORKERS", value_name = "THREADS")]
    #[arg(default_value_t = defaults().rest_workers)]
    #[arg(value_parser = value::number(ranges::REST_WORKERS))]
    rest_workers: usize,

    /// Topics with series of their own in /metrics, the busiest first; 0 is none
    #[arg(long, env = "PUBSUB_METRICS_TOPICS", value_name = "TOPICS")]
    #[arg(default_value_t = defaults().metrics_topics)]
    #[arg(value_parser = value::number(ranges::METRICS_TOPICS))]
    metrics_topics: usize,

    /// Origins whose pages may connect besides the server's own; * is any [default: none]
    #[arg(long, env = "PUBSUB_ALLOWED_ORIGINS", value_name = "ORIGINS")]
    #[arg(default_value_t = Origins(defaults().allowed_origins))]
    #[arg(value_parser = value::origins(), hide_default_value = true)]
    allowed_origins: Origins,
}

/// How long things may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Times")]
pub(super) struct Times {
    /// Silence after which a WebSocket is pinged, and after as much again closed
    #[arg(long, env = "PUBSUB_HEARTBEAT_SECS", value_name = "SECONDS")]
    #[arg(default_value_t = Seconds(defaults().heartbeat))]
    #[arg(value_parser = value::seconds(ranges::HEARTBEAT))]
    heartbeat_secs: Seconds,

    /// Whether an info/ping message goes with each ping
    #[arg(long, env = "PUBSUB_HEARTBEAT_JSON", value_name = "BOOL")]
    #[arg(default_value_t = defaults().heartbeat_json)]
    #[arg(value_parser = value::switch(), action = ArgAction::Set)]
    heartbeat_json: bool,

    /// Time to receive a whole request, head and body
    #[arg(long, env = "PUBSUB_REQUEST_TIMEOUT_SECS", value_name = "SECONDS")]
    #[arg(default_value_t = Seconds(defaults().request_timeout))]
    #[arg(value_parser = value::seconds(ranges::REQUEST_TIMEOUT))]
    request_timeout_secs: Seconds,

    /// How long a client may take no byte, or less than 1 KiB a second, of what is sent
    #[arg(long, env = "PUBSUB_WRITE_TIMEOUT_SECS", value_name = "SECONDS")]
    #[arg(default_value_t = Seconds(defaults().write_timeout))]
    #[arg(value_parser = value::seconds(ranges::WRITE_TIMEOUT))]
    write_timeout_secs: Seconds,

    /// Time to send what is queued at shutdown
    #[arg(long, env = "PUBSUB_DRAIN_TIMEOUT_SECS", value_name = "SECONDS")]
    #[arg(default_value_t = Seconds(defaults().drain_timeout))]
    #[arg(value_parser = value::seconds(ranges::DRAIN_TIMEOUT))]
    drain_timeout_secs: Seconds,
}

/// What is logged, on standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct Logs {
    /// The least severe level that is logged
    #[arg(long, env = "PUBSUB_LOG_LEVEL", value_name = "LEVEL")]
    #[arg(default_value_t = Level::INFO, value_parser = logging::level())]
    pub(super) log_level: Level,

    /// The shape of a log line
    #[arg(long, env = "PUBSUB_LOG_FORMAT", value_name = "FORMAT")]
    #[arg(default_value_t = Format::default(), value_parser = logging::format())]
    pub(super) log_format: Format,
}

impl Settings {
    /// What the server is started with.
    pub(super) fn config(self) -> Config {
        let Settings {
            listen,
            access,
            topics,
            limits,
            times,
            logs: _,
        } = self;
        Config {
            host: listen.host,
            port: listen.port,
            max_queue_size: topics.max_queue_size,
            history_size: topics.history_size,
            history_bytes: topics.history_bytes.0,
            max_memory_bytes: topics.max_memory_bytes.0,
            overflow: topics.overflow,
            block_timeout: topics.block_timeout_secs.0,
            max_message_bytes: limits.max_message_bytes.0,
            max_connections: limits.max_connections,
            max_topics: limits.max_topics,
            max_subscriptions: limits.max_subscriptions,
            max_publish_rate: limits.max_publish_rate,
            send_buffer_bytes: limits.send_buffer_bytes.0,
            rest_workers: limits.rest_workers,
            metrics_topics: limits.metrics_topics,
            allowed_origins: limits.allowed_origins.0,
            heartbeat: times.heartbeat_secs.0,
            heartbeat_json: times.heartbeat_json,
            request_timeout: times.request_timeout_secs.0,
            write_timeout: times.write_timeout_secs.0,
            drain_timeout: times.drain_timeout_secs.0,
            api_key: access.api_key.and_then(|key| key.0),
            keys_file: access.keys_file.and_then(|file| file.0),
        }
    }
}

fn defaults() -> Config {
    Config::default()
}

/// The settings whose values are secrets.
pub(super) const SECRETS: [&str; 1] = ["api_key"];

pub(super) fn overflow() -> value::Allowed<OverflowPolicy> {
    let names = OverflowPolicy::ALL.map(OverflowPolicy::as_str);
    value::choice(names, |name| name.parse().ok())
}
