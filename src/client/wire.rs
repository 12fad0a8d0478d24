//! Encodes requests and parses frames. No I/O.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use super::gap::{Gap, GapReason};

/// A subscribe request.
#[derive(Serialize)]
pub(super) struct Subscribe<'a> {
    pub(super) r#type: &'static str,
    pub(super) topic: &'a str,
    pub(super) client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<&'a str>,
    pub(super) request_id: &'a str,
}

/// An unsubscribe request, without a `request_id` because nobody waits for the answer.
#[derive(Serialize)]
pub(super) struct Unsubscribe<'a> {
    pub(super) r#type: &'static str,
    pub(super) topic: &'a str,
    pub(super) client_id: &'a str,
}

#[derive(Serialize)]
pub(super) struct Publish<'a, T: Serialize + ?Sized> {
    pub(super) r#type: &'static str,
    pub(super) topic: &'a str,
    pub(super) message: Message<'a, T>,
    pub(super) request_id: &'a str,
}

#[derive(Serialize)]
pub(super) struct Message<'a, T: Serialize + ?Sized> {
    pub(super) id: &'a str,
    pub(super) payload: &'a T,
}

/// A parsed frame of the server.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    Event(EventFrame<'a>),
    Ack(Ack<'a>),
    /// An error that answers a request.
    Refused {
        request_id: Cow<'a, str>,
        code: Cow<'a, str>,
        message: Cow<'a, str>,
    },
    Gap {
        topic: Cow<'a, str>,
        gap: Gap,
        /// Where the subscription goes on, if its epoch ended while it was live.
        next: Option<NewEpoch<'a>>,
    },
    TopicDeleted(Cow<'a, str>),
    SubscriptionReplaced(Cow<'a, str>),
    /// A frame that does not affect deliveries, or that only newer servers send.
    Other,
}

#[derive(Debug)]
pub(super) struct EventFrame<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) seq: u64,
    pub(super) ts: Cow<'a, str>,
    pub(super) id: Cow<'a, str>,
    pub(super) payload: &'a RawValue,
}

#[derive(Debug)]
pub(super) struct Ack<'a> {
    pub(super) request_id: Cow<'a, str>,
    pub(super) seq: u64,
    pub(super) epoch: Option<Cow<'a, str>>,
    pub(super) recovered: Option<bool>,
    pub(super) ts: Cow<'a, str>,
}

/// A position that a live `epoch_changed` gives: the next event is `seq` + 1 of this epoch.
#[derive(Debug)]
pub(super) struct NewEpoch<'a> {
    pub(super) seq: u64,
    pub(super) epoch: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    topic: Option<Text<'a>>,
    request_id: Option<Text<'a>>,
    message: Option<MessageFields<'a>>,
    seq: Option<u64>,
    epoch: Option<Text<'a>>,
    recovered: Option<bool>,
    error: Option<ErrorFields<'a>>,
    gap: Option<GapFields<'a>>,
    msg: Option<Text<'a>>,
    ts: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct ErrorFields<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// A gap on the wire.
#[derive(Deserialize)]
pub(super) struct GapFields<'a> {
    from_seq: Option<u64>,
    to_seq: Option<u64>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

/// Parses one text of the server.
pub(super) fn parse(text: &str) -> Result<Frame<'_>, Error> {
    let fields: Fields<'_> = serde_json::from_str(text)
        .map_err(|error| Error::protocol(format!("an invalid frame: {error}")))?;
    match &*fields.r#type {
        "event" => event(fields).ok_or_else(|| missing_field("event")),
        "ack" => ack(fields),
        "error" | "info" if fields.gap.is_some() => gap(fields),
        "error" => error(fields),
        "info" => info(fields),
        _ => Ok(Frame::Other),
    }
}

fn missing_field(kind: &str) -> Error {
    Error::protocol(format!("an {kind} frame with a missing field"))
}

fn event(fields: Fields<'_>) -> Option<Frame<'_>> {
    let message = fields.message?;
    Some(Frame::Event(EventFrame {
        topic: fields.topic?.0,
        seq: fields.seq?,
        ts: fields.ts?.0,
        id: message.id,
        payload: message.payload,
    }))
}

fn ack(fields: Fields<'_>) -> Result<Frame<'_>, Error> {
    let (Some(seq), Some(ts)) = (fields.seq, fields.ts) else {
        return Err(missing_field("ack"));
    };
    let Some(Text(request_id)) = fields.request_id else {
        return Ok(Frame::Other);
    };
    Ok(Frame::Ack(Ack {
        request_id,
        seq,
        epoch: fields.epoch.map(|epoch| epoch.0),
        recovered: fields.recovered,
        ts: ts.0,
    }))
}

fn gap(fields: Fields<'_>) -> Result<Frame<'_>, Error> {
    let (Some(Text(topic)), Some(gap)) = (fields.topic, fields.gap) else {
        return Err(missing_field("info"));
    };
    let gap = gap.read(&topic)?;
    let next = match (gap.reason(), fields.seq, fields.epoch) {
        (GapReason::EpochChanged, Some(seq), Some(Text(epoch))) => Some(NewEpoch { seq, epoch }),
        _ => None,
    };
    Ok(Frame::Gap { topic, gap, next })
}

impl GapFields<'_> {
    pub(super) fn read(self, topic: &str) -> Result<Gap, Error> {
        let range = match (self.from_seq, self.to_seq) {
            (Some(from), Some(to)) if from <= to => Some((from, to)),
            (None, None) => None,
            _ => return Err(Error::protocol("a gap that ends before it begins")),
        };
        Ok(Gap::new(topic, range, GapReason::from_name(&self.reason)))
    }
}

fn error(fields: Fields<'_>) -> Result<Frame<'_>, Error> {
    let error = fields.error.ok_or_else(|| missing_field("error"))?;
    Ok(match fields.request_id {
        None => Frame::Other,
        Some(Text(request_id)) => Frame::Refused {
            request_id,
            code: error.code,
            message: error.message,
        },
    })
}

fn info(fields: Fields<'_>) -> Result<Frame<'_>, Error> {
    let msg = fields.msg.map_or(Cow::Borrowed(""), |msg| msg.0);
    Ok(match (&*msg, fields.topic) {
        ("topic_deleted", Some(topic)) => Frame::TopicDeleted(topic.0),
        ("subscription_replaced", Some(topic)) => Frame::SubscriptionReplaced(topic.0),
        _ => Frame::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn event_borrows_from_its_text() {
        let text = r#"{"type":"event","topic":"t","message":{"id":"i","payload":[1.50, null]},"seq":7,"ts":"z","new":1}"#;
        let Ok(Frame::Event(event)) = parse(text) else {
            panic!("must be an event")
        };
        assert_eq!((event.payload.get(), event.seq), ("[1.50, null]", 7));
        assert!(matches!(
            (event.topic, event.id, event.ts),
            (Cow::Borrowed("t"), Cow::Borrowed("i"), Cow::Borrowed("z"))
        ));
    }

    #[test]
    fn null_is_a_payload() {
        let text =
            r#"{"type":"event","topic":"t","message":{"id":"i","payload":null},"seq":7,"ts":"z"}"#;
        assert!(matches!(parse(text), Ok(Frame::Event(event)) if event.payload.get() == "null"));
    }

    #[test]
    fn only_a_live_epoch_change_says_where_the_next_epoch_begins() {
        let next = |reason: &str, more: &str| {
            let text = format!(
                r#"{{"type":"info","topic":"t","msg":"gap","gap":{{"reason":"{reason}"}}{more},"ts":"z"}}"#
            );
            let Ok(Frame::Gap { next, .. }) = parse(&text) else {
                panic!("must be a gap: {text}")
            };
            next.map(|next| (next.seq, next.epoch.into_owned()))
        };
        let both = r#","epoch":"new","seq":7"#;
        assert_eq!(next("epoch_changed", both), Some((7, "new".to_owned())));
        assert_eq!(next("epoch_changed", ""), None, "on a resume");
        assert_eq!(next("epoch_changed", r#","seq":7"#), None);
        assert_eq!(next("a_new_reason", both), None);
    }

    #[test]
    fn unknown_frames_are_ignored() {
        for text in [
            r#"{"type":"hello"}"#,
            r#"{"type":"info","msg":"news"}"#,
            r#"{"type":"info"}"#,
            r#"{"type":"pong","ts":"z"}"#,
            r#"{"type":"error","error":{"code":"NEW","message":""}}"#,
        ] {
            assert!(matches!(parse(text), Ok(Frame::Other)), "{text}");
        }
    }

    #[test]
    fn frame_with_a_missing_field_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":"event"}"#,
            r#"{"type":"ack","request_id":"1"}"#,
            r#"{"type":"error"}"#,
            r#"{"type":"event","topic":"t","message":{"id":"i","payload":1},"seq":-1,"ts":"z"}"#,
            r#"{"type":"info","msg":"gap","topic":"t","gap":{"from_seq":5,"to_seq":4,"reason":"x"}}"#,
        ] {
            assert!(matches!(parse(text), Err(Error::Protocol { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]{}\":,a-z\\\\0-9 ]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&format!("{{\"type\":\"event\",{text}"));
        }
    }
}
