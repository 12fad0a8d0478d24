//! The REST client: topics, their history, the state of the server. Each request has a connection of its own.

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
use super::{Error, Event, Start};
use crate::protocol::OverflowPolicy;

mod types;

pub use types::{
    ConnectionState, Connections, Health, History, HistoryState, SubscriptionState, TopicLimits,
    TopicOptions, TopicState, TopicStats, TopicSummary,
};

/// The largest response body that is read.
const MAX_RESPONSE_BYTES: u64 = 256 << 20;

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
        self.request(Method::POST, "/topics", body).map(drop)
    }

    pub(super) fn delete_topic(&self, name: &str) -> Result<(), Error> {
        self.request(Method::DELETE, &format!("/topics/{name}"), String::new())
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
        self.request(Method::GET, "/livez", String::new()).map(drop)
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

    /// Sends a request and returns the body of a successful response.
    fn request(&self, method: Method, path: &str, body: String) -> Result<Vec<u8>, Error> {
        let is_safe = method == Method::GET;
        let mut request = Request::builder()
            .method(method)
            .uri(self.settings.address.rest_url(path));
        if let Some(key) = &self.settings.key {
            let mut value = header::HeaderValue::from_str(&key.authorization())
                .map_err(|_| Error::invalid("key: visible ASCII characters only"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let failed = |error| self.error(error, is_safe);
        let response = match body.is_empty() {
            true => self.agent.run(request.body(()).map_err(invalid_host)?),
            false => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                self.agent.run(request.body(body).map_err(invalid_host)?)
            }
        };
        let mut response = response.map_err(failed)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
        let body = body.read_to_vec().map_err(failed)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(problem(status.as_u16(), &body)),
        }
    }

    /// Maps an error of the HTTP client. If the connection was established, the server may have processed the request.
    fn error(&self, error: ureq::Error, is_safe: bool) -> Error {
        let lost = |source: &std::io::Error| match is_safe {
            true => Error::lost(None, source.to_string()),
            false => Error::lost(
                None,
                format!("{source}; the server may or may not have processed the request"),
            ),
        };
        let unreachable = |source| Error::Connect {
            address: self.settings.address.to_string(),
            source,
        };
        match error {
            ureq::Error::Io(source) if is_connection_loss(source.kind()) => lost(&source),
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

/// Whether an error ended an established connection.
fn is_connection_loss(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

fn invalid_host(_: ureq::http::Error) -> Error {
    Error::invalid("url: not a host name")
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
            message: "the response is not from a threadcast server".to_owned(),
            status: Some(status),
        },
    }
}
