//! threadcast's protocol over WebSocket, and its REST interface for publishers.

use std::net::SocketAddr;
use std::ops::Range;

use data_encoding::HEXLOWER;
use serde_json::Value;
use threadcast::load::{Connection, Failure, Incoming, append_frame, first_frame, opcode};

use super::protocol::{Message, Protocol, TOPIC, first_answer};

/// How many patterns a connection is subscribed to.
const PATTERNS_OF_ONE: usize = 250;
/// The id of a message ends with its number in hex.
const ID_DIGITS: usize = 12;
const PUBLISH: &[u8] = br#"{"type":"publish","topic":""#;
const EVENT: &[u8] = br#"{"type":"event","topic":""#;
const BEFORE_ID: &[u8] = br#"","message":{"id":"00000000-0000-4000-8000-"#;
const REST_MESSAGE: &[u8] = br#"{"id":"00000000-0000-4000-8000-"#;
const BEFORE_PAYLOAD: &[u8] = br#"","payload":""#;
/// Where the digits in the id of an event begin. Every topic has a name as long as [`TOPIC`].
const ID_AT: usize = EVENT.len() + TOPIC.len() + BEFORE_ID.len();
/// Where the payload of an event begins.
const PAYLOAD_AT: usize = ID_AT + ID_DIGITS + BEFORE_PAYLOAD.len();

/// The protocol over WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket;

impl Protocol for WebSocket {
    fn subscribe(&self, connection: &mut Connection, client_id: &str) -> Result<(), Failure> {
        connection.upgrade("/ws", None)?;
        connection.add_text(subscribe_request(TOPIC, client_id).as_bytes());
        connection.send()?;
        read_ack(connection)
    }

    fn open_publisher(&self, connection: &mut Connection) -> Result<(), Failure> {
        connection.upgrade("/ws", None)
    }

    fn publish(&self, number: u64, payload: &str, out: &mut Vec<u8>) {
        publish_to(TOPIC, number, payload, out);
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        let Some((opcode, payload)) = first_frame(received) else {
            return Ok(None);
        };
        let end = payload.end;
        let message = match opcode {
            opcode::TEXT => text_message(received, payload)?,
            opcode::CLOSE => return Err("the server sent a close frame".into()),
            _ => Message::Other,
        };
        Ok(Some((end, message)))
    }
}

/// The message in this part of the received bytes.
pub(super) fn text_message(received: &[u8], text: Range<usize>) -> Result<Message, Failure> {
    let (start, end) = (text.start, text.end);
    match &received[text] {
        text if is_event(text) => Ok(Message::Event(start + PAYLOAD_AT..end)),
        text if is_ack(text) => Ok(Message::Ack),
        text => gap(text),
    }
}

/// The request that subscribes to a topic.
pub(crate) fn subscribe_request(topic: &str, client_id: &str) -> String {
    format!(r#"{{"type":"subscribe","topic":"{topic}","client_id":"{client_id}"}}"#)
}

/// Opens connections that are subscribed to so many patterns, none of which matches a topic of a benchmark.
pub(crate) fn subscribe_to_patterns(
    server: SocketAddr,
    patterns: usize,
) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for of_one in (0..patterns).collect::<Vec<_>>().chunks(PATTERNS_OF_ONE) {
        let mut connection = Connection::open(server, None)?;
        connection.upgrade("/ws", None)?;
        for number in of_one {
            let request = subscribe_request(&format!("other.{number}.*"), "patterns");
            connection.add_text(request.as_bytes());
            connection.send()?;
            read_ack(&mut connection)?;
        }
        connections.push(connection);
    }
    Ok(connections)
}

/// Waits for an ack. Anything else is a failure.
pub(crate) fn read_ack(connection: &mut Connection) -> Result<(), Failure> {
    match connection.read_text() {
        Incoming::Text(text) if is_ack(text) => Ok(()),
        Incoming::Text(text) => Err(unexpected(text)),
        other => Err(format!("no ack: {other:?}").into()),
    }
}

/// Appends the request that publishes to a topic.
pub(crate) fn publish_to(topic: &str, number: u64, payload: &str, out: &mut Vec<u8>) {
    let digits = id_digits(number);
    let parts = [
        PUBLISH,
        topic.as_bytes(),
        BEFORE_ID,
        &digits,
        BEFORE_PAYLOAD,
        payload.as_bytes(),
        br#""}}"#,
    ];
    append_frame(opcode::TEXT, &parts, out);
}

/// A publisher over REST.
#[derive(Debug)]
pub(crate) struct Rest;

impl Protocol for Rest {
    fn subscribe(&self, _connection: &mut Connection, _client_id: &str) -> Result<(), Failure> {
        Err("REST has no subscribers".into())
    }

    fn publish(&self, number: u64, payload: &str, out: &mut Vec<u8>) {
        let digits = id_digits(number);
        let message = [
            REST_MESSAGE,
            &digits,
            BEFORE_PAYLOAD,
            payload.as_bytes(),
            br#""}"#,
        ];
        let message = message.concat();
        let head = format!(
            "POST /topics/{TOPIC}/messages HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            message.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&message);
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        Ok(first_answer(received)?.map(|length| (length, Message::Ack)))
    }
}

fn id_digits(number: u64) -> [u8; ID_DIGITS] {
    let mut digits = [0; ID_DIGITS];
    let [_, _, bytes @ ..] = number.to_be_bytes();
    HEXLOWER.encode_mut(&bytes, &mut digits);
    digits
}

fn is_event(text: &[u8]) -> bool {
    let is_at = |at: usize, part: &[u8]| text.get(at..).is_some_and(|rest| rest.starts_with(part));
    is_at(0, EVENT)
        && is_at(EVENT.len() + TOPIC.len(), BEFORE_ID)
        && is_at(ID_AT + ID_DIGITS, BEFORE_PAYLOAD)
}

fn is_ack(text: &[u8]) -> bool {
    text.starts_with(br#"{"type":"ack""#)
}

fn gap(text: &[u8]) -> Result<Message, Failure> {
    let notice: Value = serde_json::from_slice(text)?;
    let number = |name| notice["gap"][name].as_u64();
    match (number("from_seq"), number("to_seq"), number("count")) {
        (Some(from), Some(to), Some(count)) => Ok(Message::Gap { from, to, count }),
        _ => Err(unexpected(text)),
    }
}

fn unexpected(text: &[u8]) -> Failure {
    format!("unexpected message: {}", String::from_utf8_lossy(text)).into()
}
