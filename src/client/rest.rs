//! The REST side: topics, their history, the state of the server. Each request has a connection of its own.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::Agent;
use ureq::http::{Method, Request, header};

use super::settings::Settings;
use super::wire::{self, Frame, GapFields};
use super::{Connections, Error, Event, Gap, Start};
use crate::protocol::OverflowPolicy;

/// The largest answer that is read.
const ANSWER_BYTES: u64 = 256 << 20;

/// What a new topic has of its own; `None` is the server's setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// Events kept for replay.
    pub history_size: Option<usize>,
    /// Undelivered events a subscription may hold.
    pub max_queue_size: Option<usize>,
    /// What happens to a subscription that would hold more.
    pub overflow: Option<OverflowPolicy>,
}

/// A topic in the list of topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// Its subscriptions.
    pub subscribers: u64,
}

/// The state of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Its subscriptions.
    pub subscribers: u64,
    /// Messages published since it was created.
    pub messages: u64,
    /// The newest number; 0 when there is none.
    pub seq: u64,
    /// Which life of the topic this is. Opaque.
    pub epoch: String,
    /// What is kept for replay.
    pub history: HistoryState,
    /// The overflow policy.
    pub overflow: String,
    /// What it may keep.
    pub limits: TopicLimits,
    /// Events skipped for slow subscribers, counted once for each of them.
    pub dropped: u64,
}

/// What a topic keeps for replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryState {
    /// Events.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
    /// The oldest number, unless there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// When the oldest of them reached the server: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ts: Option<String>,
}

/// The limits of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicLimits {
    /// Events kept for replay.
    pub history_size: u64,
    /// Bytes kept for replay.
    pub history_bytes: u64,
    /// Undelivered events a subscription may hold.
    pub max_queue_size: u64,
}

/// The state of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// Which start of the server this is: opaque, and another one after each. Empty when the server does not say.
    #[serde(default)]
    pub instance: String,
    /// Seconds since the start.
    pub uptime_sec: u64,
    /// Topics.
    pub topics: u64,
    /// Subscriptions, all topics together.
    pub subscribers: u64,
    /// Connections, REST too.
    #[serde(default)]
    pub connections: u64,
    /// Events given to subscribers since the start, once for each subscription.
    #[serde(default)]
    pub delivered: u64,
    /// Bytes of retained events.
    #[serde(default)]
    pub retained_bytes: u64,
    /// The server's version.
    #[serde(default)]
    pub version: String,
}

/// What a topic has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopicStats {
    /// Messages published since it was created.
    pub messages: u64,
    /// Its subscriptions.
    pub subscribers: u64,
    /// The newest number; 0 when there is none.
    #[serde(default)]
    pub seq: u64,
    /// Events skipped for slow subscribers, counted once for each of them.
    #[serde(default)]
    pub dropped: u64,
    /// What is kept for replay.
    #[serde(default)]
    pub history: HistoryState,
}

/// A part of a topic's history.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct History {
    /// Which life of the topic this is. Opaque.
    pub epoch: String,
    /// The newest number in the topic.
    pub seq: u64,
    /// What is missing before the first event, if that was asked for.
    pub gap: Option<Gap>,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

/// The door to the REST side.
#[derive(Debug)]
pub(super) struct Rest {
    agent: Agent,
    settings: Arc<Settings>,
}

impl Rest {
    pub(super) fn new(settings: Arc<Settings>) -> Rest {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(settings.request_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .user_agent(concat!("threadcast/", env!("CARGO_PKG_VERSION")))
            .build();
        Rest {
            agent: Agent::new_with_config(config),
            settings,
        }
    }

    pub(super) fn create_topic(&self, name: &str, options: &TopicOptions) -> Result<(), Error> {
        #[derive(Serialize)]
        struct NewTopic<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            history_size: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_queue_size: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            overflow: Option<&'static str>,
        }
        let body = serde_json::to_string(&NewTopic {
            name,
            history_size: options.history_size,
            max_queue_size: options.max_queue_size,
            overflow: options.overflow.map(OverflowPolicy::as_str),
        })
        .map_err(Error::Payload)?;
        self.ask(Method::POST, "/topics", body).map(drop)
    }

    pub(super) fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.ask(Method::DELETE, &format!("/topics/{name}"), String::new())
            .map(drop)
    }

    pub(super) fn topics(&self) -> Result<Vec<TopicSummary>, Error> {
        #[derive(Deserialize)]
        struct Topics {
            topics: Vec<TopicSummary>,
        }
        self.get("/topics").map(|list: Topics| list.topics)
    }

    pub(super) fn topic(&self, name: &str) -> Result<TopicState, Error> {
        self.get(&format!("/topics/{name}"))
    }

    pub(super) fn health(&self) -> Result<Health, Error> {
        self.get("/health")
    }

    pub(super) fn stats(&self) -> Result<BTreeMap<String, TopicStats>, Error> {
        #[derive(Deserialize)]
        struct Stats {
            topics: BTreeMap<String, TopicStats>,
        }
        self.get("/stats").map(|stats: Stats| stats.topics)
    }

    pub(super) fn connections(&self, limit: u64) -> Result<Connections, Error> {
        self.get(&format!("/connections?limit={limit}"))
    }

    pub(super) fn livez(&self) -> Result<(), Error> {
        self.ask(Method::GET, "/livez", String::new()).map(drop)
    }

    pub(super) fn history(&self, topic: &str, start: &Start) -> Result<History, Error> {
        let path = format!("/topics/{topic}/messages");
        let path = match start {
            Start::Now => format!("{path}?last_n=0"),
            Start::Last(n) => format!("{path}?last_n={n}"),
            Start::After { seq, epoch: None } => format!("{path}?after_seq={seq}"),
            Start::After {
                seq,
                epoch: Some(epoch),
            } => {
                if !epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(Error::invalid("epoch: take it from a Position"));
                }
                format!("{path}?after_seq={seq}&epoch={epoch}")
            }
        };
        let text = self.ask(Method::GET, &path, String::new())?;
        read_history(topic, &text)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let text = self.ask(Method::GET, path, String::new())?;
        serde_json::from_slice(&text).map_err(|error| unreadable(&error))
    }

    /// Asks, and gives the body of an answer that is a success.
    fn ask(&self, method: Method, path: &str, body: String) -> Result<Vec<u8>, Error> {
        let is_harmless = method == Method::GET;
        let mut request = Request::builder()
            .method(method)
            .uri(self.settings.address.rest_url(path));
        if let Some(key) = &self.settings.key {
            let mut value = header::HeaderValue::from_str(&key.authorization())
                .map_err(|_| Error::invalid("key: visible ASCII characters only"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let failed = |error| self.failed(error, is_harmless);
        let answer = match body.is_empty() {
            true => self.agent.run(request.body(()).map_err(no_host)?),
            false => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body).map_err(no_host)?)
            }
        };
        let mut answer = answer.map_err(failed)?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES);
        let body = body.read_to_vec().map_err(failed)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(problem(status.as_u16(), &body)),
        }
    }

    /// What a failure means. Behind a connection that came about, a request may have been carried out.
    fn failed(&self, error: ureq::Error, is_harmless: bool) -> Error {
        let lost = |source: &std::io::Error| match is_harmless {
            true => Error::lost(None, source.to_string()),
            false => Error::lost(
                None,
                format!("{source}; whether the request was carried out is not known"),
            ),
        };
        let unreachable = |source| Error::Connect {
            address: self.settings.address.to_string(),
            source,
        };
        match error {
            ureq::Error::Io(source) if is_of_a_connection(source.kind()) => lost(&source),
            ureq::Error::Io(source) => unreachable(source),
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                unreachable(std::io::Error::other(error.to_string()))
            }
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Error::Timeout {
                    what: "connection",
                    after: self.settings.connect_timeout,
                }
            }
            ureq::Error::Timeout(_) => Error::Timeout {
                what: "answer",
                after: self.settings.request_timeout,
            },
            other => Error::protocol(other.to_string()),
        }
    }
}

/// Of one that was there before.
fn is_of_a_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

fn no_host(_: ureq::http::Error) -> Error {
    Error::invalid("url: not a host name")
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::protocol(format!("an answer that cannot be read: {error}"))
}

fn read_history(topic: &str, text: &[u8]) -> Result<History, Error> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        epoch: String,
        seq: u64,
        #[serde(borrow)]
        gap: Option<GapFields<'a>>,
        #[serde(borrow)]
        events: Vec<&'a RawValue>,
    }
    let fields: Fields<'_> = serde_json::from_slice(text).map_err(|error| unreadable(&error))?;
    let topic: Arc<str> = topic.into();
    let event = |text: &&RawValue| match wire::parse(text.get())? {
        Frame::Event(frame) => Event::new(&topic, text.get(), &frame),
        _ => Err(Error::protocol("a history with something else than events")),
    };
    Ok(History {
        epoch: fields.epoch,
        seq: fields.seq,
        gap: fields.gap.map(|gap| gap.read(&topic)).transpose()?,
        events: fields.events.iter().map(event).collect::<Result<_, _>>()?,
    })
}

/// The error that a refusal over HTTP is; a body that is no problem document comes from something in between.
pub(super) fn problem(status: u16, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
        code: String,
    }
    match serde_json::from_slice(body) {
        Ok(Problem { detail, code }) => Error::Refused {
            code,
            message: detail,
            status: Some(status),
        },
        Err(_) => Error::Refused {
            code: format!("HTTP_{status}"),
            message: "an answer that is not this server's".to_owned(),
            status: Some(status),
        },
    }
}
