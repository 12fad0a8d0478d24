//! The numbered messages, and the parser of what the server sends: without allocation for events and acks.

use std::io::Write;

use serde_json::Value;

/// Publisher and number of a message, counted from 1, in one word; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(pub(crate) u64);

const NUMBER_BITS: u32 = 40;
const UUID_LEN: usize = 36;
const TOPIC_PREFIX: &str = "soak-";

impl MessageId {
    pub(crate) fn new(publisher: usize, number: u64) -> MessageId {
        MessageId((publisher as u64) << NUMBER_BITS | number)
    }

    fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    fn publisher(self) -> u64 {
        self.0 >> NUMBER_BITS
    }
}

/// The name of the topic with this index.
pub(crate) fn topic_name(topic: usize) -> String {
    format!("{TOPIC_PREFIX}{topic}")
}

/// Writes the publish request of a message. The UUID holds topic and message, and so does the payload: an event mixed from two
/// messages is found.
pub(crate) fn write_publish(out: &mut Vec<u8>, topic: usize, id: MessageId) {
    let (publisher, number) = (id.publisher(), id.number());
    let uuid = format!("{topic:08x}-{publisher:04x}-4000-8000-{number:012x}");
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        r#"{{"type":"publish","topic":"{TOPIC_PREFIX}{topic}","message":{{"id":"{uuid}","payload":"{uuid}"}},"request_id":"{number}"}}"#
    );
}

/// One text message of the server.
#[derive(Debug)]
pub(crate) enum ServerMessage {
    /// `published_to` is the topic in the id of the message.
    Event {
        topic: usize,
        published_to: usize,
        id: MessageId,
        seq: u64,
    },
    PublishAck {
        topic: usize,
        number: u64,
        seq: u64,
    },
    /// Anything else: an object; `Null` when it is not even JSON.
    Other(Value),
}

impl ServerMessage {
    pub(crate) fn parse(text: &[u8]) -> ServerMessage {
        event(text)
            .or_else(|| publish_ack(text))
            .unwrap_or_else(|| {
                ServerMessage::Other(serde_json::from_slice(text).unwrap_or_default())
            })
    }
}

fn event(text: &[u8]) -> Option<ServerMessage> {
    let rest = text.strip_prefix(br#"{"type":"event","topic":"soak-"#)?;
    let (topic, rest) = number(rest, 10)?;
    let rest = rest.strip_prefix(br#"","message":{"id":""#)?;
    let (id, rest) = rest.split_at_checked(UUID_LEN)?;
    let rest = rest.strip_prefix(br#"","payload":""#)?;
    let rest = rest.strip_prefix(id)?.strip_prefix(br#""},"seq":"#)?;
    let (seq, rest) = number(rest, 10)?;
    rest.strip_prefix(br#","ts":""#)?;
    let (published_to, id) = uuid(id)?;
    Some(ServerMessage::Event {
        topic: topic as usize,
        published_to,
        id,
        seq,
    })
}

fn uuid(text: &[u8]) -> Option<(usize, MessageId)> {
    let (topic, rest) = number(text, 16)?;
    let (publisher, rest) = number(rest.strip_prefix(b"-")?, 16)?;
    let (number, rest) = number(rest.strip_prefix(b"-4000-8000-")?, 16)?;
    rest.is_empty()
        .then(|| (topic as usize, MessageId::new(publisher as usize, number)))
}

fn publish_ack(text: &[u8]) -> Option<ServerMessage> {
    let rest = text.strip_prefix(br#"{"type":"ack","request_id":""#)?;
    let (request, rest) = number(rest, 10)?;
    let rest = rest.strip_prefix(br#"","topic":"soak-"#)?;
    let (topic, rest) = number(rest, 10)?;
    let rest = rest.strip_prefix(br#"","status":"ok","seq":"#)?;
    let (seq, rest) = number(rest, 10)?;
    rest.strip_prefix(br#","epoch":""#)?;
    Some(ServerMessage::PublishAck {
        topic: topic as usize,
        number: request,
        seq,
    })
}

/// The number that the text begins with, and what follows it.
fn number(text: &[u8], radix: u32) -> Option<(u64, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix).map(u64::from);
    let value = |sum: u64, digit: u64| sum * u64::from(radix) + digit;
    let length = text.iter().map_while(digit).take(16).count();
    let number = text[..length].iter().filter_map(digit).fold(0, value);
    (length > 0).then(|| (number, &text[length..]))
}
