//! Nchan, a module of nginx: subscribers over WebSocket, publishers over HTTP.

use threadcast::load::{Connection, Failure, first_frame, opcode};

use super::load::protocol::{Message, Protocol, TOPIC, first_answer};

/// Nchan's protocols.
#[derive(Debug)]
pub(crate) struct Nchan;

impl Protocol for Nchan {
    fn subscribe(&self, connection: &mut Connection, _client_id: &str) -> Result<(), Failure> {
        connection.upgrade(&format!("/subscribe/{TOPIC}"), None)
    }

    fn publish(&self, _number: u64, payload: &str, out: &mut Vec<u8>) {
        let request = format!(
            "POST /publish/{TOPIC} HTTP/1.1\r\nHost: bench\r\nAccept: text/json\r\n\
             Content-Length: {}\r\n\r\n\"{payload}\"",
            payload.len() + 2
        );
        out.extend_from_slice(request.as_bytes());
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        if received.starts_with(b"HTTP/1.1 ") {
            return Ok(first_answer(received)?.map(|length| (length, Message::Ack)));
        }
        let Some((opcode, payload)) = first_frame(received) else {
            return Ok(None);
        };
        let end = payload.end;
        match opcode {
            opcode::TEXT => Ok(Some((end, Message::Event(payload.start + 1..end)))),
            opcode::CLOSE => Err("the server sent a close frame".into()),
            _ => Ok(Some((end, Message::Other))),
        }
    }
}
