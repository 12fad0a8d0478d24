//! MQTT 3.1.1 with QoS 0.

use std::net::TcpStream;

use super::Failure;
use super::wire::{Message, TOPIC, Wire, ask};

const PUBLISH: u8 = 0x30;

/// Mosquitto's protocol.
#[derive(Debug)]
pub(crate) struct Mqtt;

impl Wire for Mqtt {
    fn subscribe(&self, stream: &mut TcpStream, index: usize) -> Result<(), Failure> {
        connect(stream, &format!("reader-{index}"))?;
        let mut body = vec![0, 1];
        push_text(&mut body, TOPIC);
        body.push(0);
        // SUBACK: packet 1, QoS 0 granted.
        ask(stream, &packet(0x82, &body), &[0x90, 3, 0, 1, 0]).map(drop)
    }

    fn introduce(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        connect(stream, "writer")
    }

    fn publish(&self, payload: &[u8], out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(payload.len() + TOPIC.len() + 2);
        push_text(&mut body, TOPIC);
        body.extend_from_slice(payload);
        out.extend_from_slice(&packet(PUBLISH, &body));
    }

    fn next(&self, received: &[u8]) -> Result<Option<Message>, Failure> {
        let Some((length, start)) = remaining_length(received) else {
            return Ok(None);
        };
        let end = start + length;
        if received.len() < end {
            return Ok(None);
        }
        let payload = (received[0] == PUBLISH).then_some(start + 2 + TOPIC.len()..end);
        Ok(Some(Message {
            length: end,
            payload,
        }))
    }
}

fn connect(stream: &mut TcpStream, client_id: &str) -> Result<(), Failure> {
    let mut body = Vec::new();
    push_text(&mut body, "MQTT");
    // Level 4, a clean session, no keep-alive.
    body.extend_from_slice(&[4, 2, 0, 0]);
    push_text(&mut body, client_id);
    // CONNACK: no session, accepted.
    ask(stream, &packet(0x10, &body), &[0x20, 2, 0, 0]).map(drop)
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&(text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut rest = body.len();
    loop {
        let more = if rest > 127 { 0x80 } else { 0 };
        packet.push((rest % 128) as u8 | more);
        rest /= 128;
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// The length that a packet says, and where its body begins.
fn remaining_length(received: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (index, byte) in received.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, index + 2));
        }
    }
    None
}
