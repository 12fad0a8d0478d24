//! MQTT 3.1.1 with QoS 0.

use threadcast::load::{Connection, Failure};

use super::load::protocol::{Message, Protocol, TOPIC};

const PUBLISH: u8 = 0x30;

/// Mosquitto's protocol.
#[derive(Debug)]
pub(crate) struct Mqtt;

impl Protocol for Mqtt {
    fn has_acks(&self) -> bool {
        false
    }

    fn subscribe(&self, connection: &mut Connection, client_id: &str) -> Result<(), Failure> {
        connect(connection, client_id)?;
        let mut body = vec![0, 1];
        push_text(&mut body, TOPIC);
        body.push(0);
        // SUBACK: packet 1, QoS 0 granted.
        connection.exchange(&packet(0x82, &body), &[0x90, 3, 0, 1, 0])?;
        Ok(())
    }

    fn open_publisher(&self, connection: &mut Connection) -> Result<(), Failure> {
        connect(connection, "writer")
    }

    fn publish(&self, _number: u64, payload: &str, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(payload.len() + TOPIC.len() + 4);
        push_text(&mut body, TOPIC);
        body.push(b'"');
        body.extend_from_slice(payload.as_bytes());
        body.push(b'"');
        out.extend_from_slice(&packet(PUBLISH, &body));
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        let Some((length, start)) = remaining_length(received) else {
            return Ok(None);
        };
        let end = start + length;
        if received.len() < end {
            return Ok(None);
        }
        let message = match received[0] {
            PUBLISH => Message::Event(start + 2 + TOPIC.len() + 1..end),
            _ => Message::Other,
        };
        Ok(Some((end, message)))
    }
}

fn connect(connection: &mut Connection, client_id: &str) -> Result<(), Failure> {
    let mut body = Vec::new();
    push_text(&mut body, "MQTT");
    // Level 4, a clean session, no keep-alive.
    body.extend_from_slice(&[4, 2, 0, 0]);
    push_text(&mut body, client_id);
    // CONNACK: no session, accepted.
    connection.exchange(&packet(0x10, &body), &[0x20, 2, 0, 0])?;
    Ok(())
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
