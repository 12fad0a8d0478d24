//! The engine: who numbers events and keeps their history.
//!
//! Publishing has two steps everywhere. *Number*: the engine gives a batch of messages their seqs, times and epoch. *Append*:
//! the numbered events enter the topic's log on this server and are fanned out. An embedded server does both under the
//! topic's lock ([`Topic::try_publish`](super::Topic::try_publish)). On a node of a cluster Redis numbers, and each node
//! appends to its mirrors of topics.

pub(crate) mod redis;

use self::redis::Redis;
use crate::sync::Arc;

pub(crate) enum Engine {
    /// This process alone.
    Embedded,
    /// A cluster of nodes over Redis.
    Redis(Arc<Redis>),
}

/// Redis cannot be reached, or cannot do what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Topics and subscriptions of a server, or of its whole cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) topics: usize,
    pub(crate) subscriptions: usize,
}
