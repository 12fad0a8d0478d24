//! WebSocket requests, by section 1 of the protocol.

use std::collections::{BTreeMap, HashSet};

use crate::json::{self, Node, Value};
use crate::names::{is_topic_name, pattern_matches};

const MAX_PAYLOAD_DEPTH: usize = 128;

/// A valid request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub request_id: Option<String>,
    pub kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Authenticate {
        token: String,
    },
    Publish {
        topic: String,
        id: String,
        payload: String,
        idempotent: bool,
    },
    Subscribe {
        topic: String,
        client_id: String,
        last_n: u64,
        after: Option<(u64, Option<String>)>,
        positions: Option<Positions>,
        presence: bool,
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
        "authenticate" => Kind::Authenticate {
            token: field("token")?
                .string()
                .filter(|token| !token.is_empty())?
                .to_owned(),
        },
        "publish" => {
            let (id, payload) = message(field("message")?)?;
            Kind::Publish {
                topic: topic(field("topic"))?,
                id,
                payload,
                idempotent: boolean(field("idempotent"))?,
            }
        }
        "subscribe" => {
            let topic = topic_or_pattern(field("topic"))?;
            let (last_n, after) = start(field("last_n"), field("after_seq"), field("epoch"))?;
            let positions = match field("positions") {
                None => None,
                Some(positions) if field("last_n").is_none() => {
                    Some(read_positions(positions, &topic)?)
                }
                Some(_) => return None,
            };
            let is_pattern = topic.contains('*');
            let fits = match is_pattern {
                true => field("after_seq").is_none() && field("epoch").is_none(),
                false => positions.is_none(),
            };
            fits.then_some(())?;
            Kind::Subscribe {
                topic,
                client_id: client(field("client_id"))?,
                last_n,
                after,
                positions,
                presence: boolean(field("presence"))?,
            }
        }
        "unsubscribe" => Kind::Unsubscribe {
            topic: topic_or_pattern(field("topic"))?,
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

fn topic_or_pattern(node: Option<&Node>) -> Option<String> {
    let text = node?.string()?;
    pattern_matches(text, "")?;
    Some(text.to_owned())
}

type Positions = BTreeMap<String, (u64, String)>;

/// By topic: a seq and an epoch.
fn read_positions(positions: &Node, pattern: &str) -> Option<Positions> {
    keys_are_unique(positions)?;
    let Value::Object(members) = &positions.value else {
        return None;
    };
    let mut read = Positions::new();
    for (topic, position) in members {
        let topic = topic.as_deref()?;
        let fits = is_topic_name(topic) && pattern_matches(pattern, topic) == Some(true);
        fits.then_some(())?;
        keys_are_unique(position)?;
        let seq = whole_number(position.get("seq")?)?;
        let epoch = position.get("epoch")?.string()?.to_owned();
        read.insert(topic.to_owned(), (seq, epoch));
    }
    Some(read)
}

fn boolean(node: Option<&Node>) -> Option<bool> {
    match node.map_or("false", |node| node.text) {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
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

/// The non-negative integer that a JSON number is, in whatever notation; 64-bit overflow saturates. Moves the point: the
/// digits before it are the number, those behind it must be zeros.
fn whole_number(node: &Node) -> Option<u64> {
    if !matches!(node.value, Value::Number) {
        return None;
    }
    let is_negative = node.text.starts_with('-');
    let text = node.text.trim_start_matches('-').to_ascii_lowercase();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [before, behind].concat();
    if digits.bytes().all(|digit| digit == b'0') {
        return Some(0);
    }
    if is_negative {
        return None;
    }
    // No input is long enough for a larger exponent to make a difference.
    let far = 1_000_000;
    let shift = exponent.parse::<i64>().map_or_else(
        |_| if exponent.starts_with('-') { -far } else { far },
        |shift| shift.clamp(-far, far),
    );
    let point = before.len() as i64 + shift;
    let mut number = Some(0u64);
    for (at, digit) in (0..).zip(digits.bytes()) {
        if at < point {
            number = append(number, digit - b'0');
        } else if digit != b'0' {
            return None;
        }
    }
    for _ in digits.len() as i64..point {
        number = append(number, 0);
    }
    Some(number.unwrap_or(u64::MAX))
}

/// The number with one more digit; `None` on overflow.
fn append(number: Option<u64>, digit: u8) -> Option<u64> {
    number?.checked_mul(10)?.checked_add(digit.into())
}
