//! What the tests of a cluster share: Redis, a proxy before it, nodes, and clients that account for every event.
//!
//! Every wait has a deadline and says what it waits for. The time limits are those of the contract.

mod account;
mod auditor;
mod certificates;
mod follower;
mod homes;
mod node;
mod process;
mod proxy;
mod publisher;
mod random;
mod redis;
mod resp;
mod sentinel;
mod setup;

pub(crate) use account::Account;
pub(crate) use auditor::{audit, compare};
pub(crate) use certificates::Certificates;
pub(crate) use follower::Follower;
pub(crate) use homes::Homes;
pub(crate) use node::{Node, NodeProcess};
pub(crate) use proxy::{BOTH, Proxy, Way};
pub(crate) use publisher::{Published, Publisher};
pub(crate) use random::Random;
pub(crate) use redis::{Redis, free_port};
pub(crate) use resp::Answer;
pub(crate) use sentinel::{MASTER, Sentinel};
pub(crate) use setup::{Cluster, Setup};

use std::thread;
use std::time::{Duration, Instant};

/// How long a request takes at most while Redis is away.
pub(crate) const UNAVAILABLE_LIMIT: Duration = Duration::from_secs(2);
/// When a node says that it is not ready, after the loss of Redis.
pub(crate) const NOT_READY_LIMIT: Duration = Duration::from_secs(5);
/// When a node is ready, after the return of Redis.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(10);
/// When the lists of all nodes agree.
pub(crate) const LIST_LIMIT: Duration = Duration::from_secs(1);
/// When the counts of all nodes agree.
pub(crate) const COUNT_LIMIT: Duration = Duration::from_secs(5);
/// When the subscribers of a dead node have left.
pub(crate) const DEAD_NODE_LIMIT: Duration = Duration::from_secs(15);
/// When a node that was taken for dead is back.
pub(crate) const REJOIN_LIMIT: Duration = Duration::from_secs(10);

/// How long a test waits for what the contract gives no limit for.
pub(crate) const DELIVERY_LIMIT: Duration = Duration::from_secs(15);

/// What a busy machine adds to each limit: the test and all nodes share its processors.
pub(crate) const SLACK: Duration = Duration::from_secs(1);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; fails with `what` after `limit` and [`SLACK`].
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < limit + SLACK,
            "not within {limit:?}: {what}"
        );
        thread::park_timeout(POLL_INTERVAL);
    }
}

/// Fails with `what` if `condition` is wrong at any moment of `time`.
#[track_caller]
pub(crate) fn throughout(time: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(condition(), "no longer after {:?}: {what}", start.elapsed());
        thread::park_timeout(POLL_INTERVAL);
    }
}

/// Lets time pass: how long a fault lasts.
pub(crate) fn let_pass(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}
