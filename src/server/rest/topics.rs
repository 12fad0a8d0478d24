//! `/topics` and `/topics/{name}`: creates, lists, shows, changes and deletes topics.

use std::time::Duration;

use serde::Serialize;
use serde::ser::Serializer;

use super::topic_options::{read_change, read_new_topic};
use super::{Api, problems};
use crate::broker::{self, TopicStats};
use crate::config::SettingValue;
use crate::protocol::{TopicFilter, TopicName};
use crate::server::http::{Problem, Request, Response};

#[derive(Serialize)]
struct Changed<'a> {
    status: &'static str,
    topic: &'a str,
}

/// The memory for a topic in the list, with what is needed to write it.
const TOPIC_LINE_BYTES: usize = 80;

#[derive(Serialize)]
struct TopicList<'a> {
    topics: Lines<'a>,
}

struct Lines<'a> {
    topics: broker::TopicList,
    /// Only those that match.
    filter: Option<&'a TopicFilter>,
}

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let is_shown = |name: &TopicName| {
            self.filter
                .is_none_or(|filter| filter.matches(name.as_str()))
        };
        let topics = self.topics.iter().filter(|(name, _)| is_shown(name));
        out.collect_seq(topics.map(|(name, subscribers)| TopicLine {
            name: name.as_str(),
            subscribers,
        }))
    }
}

#[derive(Serialize)]
struct TopicLine<'a> {
    name: &'a str,
    subscribers: usize,
}

#[derive(Serialize)]
struct TopicDetails<'a> {
    name: &'a str,
    subscribers: usize,
    messages: u64,
    seq: u64,
    epoch: String,
    history: History,
    overflow: &'static str,
    limits: Limits,
    dropped: u64,
}

/// What a topic's log holds now; `/stats` shows it too.
#[derive(Serialize)]
pub(super) struct History {
    count: usize,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_ts: Option<String>,
}

#[derive(Serialize)]
struct Limits {
    history_size: usize,
    history_bytes: usize,
    max_queue_size: usize,
    /// 0 is for ever.
    history_ttl_secs: SettingValue,
    idle_secs: SettingValue,
}

impl Api {
    pub(super) fn create_topic(&self, request: &Request) -> Result<Response, Problem> {
        self.refuse_while_draining()?;
        let (name, options) = read_new_topic(request)?;
        let created = self.broker.create_topic(&name, &options);
        created.map_err(|error| problems::create_refused(&name, &error))?;
        Ok(changed(201, "created", &name))
    }

    pub(super) fn delete_topic(&self, name: &TopicName) -> Result<Response, Problem> {
        self.refuse_while_draining()?;
        match self.broker.delete_topic(name) {
            Ok(true) => Ok(changed(200, "deleted", name)),
            Ok(false) => Err(problems::topic_not_found(name.as_str())),
            Err(_) => Err(problems::engine_away()),
        }
    }

    /// Changes the settings that the body has, and answers as `GET` does.
    pub(super) fn change_topic(
        &self,
        name: &TopicName,
        request: &Request,
    ) -> Result<Response, Problem> {
        self.refuse_while_draining()?;
        let change = read_change(request)?;
        let changed = self.broker.change_topic(name, &change);
        let stats = changed.map_err(|error| problems::change_refused(name, error))?;
        Ok(Response::json(200, &TopicDetails::of(name, &stats)))
    }

    pub(super) fn list_topics(
        &self,
        request: &Request,
        filter: Option<&TopicFilter>,
    ) -> Result<Response, Problem> {
        let expected = self.broker.topic_count() * TOPIC_LINE_BYTES;
        Response::list(request, expected, || {
            let topics = self.broker.list_topics();
            let topics = topics.map_err(|_| problems::engine_away())?;
            Ok(TopicList {
                topics: Lines { topics, filter },
            })
        })
    }

    pub(super) fn show_topic(&self, name: &TopicName) -> Result<Response, Problem> {
        let stats = self.broker.topic_stats(name);
        let stats = stats.map_err(|error| problems::topic_refused(name, error))?;
        Ok(Response::json(200, &TopicDetails::of(name, &stats)))
    }
}

fn seconds(time: Option<Duration>) -> SettingValue {
    SettingValue::Time(time.unwrap_or_default())
}

fn changed(status: u16, what: &'static str, name: &TopicName) -> Response {
    let body = Changed {
        status: what,
        topic: name.as_str(),
    };
    Response::json(status, &body)
}

impl<'a> TopicDetails<'a> {
    fn of(name: &'a TopicName, stats: &TopicStats) -> TopicDetails<'a> {
        TopicDetails {
            name: name.as_str(),
            subscribers: stats.subscribers,
            messages: stats.messages,
            seq: stats.seq,
            history: History::from(stats),
            epoch: stats.epoch.to_string(),
            overflow: stats.overflow.as_str(),
            limits: Limits {
                history_size: stats.history_size,
                history_bytes: stats.max_history_bytes,
                max_queue_size: stats.max_queue_size,
                history_ttl_secs: seconds(stats.lifetimes.history_ttl),
                idle_secs: seconds(stats.lifetimes.idle),
            },
            dropped: stats.dropped,
        }
    }
}

impl From<&TopicStats> for History {
    fn from(stats: &TopicStats) -> Self {
        History {
            count: stats.history_count,
            bytes: stats.history_bytes,
            first_seq: stats.history_first_seq,
            first_ts: stats.history_first_ts.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Server, delete, get, post};

    #[test]
    fn a_topic_lives_from_its_creation_to_its_deletion() {
        let server = Server::new();
        let created = server.answer(&post("/topics", br#"{"name":"orders"}"#));
        assert_eq!(
            created,
            (201, r#"{"status":"created","topic":"orders"}"#.into())
        );
        let again = server.answer(&post("/topics", br#"{"name":"orders"}"#));
        let conflict = r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"Topic 'orders' already exists","code":"TOPIC_EXISTS"}"#;
        assert_eq!(again, (409, conflict.into()));
        let deleted = server.answer(&delete("/topics/orders"));
        assert_eq!(
            deleted,
            (200, r#"{"status":"deleted","topic":"orders"}"#.into())
        );
        let missing = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"Topic 'orders' not found","code":"TOPIC_NOT_FOUND"}"#;
        for request in [delete("/topics/orders"), get("/topics/orders")] {
            assert_eq!(server.answer(&request), (404, missing.into()));
        }
    }

    #[test]
    fn topics_are_listed_by_name() {
        let server = Server::new();
        assert_eq!(
            server.answer(&get("/topics")),
            (200, r#"{"topics":[]}"#.into())
        );
        ["b", "_", "a"]
            .into_iter()
            .for_each(|name| server.create(name));
        server.subscribe_idle("a");
        let list = r#"{"topics":[{"name":"_","subscribers":0},{"name":"a","subscribers":1},{"name":"b","subscribers":0}]}"#;
        assert_eq!(server.answer(&get("/topics")), (200, list.into()));
    }

    #[test]
    fn only_topics_that_match_are_listed() {
        let server = Server::new();
        for name in ["shop.eu", "shop.us", "shop"] {
            server.create(name);
        }
        let names = |query: &str| {
            let list = server.json(&get(&format!("/topics?match={query}")));
            let topics = list["topics"].as_array().unwrap().iter();
            let names = topics.map(|topic| topic["name"].as_str().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(names("shop.*"), ["shop.eu", "shop.us"]);
        assert_eq!(names("%2Aus"), ["shop.us"]);
        assert_eq!(names("shop"), ["shop"]);
        for (query, detail) in [
            (
                "match=*****",
                "match: a pattern must be 1 to 128 characters",
            ),
            ("match=", "match: topic must be 1 to 128 characters"),
            ("match=a&match=b", "query parameter 'match' appears twice"),
        ] {
            let (status, problem) = server.answer(&get(&format!("/topics?{query}")));
            assert_eq!(status, 422, "{query}");
            assert!(problem.contains(detail), "{query}: {problem}");
        }
    }

    #[test]
    fn a_topic_shows_its_history_and_its_limits() {
        let server = Server::new();
        server.create("t");
        let epoch = server.epoch("t");
        let empty = format!(
            r#"{{"name":"t","subscribers":0,"messages":0,"seq":0,"epoch":"{epoch}","history":{{"count":0,"bytes":0}},"overflow":"drop_oldest","limits":{{"history_size":100,"history_bytes":8388608,"max_queue_size":100,"history_ttl_secs":0,"idle_secs":0}},"dropped":0}}"#
        );
        assert_eq!(server.answer(&get("/topics/t")), (200, empty));

        let small = br#"{"name":"s","history_size":2,"max_queue_size":1,"overflow":"block","history_ttl_secs":0.5e2,"idle_secs":0.5}"#;
        assert_eq!(server.answer(&post("/topics", small)).0, 201);
        (0..3).for_each(|_| server.publish("s", "1"));
        let shown = server.json(&get("/topics/s"));
        let (epoch, bytes) = (server.epoch("s"), &shown["history"]["bytes"]);
        let first_ts = &server.json(&get("/topics/s/messages"))["events"][0]["ts"];
        assert!(bytes.as_u64().is_some_and(|bytes| bytes > 0), "{shown}");
        let full = format!(
            r#"{{"name":"s","subscribers":0,"messages":3,"seq":3,"epoch":"{epoch}","history":{{"count":2,"bytes":{bytes},"first_seq":2,"first_ts":{first_ts}}},"overflow":"block","limits":{{"history_size":2,"history_bytes":8388608,"max_queue_size":1,"history_ttl_secs":50,"idle_secs":0.5}},"dropped":0}}"#
        );
        assert_eq!(server.answer(&get("/topics/s")), (200, full));
    }

    #[test]
    fn one_topic_too_many_is_over_the_limit() {
        let server = Server::with_max_topics(1);
        server.create("a");
        let over = server.answer(&post("/topics", br#"{"name":"b"}"#));
        let problem = r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"The server has as many topics as it may have","code":"LIMIT_REACHED"}"#;
        assert_eq!(over, (429, problem.into()));
        assert_eq!(server.answer(&post("/topics", br#"{"name":"a"}"#)).0, 409);
    }
}
