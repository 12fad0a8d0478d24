//! Pings and pongs (group 2).

use super::{Answer, Closed, Pong, Reply, check, frame, ping, text, unfinished};
use crate::harness::{Incoming, Opcode, TestServer};

#[test]
fn ping_of_every_allowed_length_is_answered_with_its_payload() {
    let server = TestServer::start();
    let mut client = server.ws();
    let payloads: Vec<Vec<u8>> = (0..=125)
        .map(|length| (0..length).map(|n| (n ^ length) as u8 | 0x80).collect())
        .collect();
    let frames: Vec<_> = payloads
        .iter()
        .map(|payload| frame(Opcode::Ping, payload))
        .collect();
    client.send_bytes(&frames.concat());
    for payload in payloads {
        assert_eq!(client.receive("a pong"), Incoming::Pong(payload));
    }
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn control_frame_over_125_bytes_is_closed_with_1002() {
    let server = TestServer::start();
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        for length in [126, 127, 65536] {
            check(
                &server,
                (opcode, length),
                &[text(&ping("a")), frame(opcode, &vec![0xfe; length])],
                &[Reply("a"), Closed(1002)],
            );
        }
    }
}

#[test]
fn unsolicited_pongs_are_ignored() {
    let server = TestServer::start();
    let pong = |payload: &[u8]| frame(Opcode::Pong, payload);
    check(&server, "a pong", &[pong(b"")], &[]);
    check(&server, "a pong with bytes", &[pong(b"unasked")], &[]);
    check(
        &server,
        "a pong before a ping",
        &[pong(b"unasked"), frame(Opcode::Ping, b"asked")],
        &[Pong(b"asked".to_vec())],
    );
}

#[test]
fn ten_pings_are_answered_in_order() {
    let server = TestServer::start();
    let payloads: Vec<Vec<u8>> = (0..10u8).map(|n| vec![n, 0xff, n]).collect();
    let pings: Vec<_> = payloads.iter().map(|p| frame(Opcode::Ping, p)).collect();
    let pongs: Vec<Answer> = payloads.into_iter().map(Pong).collect();
    check(&server, "ten pings", &pings, &pongs);
}

#[test]
fn ping_between_fragments_is_answered_before_the_message() {
    let server = TestServer::start();
    let request = ping("a");
    let (head, tail) = request.as_bytes().split_at(7);
    check(
        &server,
        "a ping between",
        &[
            unfinished(Opcode::Text, head),
            frame(Opcode::Ping, b"between"),
            frame(Opcode::Pong, b"unasked"),
            frame(Opcode::Continuation, tail),
        ],
        &[Pong(b"between".to_vec()), Reply("a")],
    );
}
