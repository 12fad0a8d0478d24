//! A request of a WebSocket client, parsed from one text message.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::json::{self, StrictObject};
use super::name::fits;
use super::{
    ClientId, ErrorReply, InvalidName, Message, TopicFilter, TopicName, TopicPattern,
    check_topic_name,
};

mod fast_path;
mod pattern_start;

pub(crate) use pattern_start::PatternStart;
#[cfg(fuzzing)]
pub(crate) use pattern_start::Position;

#[cfg(fuzzing)]
pub(crate) use fast_path::read_publish;

const FIELDS: [&str; 12] = [
    "type",
    "topic",
    "client_id",
    "message",
    "last_n",
    "after_seq",
    "epoch",
    "positions",
    "presence",
    "idempotent",
    "token",
    "request_id",
];
const MESSAGE_FIELDS: [&str; 2] = ["id", "payload"];

/// A request with valid fields. Whether its topic exists is not checked here.
#[derive(Debug)]
pub(crate) enum Request<'a> {
    Subscribe(Subscribe),
    SubscribePattern(SubscribePattern),
    Unsubscribe {
        filter: TopicFilter,
        client_id: ClientId,
    },
    Publish {
        topic: Cow<'a, str>,
        message: Message<'a>,
    },
    Ping,
    /// A further token for this connection.
    Authenticate(PresentedToken<'a>),
}

/// The text of a token. Never shown.
pub(crate) struct PresentedToken<'a>(Cow<'a, str>);

impl PresentedToken<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedToken(not shown)")
    }
}

/// The fields of a subscribe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) topic: TopicName,
    pub(crate) client_id: ClientId,
    pub(crate) start_at: StartAt,
    /// Whether the client hears who else is subscribed.
    pub(crate) presence: bool,
}

/// The fields of a subscribe with a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubscribePattern {
    pub(crate) pattern: TopicPattern,
    pub(crate) client_id: ClientId,
    pub(crate) start_at: PatternStart,
    /// Whether the client hears who else is subscribed to each topic.
    pub(crate) presence: bool,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartAt {
    /// At the newest n events of the history.
    Last(u64),
    /// At the first event of the topic, which appears just now.
    First,
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
        positions,
        presence,
        idempotent,
        token,
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
            positions,
            presence,
            idempotent,
            token,
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
    positions: Option<&'a RawValue>,
    presence: Option<&'a RawValue>,
    idempotent: Option<&'a RawValue>,
    token: Option<&'a RawValue>,
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
            Some("authenticate") => self.authenticate(),
            _ => Err(ErrorReply::bad_request(
                "type must be one of subscribe, unsubscribe, publish, ping, authenticate",
            )),
        }
    }

    fn subscribe(self) -> Result<Request<'a>, ErrorReply> {
        let (filter, client_id) = self.subscriber()?;
        let request = match filter {
            TopicFilter::Topic(topic) => Request::Subscribe(Subscribe {
                topic,
                client_id,
                start_at: self.start_at()?,
                presence: self.presence()?,
            }),
            TopicFilter::Pattern(pattern) => Request::SubscribePattern(SubscribePattern {
                start_at: self.pattern_start(&pattern)?,
                presence: self.presence()?,
                pattern,
                client_id,
            }),
        };
        self.checked(request)
    }

    fn unsubscribe(self) -> Result<Request<'a>, ErrorReply> {
        let (filter, client_id) = self.subscriber()?;
        self.checked(Request::Unsubscribe { filter, client_id })
    }

    fn publish(self) -> Result<Request<'a>, ErrorReply> {
        let topic = required(filled(self.topic), "topic is required")?;
        let message = required(self.message, "message is required")?;
        let topic = topic_text(topic)?;
        check_topic_name(&topic).map_err(invalid)?;
        let mut message = read_message(message)?;
        if read_idempotent(self.idempotent).map_err(ErrorReply::bad_request)? {
            message = message.idempotent();
        }
        self.checked(Request::Publish { topic, message })
    }

    fn authenticate(self) -> Result<Request<'a>, ErrorReply> {
        let token = required(filled(self.token), "token is required")?;
        let token = json::as_string(token)
            .ok_or_else(|| ErrorReply::bad_request("token must be a string"))?;
        self.checked(Request::Authenticate(PresentedToken(token)))
    }

    fn subscriber(&self) -> Result<(TopicFilter, ClientId), ErrorReply> {
        let topic = required(filled(self.topic), "topic is required")?;
        let client_id = required(filled(self.client_id), "client_id is required")?;
        let filter = TopicFilter::parse(&topic_text(topic)?).map_err(invalid)?;
        let client_id = json::as_string(client_id)
            .ok_or(InvalidName::Client)
            .map_err(invalid)?;
        Ok((filter, ClientId::new(&client_id).map_err(invalid)?))
    }

    fn start_at(&self) -> Result<StartAt, ErrorReply> {
        if self.positions.is_some() {
            return Err(ErrorReply::bad_request("positions needs a pattern"));
        }
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

    fn pattern_start(&self, pattern: &TopicPattern) -> Result<PatternStart, ErrorReply> {
        if self.after_seq.is_some() || self.epoch.is_some() {
            return Err(ErrorReply::bad_request(
                "a pattern is resumed with positions, not with after_seq and epoch",
            ));
        }
        let last_n = number(self.last_n, "last_n")?;
        match self.positions {
            None => Ok(PatternStart::Last(last_n.unwrap_or(0))),
            Some(_) if last_n.is_some() => Err(ErrorReply::bad_request(
                "positions and last_n exclude each other",
            )),
            Some(positions) => {
                let positions = pattern_start::read_positions(positions, pattern)?;
                Ok(PatternStart::After(positions))
            }
        }
    }

    fn presence(&self) -> Result<bool, ErrorReply> {
        read_flag(self.presence, "presence must be true or false").map_err(ErrorReply::bad_request)
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

fn number(field: Option<&RawValue>, name: &str) -> Result<Option<u64>, ErrorReply> {
    let wrong = || ErrorReply::bad_request(format!("{name} must be an integer of at least 0"));
    field
        .map(|raw| json::as_whole_number(raw).ok_or_else(wrong))
        .transpose()
}

fn topic_text(topic: &RawValue) -> Result<Cow<'_, str>, ErrorReply> {
    json::as_string(topic).ok_or_else(|| ErrorReply::bad_request("topic must be a string"))
}

fn invalid(error: InvalidName) -> ErrorReply {
    ErrorReply::bad_request(error.to_string())
}

/// Whether a publish says that it is idempotent.
pub(crate) fn read_idempotent(field: Option<&RawValue>) -> Result<bool, &'static str> {
    read_flag(field, "idempotent must be true or false")
}

fn read_flag(field: Option<&RawValue>, rule: &'static str) -> Result<bool, &'static str> {
    field.map_or(Ok(false), |raw| json::as_bool(raw).ok_or(rule))
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
