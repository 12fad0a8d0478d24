//! The protocols over WebSocket: threadcast's JSON, and Nchan, whose messages are published with HTTP.

use std::net::TcpStream;

use super::Failure;
use super::wire::{Message, TOPIC, Wire, ask, line_end};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// threadcast.
#[derive(Debug)]
pub(crate) struct Threadcast;

impl Wire for Threadcast {
    fn subscribe(&self, stream: &mut TcpStream, index: usize) -> Result<(), Failure> {
        upgrade(stream, "/ws")?;
        let request =
            format!(r#"{{"type":"subscribe","topic":"{TOPIC}","client_id":"reader-{index}"}}"#);
        let mut frame = Vec::new();
        push_masked(request.as_bytes(), &mut frame);
        let ack = ask(stream, &frame, b"}")?;
        match ack.windows(5).any(|bytes| bytes == br#""ack""#) {
            true => Ok(()),
            false => Err(format!("threadcast: {}", String::from_utf8_lossy(&ack)).into()),
        }
    }

    fn introduce(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        upgrade(stream, "/ws")
    }

    fn publish(&self, payload: &[u8], out: &mut Vec<u8>) {
        let mut request = format!(
            r#"{{"type":"publish","topic":"{TOPIC}","message":{{"id":"550e8400-e29b-41d4-a716-446655440000","payload":"#
        )
        .into_bytes();
        request.extend_from_slice(payload);
        request.extend_from_slice(b"}}");
        push_masked(&request, out);
    }

    fn next(&self, received: &[u8]) -> Result<Option<Message>, Failure> {
        let Some(message) = frame(received)? else {
            return Ok(None);
        };
        let text = &received[message.payload.clone().unwrap_or_default()];
        if text.starts_with(br#"{"type":"event""#) {
            let mark = br#""payload":"#;
            let at = text.windows(mark.len()).position(|bytes| bytes == mark);
            let start =
                message.length - text.len() + at.ok_or("an event without payload")? + mark.len();
            return Ok(Some(Message {
                length: message.length,
                payload: Some(start..message.length),
            }));
        }
        if text.starts_with(br#"{"type":"error""#) {
            return Err(format!("threadcast: {}", String::from_utf8_lossy(text)).into());
        }
        Ok(Some(Message {
            length: message.length,
            payload: None,
        }))
    }
}

/// Nchan, a module of nginx.
#[derive(Debug)]
pub(crate) struct Nchan;

impl Wire for Nchan {
    fn subscribe(&self, stream: &mut TcpStream, _index: usize) -> Result<(), Failure> {
        upgrade(stream, &format!("/subscribe/{TOPIC}"))
    }

    fn introduce(&self, _stream: &mut TcpStream) -> Result<(), Failure> {
        Ok(())
    }

    fn publish(&self, payload: &[u8], out: &mut Vec<u8>) {
        let head = format!(
            "POST /publish/{TOPIC} HTTP/1.1\r\nHost: bench\r\nAccept: text/json\r\nContent-Length: {}\r\n\r\n",
            payload.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(payload);
    }

    fn next(&self, received: &[u8]) -> Result<Option<Message>, Failure> {
        if received.starts_with(b"HTTP/1.1 ") {
            return http_answer(received);
        }
        frame(received)
    }
}

fn upgrade(stream: &mut TcpStream, path: &str) -> Result<(), Failure> {
    let host = stream.peer_addr()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let head = ask(stream, request.as_bytes(), END_OF_HEAD)?;
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(()),
        false => Err(format!("no upgrade: {}", String::from_utf8_lossy(&head)).into()),
    }
}

/// The first frame; its payload is that of the frame, if it is text.
fn frame(received: &[u8]) -> Result<Option<Message>, Failure> {
    let Some((&[kind, short], rest)) = received.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let (length, start) = match (short, rest) {
        (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        (126, _) => return Ok(None),
        (127, _) => return Err("a frame of 64 KiB".into()),
        (short, _) => (usize::from(short), 2),
    };
    let end = start + length;
    if received.len() < end {
        return Ok(None);
    }
    match kind {
        CLOSE => Err("the server sent a close frame".into()),
        _ => Ok(Some(Message {
            length: end,
            payload: (kind == TEXT).then_some(start..end),
        })),
    }
}

fn http_answer(received: &[u8]) -> Result<Option<Message>, Failure> {
    let Some(head_end) = received.windows(4).position(|four| four == END_OF_HEAD) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&received[..head_end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 20") {
        let status = &received[..line_end(received).unwrap_or(0)];
        return Err(format!("not published: {}", String::from_utf8_lossy(status)).into());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .ok_or("an answer without a length")?;
    let end = head_end + END_OF_HEAD.len() + length.trim().parse::<usize>()?;
    Ok((received.len() >= end).then_some(Message {
        length: end,
        payload: None,
    }))
}

fn push_masked(text: &[u8], out: &mut Vec<u8>) {
    out.push(TEXT);
    match u8::try_from(text.len()) {
        Ok(short @ 0..=125) => out.push(0x80 | short),
        _ => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(text.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(
        text.iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}
