//! Encodes requests and parses frames. No I/O.

mod requests;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Error;
use super::gap::{Gap, GapReason};
use super::presence::{Presence, PresenceChange};

pub(super) use requests::{Message, Publish, Subscribe, SubscriberFields, Unsubscribe};

/// A parsed frame of the server.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    Event(EventFrame<'a>),
    Ack(Ack<'a>),
    /// Answers a subscribe with a pattern.
    PatternAck {
        request_id: Cow<'a, str>,
    },
    /// A topic of a pattern joins.
    Subscribed {
        topic: Cow<'a, str>,
        seq: u64,
        epoch: Cow<'a, str>,
        recovered: Option<bool>,
    },
    /// Topics of a pattern that do not join.
    NotJoined {
        topic: Option<Cow<'a, str>>,
        count: u64,
        reason: String,
    },
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
    Presence(Presence),
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
    pub(super) duplicate: bool,
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
    matched: Option<u64>,
    pattern: Option<Text<'a>>,
    count: Option<u64>,
    duplicate: Option<bool>,
    error: Option<ErrorFields<'a>>,
    gap: Option<GapFields<'a>>,
    msg: Option<Text<'a>>,
    total: Option<u64>,
    subscribers: Option<Vec<String>>,
    joined: Option<Vec<String>>,
    left: Option<Vec<String>>,
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
    if let (Some(_), Some(Text(request_id))) = (fields.matched, &fields.request_id) {
        let request_id = request_id.clone();
        return Ok(Frame::PatternAck { request_id });
    }
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
        duplicate: fields.duplicate.unwrap_or(false),
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
        None if fields.pattern.is_some() => Frame::NotJoined {
            count: fields.count.unwrap_or(1),
            topic: fields.topic.map(|topic| topic.0),
            reason: format!("{}: {}", error.code, error.message),
        },
        None => Frame::Other,
        Some(Text(request_id)) => Frame::Refused {
            request_id,
            code: error.code,
            message: error.message,
        },
    })
}

fn info(fields: Fields<'_>) -> Result<Frame<'_>, Error> {
    let msg = match &fields.msg {
        Some(Text(msg)) => msg.clone(),
        None => Cow::Borrowed(""),
    };
    if msg == "presence" {
        return presence(fields).ok_or_else(|| missing_field("info"));
    }
    Ok(match (&*msg, fields.topic) {
        ("subscribed", Some(topic)) => Frame::Subscribed {
            topic: topic.0,
            seq: fields.seq.ok_or_else(|| missing_field("info"))?,
            epoch: fields.epoch.ok_or_else(|| missing_field("info"))?.0,
            recovered: fields.recovered,
        },
        ("topic_deleted", Some(topic)) => Frame::TopicDeleted(topic.0),
        ("subscription_replaced", Some(topic)) => Frame::SubscriptionReplaced(topic.0),
        _ => Frame::Other,
    })
}

fn presence(fields: Fields<'_>) -> Option<Frame<'_>> {
    let change = match fields.subscribers {
        Some(names) => PresenceChange::List(names),
        None => PresenceChange::Changes {
            joined: fields.joined?,
            left: fields.left?,
        },
    };
    let topic = fields.topic?.0;
    Some(Frame::Presence(Presence::new(
        &topic,
        fields.total?,
        change,
    )))
}

#[cfg(test)]
mod tests;
