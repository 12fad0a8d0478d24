//! A cluster for one test: a Redis of its own, nodes, and, if wanted, a proxy before Redis for each node.

use std::net::SocketAddr;
use std::ops::Index;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Follower, Node, Proxy, Redis};

/// What a cluster is made of.
pub(crate) struct Setup {
    nodes: usize,
    variables: Vec<(String, String)>,
    redis: Option<Redis>,
    has_proxies: bool,
}

impl Setup {
    pub(crate) fn of(nodes: usize) -> Setup {
        Setup {
            nodes,
            variables: Vec::new(),
            redis: None,
            has_proxies: false,
        }
    }

    /// A setting of every node, by its environment variable.
    pub(crate) fn set(mut self, variable: &str, value: &str) -> Setup {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// This Redis instead of one with the defaults.
    pub(crate) fn over(mut self, redis: Redis) -> Setup {
        self.redis = Some(redis);
        self
    }

    /// Each node reaches Redis through a proxy of its own.
    pub(crate) fn with_proxies(mut self) -> Setup {
        self.has_proxies = true;
        self
    }

    /// Starts everything and waits until all nodes are ready.
    pub(crate) fn start(self) -> Cluster {
        let mut cluster = Cluster {
            nodes: Vec::new(),
            proxies: Vec::new(),
            redis: self.redis.unwrap_or_else(Redis::start),
            variables: self.variables,
            prefix: fresh_prefix(),
            has_proxies: self.has_proxies,
        };
        for _ in 0..self.nodes {
            cluster.start_node(&[]);
        }
        for node in &cluster.nodes {
            node.await_ready();
            assert_eq!(node.health()["engine"], "up", "a server of its own");
        }
        cluster
    }
}

/// Nodes over one Redis. `cluster[0]` is the first node.
pub(crate) struct Cluster {
    // Dropped in this order: nodes end before what they use.
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
    redis: Redis,
    variables: Vec<(String, String)>,
    prefix: String,
    has_proxies: bool,
}

impl Cluster {
    /// So many nodes with the default settings.
    pub(crate) fn of(nodes: usize) -> Cluster {
        Setup::of(nodes).start()
    }

    /// So many nodes, and one topic that exists.
    pub(crate) fn with_topic(nodes: usize, topic: &str) -> Cluster {
        let cluster = Cluster::of(nodes);
        cluster[0].create_topic(topic);
        cluster
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The proxy before Redis of a node.
    pub(crate) fn proxy(&self, node: usize) -> &Proxy {
        &self.proxies[node]
    }

    pub(crate) fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Starts one more node, with these settings besides those of all, and waits until it listens.
    pub(crate) fn start_node(&mut self, variables: &[(&str, &str)]) -> usize {
        let addr = self.next_redis_addr();
        let node = self.node_at(&self.redis.url_at(addr), variables);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Starts one more node and waits until it is ready.
    pub(crate) fn add_node(&mut self, variables: &[(&str, &str)]) -> usize {
        let number = self.start_node(variables);
        self.nodes[number].await_ready();
        number
    }

    /// A node with the settings of this cluster that reaches Redis at `url`; it is not one of `nodes`.
    pub(crate) fn node_at(&self, url: &str, variables: &[(&str, &str)]) -> Node {
        let of_all = self.variables.iter();
        let of_all = of_all.map(|(name, value)| (name.as_str(), value.as_str()));
        let mut all: Vec<_> = of_all.collect();
        all.push(("PUBSUB_REDIS_URL", url));
        all.push(("PUBSUB_REDIS_PREFIX", &self.prefix));
        all.extend(variables);
        Node::start(&all)
    }

    /// Starts a new node in the place of one that has ended, over the same link, and waits until it listens.
    pub(crate) fn replace_node(&mut self, number: usize) {
        let proxy = self.proxies.get(number);
        let addr = proxy.map_or(self.redis.node_addr(), Proxy::addr);
        self.nodes[number] = self.node_at(&self.redis.url_at(addr), &[]);
    }

    /// Subscribes to a topic on every node, as `f0`, `f1` and so on.
    pub(crate) fn follow(&self, topic: &str) -> Vec<Follower> {
        let numbered = self.nodes.iter().enumerate();
        numbered
            .map(|(n, node)| Follower::start(node, topic, &format!("f{n}")))
            .collect()
    }

    pub(crate) fn await_ready(&self) {
        self.nodes.iter().for_each(Node::await_ready);
    }

    fn next_redis_addr(&mut self) -> SocketAddr {
        if !self.has_proxies {
            return self.redis.node_addr();
        }
        let proxy = Proxy::to(self.redis.node_addr());
        let addr = proxy.addr();
        self.proxies.push(proxy);
        addr
    }
}

impl Index<usize> for Cluster {
    type Output = Node;

    fn index(&self, node: usize) -> &Node {
        &self.nodes[node]
    }
}

/// A prefix that no other test has.
fn fresh_prefix() -> String {
    static PREFIXES: AtomicU32 = AtomicU32::new(0);
    let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id())
}
