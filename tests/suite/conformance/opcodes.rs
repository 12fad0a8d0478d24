//! Reserved bits and opcodes (groups 3 and 4): refused in every frame, and nothing behind them is executed.

use super::{Closed, Pong, Reply, check, frame, ping, raw, text, unfinished};
use crate::harness::{Opcode, TestServer};

const FIN: u8 = 0x80;

#[test]
fn every_reserved_bit_is_refused_on_every_frame() {
    let server = TestServer::start();
    for bits in 1..8u8 {
        for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
            let reserved = raw(FIN | bits << 4 | opcode as u8, &1000u16.to_be_bytes());
            check(
                &server,
                (bits, opcode),
                &[text(&ping("a")), reserved, text(&ping("b"))],
                &[Reply("a"), Closed(1002)],
            );
        }
    }
}

#[test]
fn reserved_bit_on_a_continuation_is_refused() {
    let server = TestServer::start();
    check(
        &server,
        "a bit on a continuation",
        &[
            unfinished(Opcode::Text, b"{"),
            frame(Opcode::Ping, b"p"),
            raw(FIN | 0x40, b"}"),
        ],
        &[Pong(b"p".to_vec()), Closed(1002)],
    );
}

#[test]
fn every_reserved_opcode_is_refused() {
    let server = TestServer::start();
    for opcode in (3..8u8).chain(11..16) {
        for payload in [&b""[..], b"reserved"] {
            check(
                &server,
                (opcode, payload.len()),
                &[
                    text(&ping("a")),
                    raw(FIN | opcode, payload),
                    frame(Opcode::Ping, b"never answered"),
                ],
                &[Reply("a"), Closed(1002)],
            );
        }
    }
}
