//! RFC 6455 case by case: the groups of the Autobahn test suite that apply to a server that does not echo. The reply to a
//! message shows that it arrived intact.
//!
//! Each case is sent in one piece and byte by byte, with the same result.

mod closing;
mod control;
mod fragments;
mod framing;
mod limits;
mod opcodes;
mod segmentation;
mod utf8;

use std::fmt::Debug;

use crate::harness::{Frame, Incoming, Opcode, TestServer, WsClient, code_of};

/// An expected answer.
#[derive(Debug, Clone)]
enum Answer {
    /// The reply to [`ping`] with this name.
    Reply(&'static str),
    /// `BAD_REQUEST`: the message arrived but is not a valid request.
    Refused,
    /// A pong frame.
    Pong(Vec<u8>),
    /// A close frame and the end of the stream.
    Closed(u16),
}

use Answer::{Closed, Pong, Refused, Reply};

/// The text of a ping request that only [`Reply`] of the same name answers.
fn ping(name: &str) -> String {
    format!(r#"{{"type":"ping","request_id":"{name}"}}"#)
}

fn text(text: &str) -> Vec<u8> {
    Frame::text(text).masked()
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    Frame::new(opcode, payload).masked()
}

fn unfinished(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    Frame::unfinished(opcode, payload).masked()
}

fn raw(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    Frame::with_first_byte(first_byte, payload).masked()
}

/// Sends the frames on two connections, in one piece and byte by byte, and checks the answers.
fn check(server: &TestServer, case: impl Debug, frames: &[Vec<u8>], expected: &[Answer]) {
    let bytes = frames.concat();
    for piece_bytes in [bytes.len().max(1), 1] {
        let case = format!("{case:?} in pieces of {piece_bytes}");
        let mut client = server.ws();
        for piece in bytes.chunks(piece_bytes) {
            if !client.try_send_bytes(piece) {
                break;
            }
        }
        expected
            .iter()
            .for_each(|answer| expect(&mut client, answer, &case));
        if !matches!(expected.last(), Some(Closed(_))) {
            let rest = client.fence();
            assert!(rest.is_empty(), "{case}: unexpected {rest:?}");
        }
    }
}

fn expect(client: &mut WsClient, answer: &Answer, case: &str) {
    match (answer, client.receive(case)) {
        (Pong(payload), Incoming::Pong(received)) => assert_eq!(*payload, received, "{case}"),
        (Closed(code), Incoming::Close(received)) => {
            assert_eq!(Some(*code), received, "{case}");
            client.expect_orderly_end();
        }
        (Reply(name), Incoming::Text(text)) => {
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(message["type"], "pong", "{case}: {message}");
            assert_eq!(message["request_id"], *name, "{case}: {message}");
        }
        (Refused, Incoming::Text(text)) => {
            let message = serde_json::from_str(&text).unwrap();
            assert_eq!(code_of(&message), "BAD_REQUEST", "{case}: {message}");
        }
        (answer, received) => panic!("{case}: expected {answer:?}, got {received:?}"),
    }
}

/// Publishes this payload (JSON text) through `send` and asserts that the subscriber gets it byte for byte.
fn assert_arrives(client: &mut WsClient, payload: &str, send: impl FnOnce(&mut WsClient, &str)) {
    let request = crate::harness::publish_text("t", payload, "p");
    send(client, &request);
    client.expect_ack("p");
    let event = client.next_text();
    let delivered = format!(r#""payload":{payload}}}"#);
    assert!(event.contains(&delivered), "{} in {event}", payload.len());
}
