//! What a client asks over the WebSocket, out of one text message.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, StrictObject};
use super::{ClientId, Fault, InvalidName, Message, RequestId, TopicName};

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

/// A request whose every field is valid. Topics are checked names; whether they exist is not known here.
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
    /// With the newest n events of the history.
    Last(u64),
    /// Behind a position; without an epoch the current one is meant.
    After { seq: u64, epoch: Option<String> },
}

/// A publish as nearly every client writes it: every field once, no escapes, nothing unknown. Whatever does not fit is
/// read by [`read_any`], which knows what is wrong; so this must accept nothing that `read_any` would not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPublish<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    topic: &'a str,
    #[serde(borrow)]
    message: PlainMessage<'a>,
    request_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    id: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// Reads one text message. The request id is there whenever it could be read, whatever else is wrong.
pub(crate) fn parse_request(text: &str) -> (Option<RequestId<'_>>, Result<Request<'_>, Fault>) {
    match read_plain_publish(text) {
        Some((request_id, publish)) => (request_id, Ok(publish)),
        None => read_any(text),
    }
}

fn read_plain_publish(text: &str) -> Option<(Option<RequestId<'_>>, Request<'_>)> {
    let PlainPublish {
        kind,
        topic,
        message,
        request_id,
    } = serde_json::from_str(text).ok()?;
    if kind != "publish" || TopicName::check(topic).is_err() {
        return None;
    }
    let message = Message::new(message.id, message.payload).ok()?;
    let request_id = request_id
        .map(|id| RequestId::new(id.into()))
        .transpose()
        .ok()?;
    Some((
        request_id,
        Request::Publish {
            topic: topic.into(),
            message,
        },
    ))
}

/// Reads a message field by field.
fn read_any(text: &str) -> (Option<RequestId<'_>>, Result<Request<'_>, Fault>) {
    let StrictObject { fields, fault } = StrictObject::parse(text, &FIELDS);
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
        let id = json::as_string(raw).ok_or(InvalidName::Request)?;
        RequestId::new(id)
    });
    let (request_id, bad_request_id) = match request_id {
        Some(Err(error)) => (None, Some(error)),
        Some(Ok(id)) => (Some(id), None),
        None => (None, None),
    };
    let request = match fault {
        Some(fault) => Err(Fault::bad_request(fault.to_string())),
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

/// `null` stands for an absent field.
fn present(field: Option<&RawValue>) -> Option<&RawValue> {
    field.filter(|raw| !json::is_null(raw))
}

/// A string field that may not be empty either.
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
    bad_request_id: Option<InvalidName>,
}

impl<'a> Envelope<'a> {
    fn request(self, kind: Option<&'a RawValue>) -> Result<Request<'a>, Fault> {
        let kind = kind.ok_or_else(|| Fault::bad_request("type is required"))?;
        match json::as_string(kind).as_deref() {
            Some("subscribe") => self.subscribe(),
            Some("unsubscribe") => self.unsubscribe(),
            Some("publish") => self.publish(),
            Some("ping") => self.checked(Request::Ping),
            _ => Err(Fault::bad_request(
                "type must be one of subscribe, unsubscribe, publish, ping",
            )),
        }
    }

    fn subscribe(self) -> Result<Request<'a>, Fault> {
        let (topic, client_id) = self.subscriber()?;
        let start_at = self.start_at()?;
        self.checked(Request::Subscribe(Subscribe {
            topic,
            client_id,
            start_at,
        }))
    }

    fn unsubscribe(self) -> Result<Request<'a>, Fault> {
        let (topic, client_id) = self.subscriber()?;
        self.checked(Request::Unsubscribe { topic, client_id })
    }

    fn publish(self) -> Result<Request<'a>, Fault> {
        let topic = required(filled(self.topic), "topic is required")?;
        let message = required(self.message, "message is required")?;
        let topic = topic_text(topic)?;
        TopicName::check(&topic).map_err(invalid)?;
        let message = read_message(message)?;
        self.checked(Request::Publish { topic, message })
    }

    fn subscriber(&self) -> Result<(TopicName, ClientId), Fault> {
        let topic = required(filled(self.topic), "topic is required")?;
        let client_id = required(filled(self.client_id), "client_id is required")?;
        let topic = TopicName::new(&topic_text(topic)?).map_err(invalid)?;
        let client_id = json::as_string(client_id)
            .ok_or(InvalidName::Client)
            .map_err(invalid)?;
        Ok((topic, ClientId::new(&client_id).map_err(invalid)?))
    }

    fn start_at(&self) -> Result<StartAt, Fault> {
        let number = |field: Option<&RawValue>, name: &str| {
            let wrong = || Fault::bad_request(format!("{name} must be an integer of at least 0"));
            field
                .map(|raw| json::as_whole_number(raw).ok_or_else(wrong))
                .transpose()
        };
        let last_n = number(self.last_n, "last_n")?.unwrap_or(0);
        let after_seq = number(self.after_seq, "after_seq")?;
        let epoch = self
            .epoch
            .map(|raw| {
                json::as_string(raw).ok_or_else(|| Fault::bad_request("epoch must be a string"))
            })
            .transpose()?;
        match (after_seq, epoch) {
            (None, Some(_)) => Err(Fault::bad_request("epoch needs after_seq")),
            (None, None) => Ok(StartAt::Last(last_n)),
            (Some(_), _) if last_n > 0 => Err(Fault::bad_request(
                "after_seq and last_n exclude each other",
            )),
            (Some(seq), epoch) => Ok(StartAt::After {
                seq,
                epoch: epoch.map(Cow::into_owned),
            }),
        }
    }

    /// The request, unless its id was wrong: that comes last in the order of checks.
    fn checked(self, request: Request<'a>) -> Result<Request<'a>, Fault> {
        self.bad_request_id
            .map_or(Ok(request), |error| Err(invalid(error)))
    }
}

fn required<'a>(field: Option<&'a RawValue>, text: &'static str) -> Result<&'a RawValue, Fault> {
    field.ok_or_else(|| Fault::bad_request(text))
}

fn topic_text(topic: &RawValue) -> Result<Cow<'_, str>, Fault> {
    json::as_string(topic).ok_or_else(|| Fault::bad_request("topic must be a string"))
}

fn invalid(error: InvalidName) -> Fault {
    Fault::bad_request(error.to_string())
}

fn read_message(message: &RawValue) -> Result<Message<'_>, Fault> {
    let StrictObject {
        fields: [id, payload],
        fault,
    } = StrictObject::parse(message.get(), &MESSAGE_FIELDS);
    if let Some(fault) = fault {
        return Err(Fault::bad_request(format!("message: {fault}")));
    }
    let invalid_id = || Fault::bad_request(super::InvalidMessage::Id.to_string());
    let id = id.and_then(json::as_string).ok_or_else(invalid_id)?;
    // A payload of null is a payload; only an absent one is missing.
    let payload = payload.ok_or_else(|| {
        let bad_id = uuid::Uuid::try_parse(&id).is_err();
        if bad_id {
            invalid_id()
        } else {
            Fault::bad_request("message.payload is required")
        }
    })?;
    Message::new(id, payload).map_err(|error| Fault::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

    fn fault(text: &str) -> String {
        parse_request(text).1.unwrap_err().message.into_owned()
    }

    #[test]
    fn the_fixed_texts_come_in_the_order_of_checks() {
        for kind in ["subscribe", "unsubscribe", "publish"] {
            for topic in ["", r#""topic":null,"#, r#""topic":"","#] {
                let text = format!(r#"{{{topic}"type":"{kind}","request_id":5}}"#);
                assert_eq!(fault(&text), "topic is required");
            }
        }
        assert_eq!(
            fault(r#"{"type":"subscribe","topic":"/"}"#),
            "client_id is required"
        );
        assert_eq!(
            fault(r#"{"type":"unsubscribe","topic":5,"client_id":""}"#),
            "client_id is required"
        );
        assert_eq!(
            fault(r#"{"type":"publish","topic":5}"#),
            "message is required"
        );
        assert_eq!(
            fault(r#"{"type":"publish","topic":5,"message":{}}"#),
            "topic must be a string"
        );
        assert_eq!(
            fault(r#"{"type":"publish","topic":"t","message":{}}"#),
            "message.id must be a valid UUID"
        );
        let no_payload = format!(r#"{{"type":"publish","topic":"t","message":{{"id":"{ID}"}}}}"#);
        assert_eq!(fault(&no_payload), "message.payload is required");
    }

    #[test]
    fn the_request_id_is_read_whatever_else_is_wrong() {
        for text in [
            r#"{"type":"nonsense","request_id":"r"}"#,
            r#"{"topic":5,"request_id":"r","topic":6}"#,
            r#"{"request_id":"r","type":"ping""#,
            r#"{"request_id":"r"} tail"#,
            r#"{"type":"subscribe","topic":"t","client_id":"c","last_n":-1,"request_id":"\u0072"}"#,
        ] {
            let (id, request) = parse_request(text);
            assert_eq!(id.as_ref().map(RequestId::as_str), Some("r"), "{text}");
            assert!(request.is_err(), "{text}");
        }
        for text in [
            r#"{"type":"ping","request_id":5}"#,
            r#"{"type":"ping","request_id":"a","request_id":"a"}"#,
        ] {
            let (id, request) = parse_request(text);
            assert!(id.is_none() && request.is_err(), "{text}");
        }
    }

    #[test]
    fn the_usual_publish_takes_the_short_way() {
        let usual = |rest: &str| {
            format!(
                r#"{{"type":"publish","topic":"t","message":{{"id":"{ID}","payload":{{}}}}{rest}}}"#
            )
        };
        assert!(read_plain_publish(&usual("")).is_some());
        assert!(read_plain_publish(&usual(r#","request_id":"r""#)).is_some());
        assert!(read_plain_publish(&usual(r#","last_n":null"#)).is_none());
    }

    #[test]
    fn a_payload_of_null_counts_as_present() {
        let text = format!(
            r#"{{"type":"publish","topic":"t","message":{{"id":"{ID}","payload":null,"x":1}}}}"#
        );
        let Ok(Request::Publish { message, .. }) = parse_request(&text).1 else {
            panic!("refused")
        };
        assert_eq!(message.payload(), "null");
    }

    #[test]
    fn a_start_is_the_last_n_or_a_position() {
        let start = |fields: &str| {
            let text = format!(r#"{{"type":"subscribe","topic":"t","client_id":"c"{fields}}}"#);
            match parse_request(&text).1 {
                Ok(Request::Subscribe(subscribe)) => Ok(subscribe.start_at),
                other => Err(format!("{other:?}")),
            }
        };
        assert_eq!(start(""), Ok(StartAt::Last(0)));
        assert_eq!(
            start(r#","last_n":null,"after_seq":null,"epoch":null"#),
            Ok(StartAt::Last(0))
        );
        assert_eq!(start(r#","last_n":5"#), Ok(StartAt::Last(5)));
        let after = |epoch: Option<&str>| StartAt::After {
            seq: 7,
            epoch: epoch.map(str::to_owned),
        };
        assert_eq!(start(r#","after_seq":7,"last_n":0"#), Ok(after(None)));
        assert_eq!(start(r#","after_seq":7,"epoch":"e""#), Ok(after(Some("e"))));
        for wrong in [
            r#","epoch":"e""#,
            r#","after_seq":1,"last_n":1"#,
            r#","last_n":1.5"#,
            r#","after_seq":"1""#,
        ] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }

    /// Pieces from which publishes are put together, right and wrong ones.
    fn publishes() -> impl Strategy<Value = String> {
        let field = "(\"type\":\"(publish|ping|p\\\\u0075blish)\"|\"topic\":(\"t\"|\"\"|\"/\"|null|5|\"\\\\u0074\")|\"request_id\":(\"r\"|null|5|\"\\\\n\")|\"x\":1|\"message\":\\{(\"id\":\"(550e8400e29b41d4a716446655440000|x)\",?)?(\"payload\":(null|\\[1 , 2\\]|1e999|\\{\\}))?(,\"y\":0)?\\})";
        proptest::collection::vec(field, 0..6)
            .prop_map(|fields| format!("{{{}}}", fields.join(",")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// The short way and the long way agree wherever the short way takes a message at all.
        #[test]
        fn a_plain_publish_is_read_as_any_message_is(text in publishes()) {
            if let Some((id, Request::Publish { topic, message })) = read_plain_publish(&text) {
                let (long_id, long) = read_any(&text);
                let Ok(Request::Publish { topic: long_topic, message: long_message }) = long else {
                    return Err(TestCaseError::fail(text));
                };
                prop_assert_eq!(id, long_id);
                prop_assert_eq!(topic, long_topic);
                prop_assert_eq!((message.id(), message.payload()), (long_message.id(), long_message.payload()));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = parse_request(&text);
        }

        #[test]
        fn no_envelope_panics(values in proptest::collection::vec("null|\"\"|\"t\"|5|-1|\\{\\}|\\[\\]|true", 8)) {
            for kind in ["subscribe", "unsubscribe", "publish", "ping"] {
                let mut text = format!(r#"{{"type":"{kind}""#);
                for (name, value) in FIELDS[1..].iter().zip(&values) {
                    text.push_str(&format!(r#","{name}":{value}"#));
                }
                text.push('}');
                let _ = parse_request(&text);
            }
        }
    }
}
