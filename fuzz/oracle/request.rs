//! A WebSocket request, judged by section 1 of the protocol.

use std::collections::HashSet;

use crate::json::{self, Node, Value};
use crate::names::is_topic_name;

const MAX_PAYLOAD_DEPTH: usize = 128;

/// What is asked, if it may be asked like that.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub request_id: Option<String>,
    pub kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Publish {
        topic: String,
        id: String,
        payload: String,
    },
    Subscribe {
        topic: String,
        client_id: String,
        last_n: u64,
        after: Option<(u64, Option<String>)>,
    },
    Unsubscribe {
        topic: String,
        client_id: String,
    },
}

/// `None` if it must be refused.
pub fn read(text: &str) -> Option<Request> {
    let envelope = json::parse(text)?;
    keys_are_unique(&envelope)?;
    let field = |name| {
        envelope
            .get(name)
            .filter(|node| !matches!(node.value, Value::Null))
    };
    let kind = match field("type")?.string()? {
        "ping" => Kind::Ping,
        "publish" => {
            let (id, payload) = message(field("message")?)?;
            Kind::Publish {
                topic: topic(field("topic"))?,
                id,
                payload,
            }
        }
        "subscribe" => {
            let (last_n, after) = start(field("last_n"), field("after_seq"), field("epoch"))?;
            Kind::Subscribe {
                topic: topic(field("topic"))?,
                client_id: client(field("client_id"))?,
                last_n,
                after,
            }
        }
        "unsubscribe" => Kind::Unsubscribe {
            topic: topic(field("topic"))?,
            client_id: client(field("client_id"))?,
        },
        _ => return None,
    };
    let request_id = match field("request_id") {
        Some(node) => Some(
            node.string()
                .filter(|id| id.chars().count() <= 128)?
                .to_owned(),
        ),
        None => None,
    };
    Some(Request { request_id, kind })
}

fn keys_are_unique(object: &Node) -> Option<()> {
    let Value::Object(members) = &object.value else {
        return None;
    };
    let mut seen = HashSet::new();
    let mut keys = members.iter().map(|(key, _)| key.as_deref());
    keys.all(|key| key.is_some_and(|key| seen.insert(key)))
        .then_some(())
}

fn topic(node: Option<&Node>) -> Option<String> {
    node?
        .string()
        .filter(|name| is_topic_name(name))
        .map(str::to_owned)
}

fn client(node: Option<&Node>) -> Option<String> {
    let id = node?.string()?;
    (1..=128)
        .contains(&id.chars().count())
        .then(|| id.to_owned())
}

fn message(message: &Node) -> Option<(String, String)> {
    keys_are_unique(message)?;
    let id = message.get("id")?.string()?;
    uuid::Uuid::try_parse(id).ok()?;
    let payload = message.get("payload")?;
    (payload.depth <= MAX_PAYLOAD_DEPTH).then(|| (id.to_owned(), payload.text.to_owned()))
}

type Start = (u64, Option<(u64, Option<String>)>);

fn start(last_n: Option<&Node>, after_seq: Option<&Node>, epoch: Option<&Node>) -> Option<Start> {
    let number = |node: Option<&Node>| match node {
        None => Some(None),
        Some(node) => whole_number(node).map(Some),
    };
    let last_n = number(last_n)?.unwrap_or(0);
    let epoch = match epoch {
        None => None,
        Some(node) => Some(node.string()?.to_owned()),
    };
    match (number(after_seq)?, epoch) {
        (None, None) => Some((last_n, None)),
        (Some(seq), epoch) if last_n == 0 => Some((0, Some((seq, epoch)))),
        _ => None,
    }
}

/// One that is too large counts as the largest.
fn whole_number(node: &Node) -> Option<u64> {
    let is_plain =
        matches!(node.value, Value::Number) && node.text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| node.text.parse().unwrap_or(u64::MAX))
}
