//! The settings of a server. The table in this file is the one home of each: its documentation, type, default, group and range.
//!
//! [`Config`] and [`SETTINGS`] are generated from the table. Checks, `GET /config`, `--help`, `check-config` and the tables of
//! `docs/configuration.md` are loops over [`SETTINGS`]. Pure data: reads no environment, opens nothing.

mod advertised;
mod check;
mod definition;
mod networks;
mod origin;
mod redis_url;
pub(crate) mod settings;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use advertised::AdvertisedAddress;
pub use check::InvalidConfig;
pub(crate) use check::within;
pub use definition::{Field, Group, Kind, SettingDefinition};
pub(crate) use networks::parse_network;
pub use origin::normalize_origin;
pub use redis_url::RedisUrl;
pub(crate) use redis_url::{Host, Login};
pub use settings::{Setting, SettingValue, Source};

pub use crate::protocol::{OverflowPolicy, UnknownOverflowPolicy};

use crate::access::{ApiKey, JwtKeys, JwtSecret};

/// Ranges that hold for more than the setting itself.
pub mod ranges {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

    /// [`Config::max_queue_size`](super::Config::max_queue_size), and the queue of a single topic. Events.
    pub const MAX_QUEUE_SIZE: RangeInclusive<usize> = 1..=1_000_000;
    /// [`Config::history_size`](super::Config::history_size), and the history of a single topic. Events.
    pub const HISTORY_SIZE: RangeInclusive<usize> = 0..=1_000_000;
    /// [`Config::history_ttl`](super::Config::history_ttl), and the history of a single topic. 0 is any age.
    pub const HISTORY_TTL: RangeInclusive<Duration> = Duration::ZERO..=TEN_YEARS;
    /// [`Config::topic_idle`](super::Config::topic_idle), and a single topic. 0 is for ever.
    pub const TOPIC_IDLE: RangeInclusive<Duration> = Duration::ZERO..=TEN_YEARS;
    /// [`Config::idempotency_window`](super::Config::idempotency_window).
    pub const IDEMPOTENCY_WINDOW: RangeInclusive<Duration> =
        Duration::from_millis(1)..=Duration::from_secs(86_400);
    /// [`Config::max_connections`](super::Config::max_connections), and the computed number of connections.
    pub const MAX_CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
}

/// 1 TiB where memory can be that large: a bound that only stops a mistyped number.
const MAX_MEMORY: usize = if usize::BITS < 64 {
    usize::MAX / 2 + 1
} else {
    (1_u64 << 40) as usize
};

/// The shortest time a deadline may be set to.
const MIN_TIME: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

// An entry: the documentation, whose first line is the help of the command line; then
// `field: type = default, group, placeholder of the value, kind(range);`. `GET /config` lists the settings in this order.
definition::settings! {
    /// Address or host name to listen on.
    host: String = "127.0.0.1".to_owned(), Listening, "HOST", Host;

    /// Port to listen on; 0 takes any free one, which is printed.
    ///
    /// An embedded server prints nothing: [`Server::local_addr`](crate::Server::local_addr) tells which.
    port: u16 = 8080, Listening, "PORT", Port;

    /// Proxies whose X-Forwarded-For is believed: addresses and networks.
    ///
    /// Addresses such as `192.0.2.7`, and networks such as `10.0.0.0/8`. From any other peer the header is ignored.
    trusted_proxies: Vec<String> = Vec::new(), Listening, "NETWORKS", Networks;

    /// Whether every connection of a trusted proxy begins with a PROXY header.
    ///
    /// Of version 1 or 2 of the PROXY protocol. Needs [`Config::trusted_proxies`].
    proxy_protocol: bool = false, Listening, "BOOL", ProxyProtocol;

    /// Undelivered live events a subscription may hold.
    max_queue_size: usize = 100, Topics, "EVENTS", Number(ranges::MAX_QUEUE_SIZE);

    /// Events kept for replay, per topic; 0 is none.
    history_size: usize = 100, Topics, "EVENTS", Number(ranges::HISTORY_SIZE);

    /// Bytes kept for replay, per topic; 0 is none.
    history_bytes: usize = 8 << 20, Topics, "BYTES", Bytes(0..=MAX_MEMORY);

    /// Memory that retained events and remembered ids take, all topics together.
    ///
    /// In bytes.
    max_memory_bytes: usize = 1 << 30, Topics, "BYTES", Bytes(1..=MAX_MEMORY);

    /// What happens to a subscription that would hold more than its queue.
    ///
    /// Holds for topics that do not name their own policy.
    overflow: OverflowPolicy = OverflowPolicy::DropOldest, Topics, "POLICY", Overflow;

    /// How long publishers wait under the block policy.
    block_timeout: Duration = Duration::from_secs(5), Topics, "SECONDS", Time(Duration::ZERO..=HOUR);

    /// How long a topic remembers the id of an idempotent message.
    ///
    /// At most the newest 10,000 ids per topic are remembered. They count towards [`Config::max_memory_bytes`].
    idempotency_window: Duration = Duration::from_secs(120), Topics, "SECONDS", Time(ranges::IDEMPOTENCY_WINDOW);

    /// Age above which an event leaves the history; 0 is never.
    ///
    /// Holds for topics that do not name their own. It never takes an event from the queue of a live subscription.
    history_ttl: Duration = Duration::ZERO, Topics, "SECONDS", Time(ranges::HISTORY_TTL);

    /// Topics that exist from the start.
    ///
    /// One that exists already, in a cluster, stays as it is.
    topics: Vec<String> = Vec::new(), Topics, "TOPICS", TopicNames;

    /// Whether a subscribe or a publish creates a topic that does not exist.
    ///
    /// With the settings of the server. A resume behind a position above 0 creates nothing.
    auto_create_topics: bool = false, Topics, "BOOL", Switch;

    /// Time without a subscription and a publish after which a topic is deleted; 0 is never.
    ///
    /// Holds for topics that do not name their own, and counts from the creation, the last publish or the end of the last
    /// subscription.
    topic_idle: Duration = Duration::ZERO, Topics, "SECONDS", Time(ranges::TOPIC_IDLE);

    /// Largest WebSocket message or request body.
    ///
    /// In bytes.
    max_message_bytes: usize = 1 << 20, Limits, "BYTES", Bytes(1..=1 << 30);

    /// Connections at once, REST too; not more than are computed from the machine's limits.
    ///
    /// `None` takes as many as those limits allow.
    max_connections: Option<usize> = None, Limits, "CONNECTIONS", OptionalNumber(ranges::MAX_CONNECTIONS);

    /// Connections of one address at once, REST too; 0 is any number.
    ///
    /// Of IPv6 all addresses of a network of 64 bits are one. Behind a trusted proxy each request counts while it is answered.
    max_connections_per_ip: usize = 0, Limits, "CONNECTIONS", Number(0..=1_000_000);

    /// REST requests per second that one address may send; 0 is unlimited.
    ///
    /// Without OPTIONS, `/livez`, `/readyz` and handshakes.
    max_request_rate: u32 = 0, Limits, "REQUESTS", Rate(0..=100_000_000);

    /// Topics, in all.
    max_topics: usize = 100_000, Limits, "TOPICS", Number(1..=10_000_000);

    /// Subscriptions of one connection.
    max_subscriptions: usize = 1000, Limits, "SUBSCRIPTIONS", Number(1..=1_000_000);

    /// Messages per second that one connection may publish; 0 is unlimited.
    max_publish_rate: u32 = 0, Limits, "MESSAGES", Rate(0..=100_000_000);

    /// Silence after which a WebSocket is pinged, and after as much again closed.
    heartbeat: Duration = Duration::from_secs(30), Times, "SECONDS", Time(MIN_TIME..=DAY);

    /// Whether an info/ping message goes with each ping.
    heartbeat_json: bool = false, Times, "BOOL", Switch;

    /// Time to receive a whole request, head and body.
    ///
    /// For the head of the first request of a connection it counts from the moment the connection is accepted.
    /// A REST request waits as long for a worker, and for its answer.
    request_timeout: Duration = Duration::from_secs(10), Times, "SECONDS", Time(MIN_TIME..=HOUR);

    /// How long a client may take no byte, or less than 1 KiB a second, of what is sent.
    write_timeout: Duration = Duration::from_secs(10), Times, "SECONDS", Time(MIN_TIME..=HOUR);

    /// How long a connection may rest between two requests.
    ///
    /// Its first request must come within [`Config::request_timeout`].
    keep_alive: Duration = Duration::from_secs(75), Times, "SECONDS", Time(MIN_TIME..=DAY);

    /// Time to send what is queued at shutdown.
    drain_timeout: Duration = Duration::from_secs(5), Times, "SECONDS", Time(Duration::ZERO..=HOUR);

    /// Kernel send buffer of each connection.
    ///
    /// In bytes.
    send_buffer_bytes: usize = 128 << 10, Limits, "BYTES", Bytes(1..=64 << 20);

    /// Threads that answer REST requests.
    ///
    /// At most half of them build large answers.
    rest_workers: usize = 4, Limits, "THREADS", Number(1..=256);

    /// Topics with series of their own in /metrics, the busiest first; 0 is none.
    metrics_topics: usize = 0, Limits, "TOPICS", Number(0..=10_000);

    /// One key that may do everything.
    ///
    /// With neither a key, a file of keys nor tokens, everyone may do everything.
    api_key: Option<ApiKey> = None, Access, "KEY", Secret;

    /// TOML file of named keys and what each may do; read again on SIGHUP.
    ///
    /// An embedded server reads it at the start and in [`Server::reload_keys`](crate::Server::reload_keys); only the program
    /// `threadcast` listens to signals.
    keys_file: Option<PathBuf> = None, Access, "FILE", File;

    /// PEM file of the server's certificate and its chain: the port then speaks TLS; read again on SIGHUP and when it changes.
    ///
    /// TLS 1.2 and 1.3. An embedded server also reads both files again in
    /// [`Server::reload_certificate`](crate::Server::reload_certificate).
    tls_cert: Option<PathBuf> = None, Listening, "FILE", Certificates;

    /// PEM file of the key of that certificate.
    ///
    /// Of [`Config::tls_cert`]: both are given, or neither.
    tls_key: Option<PathBuf> = None, Listening, "FILE", PrivateKey;

    /// Secret that signs tokens (HS256), of at least 32 bytes.
    ///
    /// See [`JwtSecret`].
    jwt_secret: Option<JwtSecret> = None, Access, "SECRET", TokenSecret;

    /// Public keys that check tokens: a PEM or JWKS file, read again on SIGHUP, or the https URL of a JWKS.
    ///
    /// RS256, ES256 or EdDSA. See [`JwtKeys`]. An embedded server reads a file again in [`Server::reload_keys`](crate::Server::reload_keys).
    jwt_keys: Option<JwtKeys> = None, Access, "FILE|URL", TokenKeys;

    /// PEM file of the authorities that may sign the certificate of that URL; without one, those of the system.
    ///
    /// Read again with each fetch.
    jwt_keys_ca_file: Option<PathBuf> = None, Access, "FILE", Certificates;

    /// Audience that a token must be for.
    ///
    /// The claim `aud`. With none, a token that has an audience is refused.
    jwt_audience: Option<String> = None, Access, "TEXT", Claim;

    /// Issuer that a token must be from.
    ///
    /// The claim `iss`.
    jwt_issuer: Option<String> = None, Access, "TEXT", Claim;

    /// WebSockets and event streams of one user, the sub of a token; 0 is unlimited.
    max_connections_per_user: usize = 0, Limits, "CONNECTIONS", Number(0..=1_000_000);

    /// Origins whose pages may connect and read responses besides the server's own; * is any.
    allowed_origins: Vec<String> = Vec::new(), Limits, "ORIGINS", Origins;

    /// Redis that makes several servers one; several URLs share the topics.
    ///
    /// With none, topics live in this process. See [`RedisUrl`].
    redis_url: Vec<RedisUrl> = Vec::new(), Cluster, "URLS", RedisUrls;

    /// Begin of all names in Redis: servers with the same one and the same Redis are one.
    redis_prefix: String = "threadcast".to_owned(), Cluster, "PREFIX", RedisPrefix;

    /// Address at which other machines reach this server, as the list of nodes shows it; by default where it listens.
    ///
    /// `host:port`, or a host alone, which gets the port that the server listens on. By default, a server that listens on every
    /// address of its machine shows the name of the machine.
    advertised_address: Option<String> = None, Cluster, "ADDRESS", Address;

    /// PEM file of the authorities that may sign the certificate of a Redis; without one, those of the system.
    ///
    /// Read again whenever a server connects.
    redis_ca_file: Option<PathBuf> = None, Cluster, "FILE", Certificates;

    /// PEM file of this server's certificate, for a Redis that asks for one.
    ///
    /// Read again whenever a server connects.
    redis_cert_file: Option<PathBuf> = None, Cluster, "FILE", Certificates;

    /// PEM file of the key of that certificate.
    ///
    /// Of [`Config::redis_cert_file`]: both are given, or neither.
    redis_key_file: Option<PathBuf> = None, Cluster, "FILE", PrivateKey;
}
