//! The suite over Redis: with `SUITE_REDIS_URL` each server of a test is a node of a cluster of its own; with
//! `SUITE_NODES=2` another node gets the requests over REST. `tests/cluster/suite` runs it so.

use std::env;

use threadcast::config::RedisUrl;
use threadcast::{DeleteTopicError, Server};
use uuid::Uuid;

use super::{Config, eventually};

/// Where the servers of a test meet, if they do.
pub(super) struct Cluster {
    redis: Option<RedisUrl>,
    prefix: String,
}

impl Cluster {
    pub(super) fn from_environment() -> Cluster {
        let url = env::var("SUITE_REDIS_URL").ok();
        Cluster {
            redis: url.map(|url| RedisUrl::new(&url).expect("the URL of a Redis")),
            prefix: format!("suite-{}", Uuid::new_v4().simple()),
        }
    }

    /// Makes a server that says nothing of Redis itself a node.
    pub(super) fn join(&self, config: &mut Config) {
        if let Some(redis) = &self.redis
            && config.redis_url.is_empty()
        {
            config.redis_url = vec![redis.clone()];
            config.redis_prefix.clone_from(&self.prefix);
        }
    }

    /// Another node with the same settings, if the environment asks for it.
    pub(super) fn second_node(&self, config: &Config) -> Option<Server> {
        let two = self.redis.is_some() && env::var("SUITE_NODES").is_ok_and(|nodes| nodes == "2");
        let node = two.then(|| Server::bind(config.clone()).expect("a free port"))?;
        self.await_ready(&node);
        Some(node)
    }

    pub(super) fn await_ready(&self, server: &Server) {
        if self.redis.is_some() {
            eventually("the node is ready", || {
                // Not over a connection, which would count.
                let asked = server.delete_topic("no-such-topic");
                matches!(asked, Err(DeleteTopicError::UnknownTopic { .. }))
            });
        }
    }
}
