//! The REST client: topics, their history, the state of the server. Each request has a connection of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::Agent;
use ureq::http::Method;

use super::addresses::AddressError;
use super::settings::Settings;
use super::wire::{self, Frame, GapFields};
use super::{Error, Event, Start};
use crate::protocol::OverflowPolicy;

mod attempt;
mod types;

use attempt::{Attempt, Outgoing};
pub use types::{
    ConnectionState, Connections, EngineState, Health, History, HistoryState, NodeState,
    SubscriberList, SubscriberState, SubscriptionState, TopicLimits, TopicOptions, TopicState,
    TopicStats, TopicSummary,
};

/// Sends REST requests.
#[derive(Debug)]
pub(super) struct Rest {
    agent: Agent,
    settings: Arc<Settings>,
}

impl Rest {
    pub(super) fn new(settings: Arc<Settings>) -> Rest {
        let config = Agent::config_builder()
            .http_status_as_error(false)
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
        let body = OptionFields::of(Some(name), options).to_json()?;
        self.request(Method::POST, "/topics", body).map(drop)
    }

    pub(super) fn change_topic(
        &self,
        name: &str,
        options: &TopicOptions,
    ) -> Result<TopicState, Error> {
        let body = OptionFields::of(None, options).to_json()?;
        let answer = self.request(Method::PATCH, &format!("/topics/{name}"), body)?;
        serde_json::from_slice(&answer).map_err(|error| invalid_response(&error))
    }

    pub(super) fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &format!("/topics/{name}"), String::new())
            .map(drop)
    }

    /// Those that match, or all.
    pub(super) fn topics(&self, name_or_pattern: Option<&str>) -> Result<Vec<TopicSummary>, Error> {
        #[derive(Deserialize)]
        struct Topics {
            topics: Vec<TopicSummary>,
        }
        // No character of a name or a pattern needs encoding.
        let query = name_or_pattern.map_or_else(String::new, |text| format!("?match={text}"));
        self.get(&format!("/topics{query}"))
            .map(|list: Topics| list.topics)
    }

    pub(super) fn topic(&self, name: &str) -> Result<TopicState, Error> {
        self.get(&format!("/topics/{name}"))
    }

    pub(super) fn subscribers(&self, topic: &str, limit: u64) -> Result<SubscriberList, Error> {
        self.get(&format!("/topics/{topic}/subscribers?limit={limit}"))
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

    pub(super) fn nodes(&self) -> Result<Vec<NodeState>, Error> {
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<NodeState>,
        }
        self.get("/nodes").map(|list: Nodes| list.nodes)
    }

    pub(super) fn livez(&self) -> Result<(), Error> {
        self.request(Method::GET, attempt::LIVENESS, String::new())
            .map(drop)
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
        let body = self.request(Method::GET, &path, String::new())?;
        read_history(topic, &body)
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self.request(Method::GET, path, String::new())?;
        serde_json::from_slice(&body).map_err(|error| invalid_response(&error))
    }

    /// Sends a request and returns the body of a successful response. Tries the next server if one cannot be reached or answers
    /// 503; if the connection breaks or the response is late, only for a request that may be repeated.
    fn request(&self, method: Method, path: &str, body: String) -> Result<Vec<u8>, Error> {
        let deadline = Instant::now() + self.settings.request_timeout;
        let request = Outgoing { method, path, body };
        let addresses = &self.settings.addresses;
        addresses.try_each(|place, untried| {
            let address = addresses.at(place);
            let attempt = Attempt::new(&self.settings, address, &request, (untried, deadline));
            let answer = attempt.send(&self.agent);
            if let Ok(_) | Err(AddressError::Final(Error::Refused { .. })) = &answer {
                addresses.note_working(place);
            }
            answer
        })
    }
}

/// The body that creates or changes a topic.
#[derive(Serialize)]
struct OptionFields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_queue_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overflow: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_ttl_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_secs: Option<f64>,
}

impl<'a> OptionFields<'a> {
    fn of(name: Option<&'a str>, options: &TopicOptions) -> OptionFields<'a> {
        OptionFields {
            name,
            history_size: options.history_size,
            max_queue_size: options.max_queue_size,
            overflow: options.overflow.map(OverflowPolicy::as_str),
            history_ttl_secs: options.history_ttl.map(|time| time.as_secs_f64()),
            idle_secs: options.idle.map(|time| time.as_secs_f64()),
        }
    }

    fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Payload)
    }
}

fn invalid_response(error: &serde_json::Error) -> Error {
    Error::protocol(format!("an invalid response: {error}"))
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
    let fields: Fields<'_> =
        serde_json::from_slice(text).map_err(|error| invalid_response(&error))?;
    let topic: Arc<str> = topic.into();
    let event = |text: &&RawValue| match wire::parse(text.get())? {
        Frame::Event(frame) => Event::new(&topic, text.get(), &frame),
        _ => Err(Error::protocol(
            "a history that contains something other than events",
        )),
    };
    Ok(History {
        epoch: fields.epoch,
        seq: fields.seq,
        gap: fields.gap.map(|gap| gap.read(&topic)).transpose()?,
        events: fields.events.iter().map(event).collect::<Result<_, _>>()?,
    })
}

/// The error for an HTTP error status. A body that is not a problem document comes from a proxy or another server.
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
            message: match body.starts_with(b"This port speaks TLS") {
                true => "the server speaks TLS there; use wss:// or https://".to_owned(),
                false => "the response is not from a threadcast server".to_owned(),
            },
            status: Some(status),
        },
    }
}
