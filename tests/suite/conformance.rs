//! RFC 6455 case by case: the groups of the Autobahn test suite that make sense for a server that does not echo. That a
//! message arrived intact shows in the answer to it.
//!
//! Each case is sent in one piece and octet by octet; both have to come to the same.

mod any_cut;
mod closing;
mod control;
mod fragments;
mod framing;
mod limits;
mod opcodes;
mod utf8;

use std::fmt::Debug;

use crate::harness::{Frame, Incoming, Opcode, TestServer, WsClient, code_of};

/// What has to come back, in order.
#[derive(Debug, Clone)]
enum Back {
    /// The answer to [`ping`] of this name.
    Reply(&'static str),
    /// A `BAD_REQUEST`: the message arrived, and is none.
    Refused,
    /// A pong frame.
    Pong(Vec<u8>),
    /// A close frame, and the end. Nothing can follow.
    Closed(u16),
}

use Back::{Closed, Pong, Refused, Reply};

/// The text of a request to which only [`Reply`] of the same name is the answer.
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

/// Sends the frames on connections of their own, whole and in octets, and checks what comes back.
fn check(server: &TestServer, case: impl Debug, frames: &[Vec<u8>], expected: &[Back]) {
    let bytes = frames.concat();
    for chop in [bytes.len().max(1), 1] {
        let case = format!("{case:?} in pieces of {chop}");
        let mut client = server.ws();
        for piece in bytes.chunks(chop) {
            if !client.try_send_bytes(piece) {
                break;
            }
        }
        expected
            .iter()
            .for_each(|back| expect(&mut client, back, &case));
        if !matches!(expected.last(), Some(Closed(_))) {
            let rest = client.fence();
            assert!(rest.is_empty(), "{case}: also came {rest:?}");
        }
    }
}

fn expect(client: &mut WsClient, back: &Back, case: &str) {
    match (back, client.receive(case)) {
        (Pong(payload), Incoming::Pong(came)) => assert_eq!(*payload, came, "{case}"),
        (Closed(code), Incoming::Close(came)) => {
            assert_eq!(Some(*code), came, "{case}");
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
        (back, came) => panic!("{case}: awaited {back:?}, got {came:?}"),
    }
}

/// Publishes this payload (JSON text) by `send`, and asserts that the subscriber gets it byte for byte.
fn assert_arrives(client: &mut WsClient, payload: &str, send: impl FnOnce(&mut WsClient, &str)) {
    let request = crate::harness::publish_text("t", payload, "p");
    send(client, &request);
    client.expect_ack("p");
    let event = client.next_text();
    let delivered = format!(r#""payload":{payload}}}"#);
    assert!(event.contains(&delivered), "{} in {event}", payload.len());
}
