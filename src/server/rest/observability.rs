//! `/health`, `/stats`, `/livez`, `/readyz`: the state of the server.

use serde::Serialize;
use serde::ser::Serializer;

use super::topics::History;
use super::{Api, problems};
use crate::broker::redis::NodeInfo;
use crate::broker::{Broker, Engine, StatsList};
use crate::server::http::{Problem, Request, Response};

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    uptime_sec: u64,
    topics: usize,
    subscribers: usize,
    connections: usize,
    delivered: u64,
    retained_bytes: usize,
    version: &'static str,
    instance: &'a str,
    engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_error: Option<String>,
}

#[derive(Serialize)]
struct Nodes {
    nodes: Vec<NodeInfo>,
}

/// The memory for the figures of a topic, with what is needed to write them.
const TOPIC_FIGURES_BYTES: usize = 250;

#[derive(Serialize)]
struct Stats {
    #[serde(serialize_with = "as_object_by_name")]
    topics: StatsList,
}

#[derive(Serialize)]
struct TopicFigures {
    messages: u64,
    subscribers: usize,
    seq: u64,
    overflow: &'static str,
    dropped: u64,
    history: History,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

impl Api {
    pub(super) fn health(&self) -> Response {
        let draining = self.broker.is_draining();
        let counts = self.broker.counts();
        let health = Health {
            status: if draining { "draining" } else { "ok" },
            uptime_sec: self.started.elapsed().as_secs(),
            topics: counts.topics,
            subscribers: counts.subscriptions,
            connections: self.connections.count(),
            delivered: self.broker.metrics().delivered_total(),
            retained_bytes: self.broker.retained_bytes(),
            version: env!("CARGO_PKG_VERSION"),
            instance: &self.instance,
            engine: match self.broker.engine() {
                Engine::Embedded => "embedded",
                Engine::Redis(redis) if redis.is_up() => "up",
                Engine::Redis(_) => "down",
            },
            engine_error: match self.broker.engine() {
                Engine::Embedded => None,
                Engine::Redis(redis) => redis.problem(),
            },
        };
        Response::json(200, &health)
    }

    pub(super) fn stats(&self, request: &Request) -> Result<Response, Problem> {
        let expected = self.broker.topic_count() * TOPIC_FIGURES_BYTES;
        Response::list(request, expected, || {
            let topics = self.broker.all_stats();
            let topics = topics.map_err(|_| problems::engine_away())?;
            Ok(Stats { topics })
        })
    }

    /// The nodes of the cluster, by id; an embedded server has none.
    pub(super) fn list_nodes(&self) -> Result<Response, Problem> {
        let nodes = match self.broker.engine() {
            Engine::Embedded => Vec::new(),
            Engine::Redis(redis) => redis.nodes().map_err(|_| problems::engine_away())?,
        };
        Ok(Response::json(200, &Nodes { nodes }))
    }

    /// Says only that the process answers.
    pub(super) fn livez(&self) -> Response {
        Response::json(200, &Status { status: "ok" })
    }

    /// Whether the server accepts new work.
    pub(super) fn readyz(&self) -> Result<Response, Problem> {
        check_ready(&self.broker)?;
        Ok(Response::json(200, &Status { status: "ok" }))
    }
}

/// Whether new work is accepted: the server does not drain, and reaches its engine.
pub(crate) fn check_ready(broker: &Broker) -> Result<(), Problem> {
    if broker.is_draining() {
        return Err(problems::shutting_down());
    }
    match broker.engine() {
        Engine::Redis(redis) if !redis.is_up() => Err(problems::engine_away()),
        _ => Ok(()),
    }
}

fn as_object_by_name<S: Serializer>(topics: &StatsList, out: S) -> Result<S::Ok, S::Error> {
    out.collect_map(topics.iter().map(|(name, stats)| {
        let figures = TopicFigures {
            messages: stats.messages,
            subscribers: stats.subscribers,
            seq: stats.seq,
            overflow: stats.overflow.as_str(),
            dropped: stats.dropped,
            history: History::from(&stats),
        };
        (name.as_str(), figures)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, get};
    use std::time::Duration;

    #[test]
    fn health_counts_what_there_is() {
        let mut server = Server::new();
        ["a", "b"].into_iter().for_each(|name| server.create(name));
        server.subscribe_idle("a");
        server.publish("a", "1");
        (1..=3).for_each(|id| server.connect(id, None, &[]));
        server.age(Duration::from_millis(3_600_900));
        let bytes = server.json(&get("/topics/a"))["history"]["bytes"].clone();
        let instance = server.instance();
        let version = env!("CARGO_PKG_VERSION");
        let health = format!(
            r#"{{"status":"ok","uptime_sec":3600,"topics":2,"subscribers":1,"connections":3,"delivered":0,"retained_bytes":{bytes},"version":"{version}","instance":"{instance}","engine":"embedded"}}"#
        );
        assert_eq!(server.answer(&get("/health")), (200, health));
    }

    #[test]
    fn stats_are_by_topic_in_the_order_of_names() {
        let server = Server::new();
        assert_eq!(
            server.answer(&get("/stats")),
            (200, r#"{"topics":{}}"#.into())
        );
        ["b", "a"].into_iter().for_each(|name| server.create(name));
        server.subscribe_idle("b");
        (0..2).for_each(|_| server.publish("b", "1"));
        let bytes = server.json(&get("/topics/b"))["history"]["bytes"].clone();
        let first_ts = server.json(&get("/topics/b/messages"))["events"][0]["ts"].clone();
        let stats = format!(
            r#"{{"topics":{{"a":{{"messages":0,"subscribers":0,"seq":0,"overflow":"drop_oldest","dropped":0,"history":{{"count":0,"bytes":0}}}},"b":{{"messages":2,"subscribers":1,"seq":2,"overflow":"drop_oldest","dropped":0,"history":{{"count":2,"bytes":{bytes},"first_seq":1,"first_ts":{first_ts}}}}}}}}}"#
        );
        assert_eq!(server.answer(&get("/stats")), (200, stats));
    }

    #[test]
    fn a_server_that_runs_is_alive_and_ready() {
        let server = Server::new();
        for path in ["/livez", "/readyz"] {
            assert_eq!(
                server.answer(&get(path)),
                (200, r#"{"status":"ok"}"#.into())
            );
        }
    }
}
