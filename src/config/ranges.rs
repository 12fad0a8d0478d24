//! What each setting may be: the one home of these bounds, for the library and the command line alike.

use std::ops::RangeInclusive;
use std::time::Duration;

/// 1 TiB where memory can be that large: a bound that only stops a mistyped figure.
const MOST_MEMORY: usize = if usize::BITS < 64 {
    usize::MAX / 2 + 1
} else {
    (1_u64 << 40) as usize
};

/// The shortest time a deadline may be set to.
const SHORTEST: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// [`Config::max_queue_size`](super::Config::max_queue_size), events.
pub const MAX_QUEUE_SIZE: RangeInclusive<usize> = 1..=1_000_000;
/// [`Config::history_size`](super::Config::history_size), events.
pub const HISTORY_SIZE: RangeInclusive<usize> = 0..=1_000_000;
/// [`Config::history_bytes`](super::Config::history_bytes), bytes.
pub const HISTORY_BYTES: RangeInclusive<usize> = 0..=MOST_MEMORY;
/// [`Config::max_memory_bytes`](super::Config::max_memory_bytes), bytes.
pub const MAX_MEMORY_BYTES: RangeInclusive<usize> = 1..=MOST_MEMORY;
/// [`Config::block_timeout`](super::Config::block_timeout).
pub const BLOCK_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// [`Config::max_message_bytes`](super::Config::max_message_bytes), bytes.
pub const MAX_MESSAGE_BYTES: RangeInclusive<usize> = 1..=1 << 30;
/// [`Config::max_connections`](super::Config::max_connections), connections.
pub const MAX_CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// [`Config::max_topics`](super::Config::max_topics), topics.
pub const MAX_TOPICS: RangeInclusive<usize> = 1..=10_000_000;
/// [`Config::max_subscriptions`](super::Config::max_subscriptions), subscriptions.
pub const MAX_SUBSCRIPTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// [`Config::max_publish_rate`](super::Config::max_publish_rate), messages per second.
pub const MAX_PUBLISH_RATE: RangeInclusive<u32> = 0..=100_000_000;
/// [`Config::heartbeat`](super::Config::heartbeat).
pub const HEARTBEAT: RangeInclusive<Duration> = SHORTEST..=DAY;
/// [`Config::request_timeout`](super::Config::request_timeout).
pub const REQUEST_TIMEOUT: RangeInclusive<Duration> = SHORTEST..=HOUR;
/// [`Config::write_timeout`](super::Config::write_timeout).
pub const WRITE_TIMEOUT: RangeInclusive<Duration> = SHORTEST..=HOUR;
/// [`Config::drain_timeout`](super::Config::drain_timeout).
pub const DRAIN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=HOUR;
/// [`Config::send_buffer_bytes`](super::Config::send_buffer_bytes), bytes.
pub const SEND_BUFFER_BYTES: RangeInclusive<usize> = 1..=64 << 20;
/// [`Config::rest_workers`](super::Config::rest_workers), threads.
pub const REST_WORKERS: RangeInclusive<usize> = 1..=256;
/// [`Config::metrics_topics`](super::Config::metrics_topics), topics.
pub const METRICS_TOPICS: RangeInclusive<usize> = 0..=10_000;
