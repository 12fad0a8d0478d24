//! The nodes of the cluster: what this one says of itself, what the others say, and what is done for those that died.

use std::time::{Duration, Instant};

use ::redis::{Cmd, cmd};
use serde::{Deserialize, Serialize};

use super::owners;
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::{connection::lane, shard::Shard, spread, status::State};
use crate::broker::local_topics::LocalTopics;
use crate::sync::{Arc, AtomicUsize, Ordering};

/// A node that says nothing for so long is dead.
pub(crate) const LIFE: Duration = Duration::from_secs(8);

/// This node.
pub(crate) struct Node {
    id: String,
    address: String,
    started: Instant,
    connections: Arc<AtomicUsize>,
    topics: Arc<LocalTopics>,
}

/// A node, as `GET /nodes` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeInfo {
    pub(crate) id: String,
    address: String,
    version: String,
    uptime_sec: u64,
    connections: usize,
    pub(crate) subscriptions: usize,
    engine: EngineInfo,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EngineInfo {
    state: String,
    latency_ms: f64,
}

impl Node {
    pub(crate) fn new(
        address: String,
        connections: Arc<AtomicUsize>,
        topics: &Arc<LocalTopics>,
    ) -> Node {
        Node {
            id: format!("{:016x}", uuid::Uuid::new_v4().as_u64_pair().0),
            address,
            started: Instant::now(),
            connections,
            topics: Arc::clone(topics),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn info(&self, state: State, latency_ms: f64) -> NodeInfo {
        let state = match state {
            State::Up => "up",
            State::Full | State::Down => "down",
        };
        NodeInfo {
            id: self.id.clone(),
            address: self.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_sec: self.started.elapsed().as_secs(),
            connections: self.connections.load(Ordering::Relaxed),
            subscriptions: self.topics.subscriptions(),
            engine: EngineInfo {
                state: state.to_owned(),
                latency_ms,
            },
        }
    }

    /// What the other nodes read.
    pub(crate) fn describe(&self, shard: &Shard) -> String {
        // A node that says so is not down.
        let state = match shard.is_full() {
            true => State::Full,
            false => State::Up,
        };
        let described = Described {
            info: self.info(state, shard.metrics.latency_ms()),
            redis: shard.ring.names().unwrap_or_default(),
            has_joined: shard.ring.has_joined(),
        };
        serde_json::to_string(&described).unwrap_or_default()
    }
}

/// What a node says of itself to the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Described {
    #[serde(flatten)]
    info: NodeInfo,
    /// The names of the Redis that it uses.
    redis: Vec<String>,
    /// Whether it serves, or still looks whether it may.
    has_joined: bool,
}

/// Joins the nodes of this Redis, unless those that are there, or the topics, use other Redis than this node. The error is one line for people.
///
/// A node says that it is there before it looks for others, so that of two that begin at once at least one sees the other.
pub(crate) fn join_peers(shard: &Shard) -> Result<(), String> {
    let names = shard.ring.names().ok_or("it waits for the other Redis")?;
    shard.heartbeat().map_err(|_| "it takes no heartbeat")?;
    if shard.ring.has_joined() {
        return spread::check(shard);
    }
    let nodes = living(shard).map_err(|_| "it does not tell the nodes")?;
    let own_id = shard.node.id();
    let comes_first = |node: &&Described| node.has_joined || node.info.id.as_str() < own_id;
    let mut others = nodes.iter().filter_map(|(_, node)| node.as_ref());
    match others.find(|node| node.redis != names && comes_first(node)) {
        None => spread::check(shard).inspect_err(|_| {
            let _ = shard.lane.call(&forget(shard));
        }),
        Some(other) => {
            let _ = shard.lane.call(&forget(shard));
            let NodeInfo { id, address, .. } = &other.info;
            Err(format!(
                "node {id} at {address} uses other Redis than this one"
            ))
        }
    }
}

/// The commands after which nobody knows of this node any more.
pub(crate) fn forget(shard: &Shard) -> [Cmd; 2] {
    let (keys, id) = (&shard.keys, shard.node.id());
    let mut delete = cmd("DEL");
    delete.arg(keys.node(id)).arg(keys.owned(id));
    let mut remove = cmd("SREM");
    remove.arg(keys.nodes()).arg(id);
    [delete, remove]
}

/// All nodes of this cluster that live, by id. This one is described as it is now.
pub(crate) fn list(shard: &Shard) -> Result<Vec<NodeInfo>, Unavailable> {
    let names = shard.ring.names().unwrap_or_default();
    let mut nodes: Vec<NodeInfo> = living(shard)?
        .into_iter()
        .filter_map(|(_, node)| Some(node.filter(|node| node.redis == names)?.info))
        .collect();
    nodes.retain(|node| node.id != shard.node.id());
    nodes.push(
        shard
            .node
            .info(shard.status.state(), shard.metrics.latency_ms()),
    );
    nodes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    note_subscriptions(shard, nodes.iter());
    Ok(nodes)
}

fn note_subscriptions<'a>(shard: &Shard, nodes: impl Iterator<Item = &'a NodeInfo>) {
    shard.set_subscription_count(nodes.map(|node| node.subscriptions).sum());
}

/// The ids of all nodes that took part; `None` for those that died.
fn living(shard: &Shard) -> Result<Vec<(String, Option<Described>)>, Unavailable> {
    let keys = &shard.keys;
    let mut members = cmd("SMEMBERS");
    members.arg(keys.nodes());
    let ids = lane::texts(&shard.lane.one(members)?);
    let gets: Vec<Cmd> = ids
        .iter()
        .map(|id| {
            let mut get = cmd("GET");
            get.arg(keys.node(id));
            get
        })
        .collect();
    let answers = shard.lane.call(&gets)?;
    let infos = answers
        .iter()
        .map(|answer| serde_json::from_str(&lane::text(answer)).ok());
    Ok(ids.into_iter().zip(infos).collect())
}

/// Removes what dead nodes have left: their subscriptions, then their names. All living nodes do this, and none minds that
/// another one did it before.
pub(crate) fn bury_dead(shard: &Arc<Shard>) -> Result<(), Unavailable> {
    let nodes = living(shard)?;
    let infos = nodes.iter().filter_map(|(_, node)| node.as_ref());
    note_subscriptions(shard, infos.map(|node| &node.info));
    for (id, _) in nodes
        .iter()
        .filter(|(id, info)| info.is_none() && id != shard.node.id())
    {
        let mut members = cmd("SMEMBERS");
        members.arg(shard.keys.owned(id));
        let owned = lane::texts(&shard.lane.one(members)?);
        let leaves: Vec<Cmd> = owned
            .iter()
            .filter_map(|owned| owners::leave_owned(shard, id, owned, "*"))
            .collect();
        shard.lane.call_all(&leaves)?;
        let mut forget = cmd("SREM");
        forget.arg(shard.keys.nodes()).arg(id);
        shard.lane.one(forget)?;
        tracing::warn!(
            node = id,
            subscriptions = owned.len(),
            "a node is dead; its subscriptions were removed"
        );
    }
    Ok(())
}
