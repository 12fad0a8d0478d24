//! The protocols made of lines: Redis (RESP) and NATS.

use std::net::TcpStream;

use super::Failure;
use super::wire::{Message, TOPIC, Wire, ask, line_end};

/// Redis: `SUBSCRIBE` and `PUBLISH`.
#[derive(Debug)]
pub(crate) struct Redis;

impl Wire for Redis {
    fn subscribe(&self, stream: &mut TcpStream, _index: usize) -> Result<(), Failure> {
        let request = format!("SUBSCRIBE {TOPIC}\r\n");
        ask(stream, request.as_bytes(), b":1\r\n").map(drop)
    }

    fn introduce(&self, _stream: &mut TcpStream) -> Result<(), Failure> {
        Ok(())
    }

    fn publish(&self, payload: &[u8], out: &mut Vec<u8>) {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{TOPIC}\r\n", TOPIC.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(format!("${}\r\n", payload.len()).as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }

    fn next(&self, received: &[u8]) -> Result<Option<Message>, Failure> {
        let Some(first_end) = line_end(received) else {
            return Ok(None);
        };
        match received[0] {
            // So many subscribers got it.
            b':' => Ok(Some(Message {
                length: first_end + 2,
                payload: None,
            })),
            b'*' => Ok(three_strings(received, first_end + 2)),
            _ => Err(format!("redis: {}", String::from_utf8_lossy(&received[..first_end])).into()),
        }
    }
}

/// `message`, the topic and the payload, each as its length and its bytes.
fn three_strings(received: &[u8], start: usize) -> Option<Message> {
    let mut at = start;
    let mut payload = start..start;
    for _ in 0..3 {
        let length_end = at + line_end(received.get(at..)?)?;
        let length: usize = number(&received[at + 1..length_end])?;
        payload = length_end + 2..length_end + 2 + length;
        at = payload.end + 2;
    }
    (received.len() >= at).then_some(Message {
        length: at,
        payload: Some(payload),
    })
}

/// NATS, the core protocol over TCP.
#[derive(Debug)]
pub(crate) struct Nats;

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

impl Wire for Nats {
    fn subscribe(&self, stream: &mut TcpStream, _index: usize) -> Result<(), Failure> {
        let request = format!("{CONNECT}SUB {TOPIC} 1\r\nPING\r\n");
        ask(stream, request.as_bytes(), b"PONG\r\n").map(drop)
    }

    fn introduce(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        let request = format!("{CONNECT}PING\r\n");
        ask(stream, request.as_bytes(), b"PONG\r\n").map(drop)
    }

    fn publish(&self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(format!("PUB {TOPIC} {}\r\n", payload.len()).as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }

    fn next(&self, received: &[u8]) -> Result<Option<Message>, Failure> {
        let Some(first_end) = line_end(received) else {
            return Ok(None);
        };
        let line = &received[..first_end];
        if !line.starts_with(b"MSG ") {
            let is_error = line.starts_with(b"-ERR");
            let told = || format!("nats: {}", String::from_utf8_lossy(line)).into();
            return if is_error {
                Err(told())
            } else {
                Ok(Some(notice(first_end)))
            };
        }
        let length = line.rsplit(|byte| *byte == b' ').next().and_then(number);
        let payload = first_end + 2..first_end + 2 + length.ok_or("nats: no length")?;
        Ok((received.len() >= payload.end + 2).then_some(Message {
            length: payload.end + 2,
            payload: Some(payload),
        }))
    }
}

fn notice(line_end: usize) -> Message {
    Message {
        length: line_end + 2,
        payload: None,
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
