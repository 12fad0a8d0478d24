//! The shapes of a trial: which subscribers it has, and the limits of the server.

use std::time::{Duration, Instant};

use threadcast::Config;

use super::{Behaviour, HISTORY_SIZE};

/// How often everyone of a crowd publishes.
const ROUND: Duration = Duration::from_millis(100);
const QUEUE_SIZE: usize = 1000;
const CROWD_QUEUE_SIZE: usize = 10;
/// Long enough that publishers lose their connections while they wait.
const LONG_WAIT: Duration = Duration::from_secs(1);
const SMALL_BUDGET_BYTES: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// Every kind of subscriber, and publishers that send as fast as they are answered.
    #[default]
    Mixed,
    /// More publishers than a queue holds, each of which sends one message at the same moment; and readers that read all
    /// the time, who must not miss one of them.
    Crowd,
    /// Like the first, with far less memory than the topics want.
    Budget,
    /// Like the first, with publishers whose connections are closed and whose key is changed all the time, also while
    /// they wait for a slow subscriber.
    Withdrawn,
}

impl Shape {
    pub(crate) fn config(self) -> Config {
        let config = Config {
            port: 0,
            history_size: HISTORY_SIZE,
            max_queue_size: QUEUE_SIZE,
            block_timeout: Duration::from_millis(200),
            send_buffer_bytes: 32 << 10,
            ..Config::default()
        };
        let default = Config::default();
        match self {
            Shape::Mixed => config,
            Shape::Withdrawn => Config {
                block_timeout: LONG_WAIT,
                ..config
            },
            Shape::Crowd => Config {
                max_queue_size: CROWD_QUEUE_SIZE,
                block_timeout: default.block_timeout,
                send_buffer_bytes: default.send_buffer_bytes,
                ..config
            },
            Shape::Budget => Config {
                max_memory_bytes: SMALL_BUDGET_BYTES,
                ..config
            },
        }
    }

    /// The most bytes that all topics together may retain.
    pub(crate) fn max_retained_bytes(self) -> Option<u64> {
        (self == Shape::Budget).then_some(SMALL_BUDGET_BYTES as u64)
    }

    /// Whether a subscriber that reads all the time must be sent every event.
    pub(crate) fn spares_fast_readers(self) -> bool {
        self == Shape::Crowd
    }

    /// Whether publishers lose their connections and their key.
    pub(crate) fn withdraws(self) -> bool {
        self == Shape::Withdrawn
    }

    /// Whether the newest events up to the history's size can be counted on.
    pub(crate) fn keeps_whole_history(self) -> bool {
        self != Shape::Budget
    }

    pub(crate) fn behaviours(self) -> &'static [Behaviour] {
        match self {
            Shape::Crowd => &[Behaviour::Fast; 10],
            Shape::Mixed | Shape::Budget | Shape::Withdrawn => &Behaviour::ALL,
        }
    }

    /// When everyone publishes together next.
    pub(crate) fn next_round(self, started: Instant) -> Option<Instant> {
        (self == Shape::Crowd).then(|| {
            let rounds = started.elapsed().as_millis() / ROUND.as_millis() + 1;
            started + ROUND * u32::try_from(rounds).unwrap_or(u32::MAX)
        })
    }
}
