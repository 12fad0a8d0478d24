//! UTF-8 (group 6): valid text arrives byte for byte however it is split; invalid text is closed with 1007, at the end of
//! its message at the latest, and as soon as a fragment is known to be invalid.

use super::{Closed, Pong, Reply, assert_arrives, check, frame, ping, text, unfinished};
use crate::harness::{Opcode, TestServer};

/// The first and last code points of one, two, three and four bytes, and the neighbours of the surrogates.
const VALID: [&str; 10] = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\u{7f}\u{80}\u{7ff}\u{800}",
    "\u{d7ff}\u{e000}\u{fffd}",
    "\u{fffe}\u{ffff}",
    "\u{10000}\u{1f600}\u{3ffff}",
    "\u{10fffe}\u{10ffff}",
    "\u{feff}with a byte order mark",
    "e\u{301}\u{200d}\u{2028}\u{2029}",
    "日本語テキスト",
];

const INVALID: [(&str, &[u8]); 24] = [
    ("a lone continuation", &[0x80]),
    ("the last lone continuation", &[0xbf]),
    ("two lone continuations", &[0x80, 0xbf]),
    ("a two-byte start alone", &[0xc3]),
    ("a three-byte start alone", &[0xe2, 0x82]),
    ("a four-byte start alone", &[0xf0, 0x9f, 0x98]),
    ("a start in place of a continuation", &[0xc3, 0xc3]),
    ("ASCII in place of a continuation", &[0xe2, 0x28, 0xa1]),
    ("ASCII in the last place", &[0xf0, 0x9f, 0x98, 0x28]),
    ("an overlong slash of two", &[0xc0, 0xaf]),
    ("an overlong slash of three", &[0xe0, 0x80, 0xaf]),
    ("an overlong slash of four", &[0xf0, 0x80, 0x80, 0xaf]),
    ("an overlong nul", &[0xc0, 0x80]),
    ("the longest overlong of two", &[0xc1, 0xbf]),
    ("the longest overlong of three", &[0xe0, 0x9f, 0xbf]),
    ("the longest overlong of four", &[0xf0, 0x8f, 0xbf, 0xbf]),
    ("the first surrogate", &[0xed, 0xa0, 0x80]),
    ("the last surrogate", &[0xed, 0xbf, 0xbf]),
    (
        "a pair of surrogates",
        &[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80],
    ),
    ("above U+10FFFF", &[0xf4, 0x90, 0x80, 0x80]),
    ("a five-byte start", &[0xf8, 0x88, 0x80, 0x80, 0x80]),
    ("a six-byte start", &[0xfc, 0x84, 0x80, 0x80, 0x80, 0x80]),
    ("0xfe", &[0xfe]),
    ("0xff", &[0xff]),
];

#[test]
fn valid_text_split_within_code_points_arrives_byte_for_byte() {
    let server = TestServer::with_topic("t");
    let mut client = server.ws();
    client.subscribe("t", "c");
    for valid in VALID {
        let payload = format!("\"{valid}\"");
        assert_arrives(&mut client, &payload, |client, request| {
            client.send_bytes(&text(request));
        });
        assert_arrives(&mut client, &payload, |client, request| {
            let (first, rest) = request.as_bytes().split_at(1);
            let mut bytes = unfinished(Opcode::Text, first);
            for byte in rest {
                bytes.extend(unfinished(Opcode::Continuation, &[*byte]));
            }
            bytes.extend(frame(Opcode::Continuation, b""));
            client.send_bytes(&bytes);
        });
    }
}

#[test]
fn invalid_text_is_closed_with_1007_at_any_position() {
    let server = TestServer::start();
    for (case, invalid) in INVALID {
        for (before, after) in [("", ""), ("", "}"), (r#"{"type":"κό"#, ""), ("{\"µ", "\"}")] {
            let bytes = [before.as_bytes(), invalid, after.as_bytes()].concat();
            check(
                &server,
                (case, before, after),
                &[
                    text(&ping("a")),
                    frame(Opcode::Text, &bytes),
                    text(&ping("b")),
                ],
                &[Reply("a"), Closed(1007)],
            );
        }
    }
}

#[test]
fn invalid_text_in_fragments_is_closed_with_1007() {
    let server = TestServer::start();
    for (case, invalid) in INVALID {
        let mut frames = vec![unfinished(Opcode::Text, b"{\"a")];
        frames.extend(
            invalid
                .iter()
                .map(|byte| unfinished(Opcode::Continuation, &[*byte])),
        );
        frames.push(frame(Opcode::Continuation, b"\"}"));
        check(&server, case, &frames, &[Closed(1007)]);
    }
}

#[test]
fn invalid_fragment_is_closed_with_1007_before_the_message_ends() {
    let server = TestServer::start();
    check(
        &server,
        "an invalid fragment and no end",
        &[
            unfinished(Opcode::Text, "κόσμε".as_bytes()),
            frame(Opcode::Ping, b"p"),
            unfinished(Opcode::Continuation, &[0xf4, 0x90]),
            unfinished(Opcode::Continuation, &[0x80]),
        ],
        &[Pong(b"p".to_vec()), Closed(1007)],
    );
}

#[test]
fn binary_messages_and_pings_need_not_be_utf8() {
    let server = TestServer::start();
    let invalid = vec![0xff, 0xfe, 0x80];
    check(
        &server,
        "no text",
        &[
            frame(Opcode::Binary, &invalid),
            frame(Opcode::Ping, &invalid),
        ],
        &[super::Refused, Pong(invalid.clone())],
    );
}
