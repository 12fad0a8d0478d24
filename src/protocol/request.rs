//! A request of a WebSocket client, parsed from one text message.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::json::{self, StrictObject};
use super::name::fits;
use super::{ClientId, ErrorReply, InvalidName, Message, TopicName, check_topic_name};

mod fast_path;

#[cfg(fuzzing)]
pub(crate) use fast_path::read_publish;

const FIELDS: [&str; 8] = [
    "type",
    "topic",
    "client_id",
    "message",
    "last_n",
    "after_seq",
    "epoch",
    "request_id",
];
const MESSAGE_FIELDS: [&str; 2] = ["id", "payload"];

/// A request with valid fields. Whether its topic exists is not checked here.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Subscribe(Subscribe),
    Unsubscribe {
        topic: TopicName,
        client_id: ClientId,
    },
    Publish {
        topic: Cow<'a, str>,
        message: Message<'a>,
    },
    Ping,
}

/// The fields of a subscribe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) topic: TopicName,
    pub(crate) client_id: ClientId,
    pub(crate) start_at: StartAt,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the newest n events of the history.
    Last(u64),
    /// After a position; without an epoch, in the current one.
    After { seq: u64, epoch: Option<String> },
}

/// The id that a client gives its request: up to 128 characters, opaque, echoed in the reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RequestId<'a>(Cow<'a, str>);

impl<'a> RequestId<'a> {
    /// # Errors
    /// [`InvalidRequestId`], whose text states the rule.
    pub(crate) fn new(id: Cow<'a, str>) -> Result<RequestId<'a>, InvalidRequestId> {
        if fits(&id) {
            Ok(RequestId(id))
        } else {
            Err(InvalidRequestId)
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An invalid request id; the text states the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidRequestId;

impl fmt::Display for InvalidRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request_id must be a string of at most 128 characters")
    }
}

impl std::error::Error for InvalidRequestId {}

/// Parses one text message. Returns the request id whenever it could be read, even if another field is wrong.
pub(crate) fn parse_request(
    text: &str,
) -> (Option<RequestId<'_>>, Result<Request<'_>, ErrorReply>) {
    match fast_path::read_publish(text) {
        Some((request_id, publish)) => (request_id, Ok(publish)),
        None => read_any(text),
    }
}

/// Parses a message field by field.
pub(crate) fn read_any(text: &str) -> (Option<RequestId<'_>>, Result<Request<'_>, ErrorReply>) {
    let StrictObject { fields, error } = StrictObject::parse(text, &FIELDS);
    let [
        kind,
        topic,
        client_id,
        message,
        last_n,
        after_seq,
        epoch,
        request_id,
    ] = fields.map(present);
    let request_id = request_id.map(|raw| {
        let id = json::as_string(raw).ok_or(InvalidRequestId)?;
        RequestId::new(id)
    });
    let (request_id, bad_request_id) = match request_id {
        Some(Err(error)) => (None, Some(error)),
        Some(Ok(id)) => (Some(id), None),
        None => (None, None),
    };
    let request = match error {
        Some(error) => Err(ErrorReply::bad_request(error.to_string())),
        None => Envelope {
            topic,
            client_id,
            message,
            last_n,
            after_seq,
            epoch,
            bad_request_id,
        }
        .request(kind),
    };
    (request_id, request)
}

/// `null` counts as absent.
fn present(field: Option<&RawValue>) -> Option<&RawValue> {
    field.filter(|raw| !json::is_null(raw))
}

/// A string field for which the empty string counts as absent too.
fn filled(field: Option<&RawValue>) -> Option<&RawValue> {
    field.filter(|raw| raw.get() != "\"\"")
}

struct Envelope<'a> {
    topic: Option<&'a RawValue>,
    client_id: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    last_n: Option<&'a RawValue>,
    after_seq: Option<&'a RawValue>,
    epoch: Option<&'a RawValue>,
    bad_request_id: Option<InvalidRequestId>,
}

impl<'a> Envelope<'a> {
    fn request(self, kind: Option<&'a RawValue>) -> Result<Request<'a>, ErrorReply> {
        let kind = kind.ok_or_else(|| ErrorReply::bad_request("type is required"))?;
        match json::as_string(kind).as_deref() {
            Some("subscribe") => self.subscribe(),
            Some("unsubscribe") => self.unsubscribe(),
            Some("publish") => self.publish(),
            Some("ping") => self.checked(Request::Ping),
            _ => Err(ErrorReply::bad_request(
                "type must be one of subscribe, unsubscribe, publish, ping",
            )),
        }
    }

    fn subscribe(self) -> Result<Request<'a>, ErrorReply> {
        let (topic, client_id) = self.subscriber()?;
        let start_at = self.start_at()?;
        self.checked(Request::Subscribe(Subscribe {
            topic,
            client_id,
            start_at,
        }))
    }

    fn unsubscribe(self) -> Result<Request<'a>, ErrorReply> {
        let (topic, client_id) = self.subscriber()?;
        self.checked(Request::Unsubscribe { topic, client_id })
    }

    fn publish(self) -> Result<Request<'a>, ErrorReply> {
        let topic = required(filled(self.topic), "topic is required")?;
        let message = required(self.message, "message is required")?;
        let topic = topic_text(topic)?;
        check_topic_name(&topic).map_err(invalid)?;
        let message = read_message(message)?;
        self.checked(Request::Publish { topic, message })
    }

    fn subscriber(&self) -> Result<(TopicName, ClientId), ErrorReply> {
        let topic = required(filled(self.topic), "topic is required")?;
        let client_id = required(filled(self.client_id), "client_id is required")?;
        let topic = TopicName::new(&topic_text(topic)?).map_err(invalid)?;
        let client_id = json::as_string(client_id)
            .ok_or(InvalidName::Client)
            .map_err(invalid)?;
        Ok((topic, ClientId::new(&client_id).map_err(invalid)?))
    }

    fn start_at(&self) -> Result<StartAt, ErrorReply> {
        let number = |field: Option<&RawValue>, name: &str| {
            let wrong =
                || ErrorReply::bad_request(format!("{name} must be an integer of at least 0"));
            field
                .map(|raw| json::as_whole_number(raw).ok_or_else(wrong))
                .transpose()
        };
        let last_n = number(self.last_n, "last_n")?.unwrap_or(0);
        let after_seq = number(self.after_seq, "after_seq")?;
        let epoch = self
            .epoch
            .map(|raw| {
                json::as_string(raw)
                    .ok_or_else(|| ErrorReply::bad_request("epoch must be a string"))
            })
            .transpose()?;
        match (after_seq, epoch) {
            (None, Some(_)) => Err(ErrorReply::bad_request("epoch needs after_seq")),
            (None, None) => Ok(StartAt::Last(last_n)),
            (Some(_), _) if last_n > 0 => Err(ErrorReply::bad_request(
                "after_seq and last_n exclude each other",
            )),
            (Some(seq), epoch) => Ok(StartAt::After {
                seq,
                epoch: epoch.map(Cow::into_owned),
            }),
        }
    }

    /// The request, unless its id was wrong. The request id is checked last.
    fn checked(self, request: Request<'a>) -> Result<Request<'a>, ErrorReply> {
        self.bad_request_id.map_or(Ok(request), |error| {
            Err(ErrorReply::bad_request(error.to_string()))
        })
    }
}

fn required<'a>(
    field: Option<&'a RawValue>,
    text: &'static str,
) -> Result<&'a RawValue, ErrorReply> {
    field.ok_or_else(|| ErrorReply::bad_request(text))
}

fn topic_text(topic: &RawValue) -> Result<Cow<'_, str>, ErrorReply> {
    json::as_string(topic).ok_or_else(|| ErrorReply::bad_request("topic must be a string"))
}

fn invalid(error: InvalidName) -> ErrorReply {
    ErrorReply::bad_request(error.to_string())
}

fn read_message(message: &RawValue) -> Result<Message<'_>, ErrorReply> {
    let StrictObject {
        fields: [id, payload],
        error,
    } = StrictObject::parse(message.get(), &MESSAGE_FIELDS);
    if let Some(error) = error {
        return Err(ErrorReply::bad_request(format!("message: {error}")));
    }
    let invalid_id = || ErrorReply::bad_request(super::InvalidMessage::Id.to_string());
    let id = id.and_then(json::as_string).ok_or_else(invalid_id)?;
    // `null` is a valid payload.
    let payload = payload.ok_or_else(|| {
        let bad_id = uuid::Uuid::try_parse(&id).is_err();
        if bad_id {
            invalid_id()
        } else {
            ErrorReply::bad_request("message.payload is required")
        }
    })?;
    Message::new(id, payload).map_err(|error| ErrorReply::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests;
