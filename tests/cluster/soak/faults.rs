//! The faults of the soak: each has a beginning and an end.

use std::time::Duration;

use crate::cluster::{BOTH, Cluster, Homes, Random, Way};

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    KillNode,
    ShutDownNode,
    StopNode,
    CutLinks,
    CutAllLinks,
    SilenceLinks,
    SilenceFromRedis,
    DelayLinks,
    ThrottleLinks,
    StopRedis,
    RestartRedis,
    KillSubscriberLinks,
    KillCommandLinks,
}

impl Fault {
    /// Those that lose nothing in Redis.
    pub(super) const HARMLESS: [Fault; 13] = [
        Fault::KillNode,
        Fault::ShutDownNode,
        Fault::StopNode,
        Fault::CutLinks,
        Fault::CutAllLinks,
        Fault::SilenceLinks,
        Fault::SilenceFromRedis,
        Fault::DelayLinks,
        Fault::ThrottleLinks,
        Fault::StopRedis,
        Fault::RestartRedis,
        Fault::KillSubscriberLinks,
        Fault::KillCommandLinks,
    ];

    pub(super) fn begin(self, cluster: &mut Cluster, node: usize, random: &mut Random) {
        let proxy = cluster.proxy(node);
        match self {
            Fault::KillNode => end_node(cluster, node, true),
            Fault::ShutDownNode => end_node(cluster, node, false),
            Fault::StopNode if cluster[node].ended().is_none() => cluster[node].pause(),
            Fault::StopNode => {}
            Fault::CutLinks => proxy.cut(),
            Fault::CutAllLinks => cluster.proxies().iter().for_each(|proxy| proxy.cut()),
            Fault::SilenceLinks => proxy.hold(&BOTH),
            Fault::SilenceFromRedis => proxy.hold(&[Way::FromRedis]),
            Fault::DelayLinks => {
                let delay = Duration::from_millis(random.between(10, 500));
                proxy.delay(&BOTH, delay);
            }
            Fault::ThrottleLinks => proxy.throttle(&BOTH, random.between(2_000, 50_000) as usize),
            Fault::StopRedis => cluster.redis().pause(),
            Fault::RestartRedis => cluster.redis().kill(),
            Fault::KillSubscriberLinks => kill_links(cluster, "pubsub"),
            Fault::KillCommandLinks => kill_links(cluster, "normal"),
        }
    }

    pub(super) fn end(self, cluster: &mut Cluster, node: usize, homes: &Homes) {
        match self {
            Fault::KillNode | Fault::ShutDownNode => replace(cluster, node, homes),
            Fault::StopNode if cluster[node].ended().is_none() => cluster[node].proceed(),
            Fault::CutLinks
            | Fault::CutAllLinks
            | Fault::SilenceLinks
            | Fault::SilenceFromRedis
            | Fault::DelayLinks
            | Fault::ThrottleLinks => cluster.proxies().iter().for_each(|proxy| proxy.heal()),
            Fault::StopRedis if cluster.redis().is_running() => cluster.redis().proceed(),
            Fault::RestartRedis => cluster.redis().restart(),
            Fault::StopNode
            | Fault::StopRedis
            | Fault::KillSubscriberLinks
            | Fault::KillCommandLinks => {}
        }
    }
}

/// Ends a node that no other fault has ended. One that is stopped can only be killed.
fn end_node(cluster: &Cluster, node: usize, kill: bool) {
    match cluster[node].ended() {
        Some(_) => {}
        None if kill => cluster[node].kill(),
        None => {
            cluster[node].proceed();
            cluster[node].shut_down();
        }
    }
}

fn replace(cluster: &mut Cluster, node: usize, homes: &Homes) {
    if cluster[node].ended().is_some() {
        let old = cluster[node].addr();
        cluster.replace_node(node);
        homes.replace(old, cluster[node].addr());
    }
}

/// Does nothing while Redis cannot be asked.
fn kill_links(cluster: &Cluster, kind: &str) {
    let command = ["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"];
    let _killed = cluster.redis().try_command(&command);
}
