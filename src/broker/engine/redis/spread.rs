//! The set of Redis over which the topics of a cluster are spread. Each Redis keeps it: a node that uses another set would list
//! topics that it cannot find.

use ::redis::cmd;

use super::shard::Shard;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{connection::lane, members::owners};

/// Compares the set that a Redis keeps with the set of this node. A Redis without topics keeps that of this node from now on.
/// The error is one line for people.
pub(super) fn check(shard: &Shard) -> Result<(), String> {
    let places = shard.ring.places().ok_or("it waits for the other Redis")?;
    let own = places.join(", ");
    let (kept, topics) = read(shard).map_err(|Unavailable| "it does not tell its settings")?;
    if kept == own {
        return Ok(());
    }
    if !kept.is_empty() && topics > 0 {
        return Err(format!(
            "its topics are spread over other Redis ({kept}) than this node uses ({own}), which would not find them: set PUBSUB_REDIS_URL to those, or another PUBSUB_REDIS_PREFIX"
        ));
    }
    // A Redis that is full keeps it after one of the next connects.
    if !shard.is_full() {
        let mut keep = cmd("HSET");
        keep.arg(shard.keys.meta()).arg("spread").arg(&own);
        let kept = shard.lane.one(keep);
        kept.map_err(|Unavailable| "it takes no settings")?;
    }
    Ok(())
}

/// The set that a Redis keeps, empty if it keeps none, and how many topics it has.
fn read(shard: &Shard) -> Result<(String, usize), Unavailable> {
    let mut get = cmd("HGET");
    get.arg(shard.keys.meta()).arg("spread");
    let mut count = cmd("SCARD");
    count.arg(shard.keys.topics());
    match &shard.lane.call(&[get, count])?[..] {
        [kept, topics] => Ok((lane::text(kept), owners::count(topics))),
        _ => Err(Unavailable),
    }
}
