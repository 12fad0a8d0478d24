//! The protocols made of lines: Redis (RESP) and NATS.

use threadcast::load::{Connection, Failure};

use super::load::protocol::{Message, Protocol, TOPIC};

/// Redis: `SUBSCRIBE` and `PUBLISH`.
#[derive(Debug)]
pub(crate) struct Redis;

impl Protocol for Redis {
    fn subscribe(&self, connection: &mut Connection, _client_id: &str) -> Result<(), Failure> {
        let request = format!("SUBSCRIBE {TOPIC}\r\n");
        connection.exchange(request.as_bytes(), b":1\r\n")?;
        Ok(())
    }

    fn publish(&self, _number: u64, payload: &str, out: &mut Vec<u8>) {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{TOPIC}\r\n", TOPIC.len());
        out.extend_from_slice(head.as_bytes());
        let payload = format!("${}\r\n\"{payload}\"\r\n", payload.len() + 2);
        out.extend_from_slice(payload.as_bytes());
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        let Some(first_end) = line_end(received) else {
            return Ok(None);
        };
        match received[0] {
            // How many subscribers got it.
            b':' => Ok(Some((first_end + 2, Message::Ack))),
            b'*' => Ok(three_strings(received, first_end + 2)),
            _ => Err(format!("redis: {}", String::from_utf8_lossy(&received[..first_end])).into()),
        }
    }
}

/// `message`, the topic and the payload, each as its length and its bytes.
fn three_strings(received: &[u8], start: usize) -> Option<(usize, Message)> {
    let mut at = start;
    let mut payload = start..start;
    for _ in 0..3 {
        let length_end = at + line_end(received.get(at..)?)?;
        let length: usize = number(&received[at + 1..length_end])?;
        payload = length_end + 2..length_end + 2 + length;
        at = payload.end + 2;
    }
    let message = Message::Event(payload.start + 1..payload.end);
    (received.len() >= at).then_some((at, message))
}

/// NATS, the core protocol over TCP.
#[derive(Debug)]
pub(crate) struct Nats;

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
const PONG: &[u8] = b"PONG\r\n";

impl Protocol for Nats {
    fn has_acks(&self) -> bool {
        false
    }

    fn subscribe(&self, connection: &mut Connection, _client_id: &str) -> Result<(), Failure> {
        let request = format!("{CONNECT}SUB {TOPIC} 1\r\nPING\r\n");
        connection.exchange(request.as_bytes(), PONG)?;
        Ok(())
    }

    fn open_publisher(&self, connection: &mut Connection) -> Result<(), Failure> {
        let request = format!("{CONNECT}PING\r\n");
        connection.exchange(request.as_bytes(), PONG)?;
        Ok(())
    }

    fn publish(&self, _number: u64, payload: &str, out: &mut Vec<u8>) {
        let length = payload.len() + 2;
        let request = format!("PUB {TOPIC} {length}\r\n\"{payload}\"\r\n");
        out.extend_from_slice(request.as_bytes());
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        let Some(first_end) = line_end(received) else {
            return Ok(None);
        };
        let line = &received[..first_end];
        if line.starts_with(b"-ERR") {
            return Err(format!("nats: {}", String::from_utf8_lossy(line)).into());
        }
        if !line.starts_with(b"MSG ") {
            return Ok(Some((first_end + 2, Message::Other)));
        }
        let length = line.rsplit(|byte| *byte == b' ').next().and_then(number);
        let payload_end = first_end + 2 + length.ok_or("nats: no length")?;
        let message = Message::Event(first_end + 3..payload_end);
        Ok((received.len() >= payload_end + 2).then_some((payload_end + 2, message)))
    }
}

/// Where the first line ends, without its line break.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n")
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
