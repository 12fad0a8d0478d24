//! Framing (groups 1 and 12/13): every encoding of the length, in one piece and byte by byte; masks; extensions.

use std::iter::repeat_n;
use std::time::Duration;

use serde_json::json;

use super::{Closed, Refused, Reply, assert_arrives, check, frame, ping, raw, text, unfinished};
use crate::harness::{Dial, Frame, Opcode, TestServer, publish_text};

const LENGTHS: [usize; 7] = [0, 125, 126, 127, 128, 65535, 65536];
/// Piece length for the longest messages: a prime, so that pieces end at many different offsets.
const PIECE_BYTES: usize = 997;

/// Nothing but the first two bytes of the header is sent, and the time for a message is long.
#[test]
fn frame_whose_first_two_bytes_are_wrong_is_closed_with_1002_at_once() {
    let server = TestServer::with(|config| config.request_timeout = Duration::from_secs(3600));
    for (first, second) in [
        (0xc1, 0x80), // a reserved bit
        (0xa2, 0xff),
        (0x99, 0x80),
        (0x83, 0x80), // a reserved opcode
        (0x8b, 0xfe),
        (0x81, 0x00), // unmasked
        (0x82, 0x7f),
        (0x88, 0x02),
        (0x09, 0x80), // a fragmented control frame
        (0x8a, 0xfe), // a control frame that is too long
        (0x88, 0xff),
        (0x80, 0x80), // a continuation of nothing
    ] {
        for split in [false, true] {
            let mut client = server.ws();
            client.send(&json!({"type": "ping", "request_id": "a"}));
            if split {
                client.send_bytes(&[first]);
                client.expect_reply("a");
                client.send_bytes(&[second]);
            } else {
                client.send_bytes(&[first, second]);
                client.expect_reply("a");
            }
            assert_eq!(client.close_code(), Some(1002), "{first:02x} {second:02x}");
        }
    }
    let mut client = server.ws();
    client.send_bytes(&unfinished(Opcode::Text, b"{"));
    client.send_bytes(&[0x81, 0x80]);
    assert_eq!(
        client.close_code(),
        Some(1002),
        "another message within one"
    );
}

#[test]
fn text_with_every_length_encoding_arrives_intact() {
    let server = TestServer::with_topic("t");
    check(&server, "an empty text", &[text("")], &[Refused]);
    for length in [125, 126, 127, 128] {
        let name = "x".repeat(length - ping("").len());
        let name: &'static str = name.leak();
        assert_eq!(ping(name).len(), length);
        check(&server, length, &[text(&ping(name))], &[Reply(name)]);
    }
    let mut client = server.ws();
    client.subscribe("t", "c");
    let envelope = publish_text("t", "\"\"", "p").len();
    for length in [65535, 65536] {
        // Neighbouring digits differ, so that swapped bytes show.
        let digits: String = (0..length - envelope)
            .map(|n| char::from(b'0' + (n * 7 % 10) as u8))
            .collect();
        let payload = format!("\"{digits}\"");
        for piece_bytes in [usize::MAX, PIECE_BYTES] {
            assert_arrives(&mut client, &payload, |client, request| {
                assert_eq!(request.len(), length);
                for piece in text(request).chunks(piece_bytes) {
                    client.send_bytes(piece);
                }
            });
        }
    }
}

#[test]
fn binary_message_of_every_length_is_refused_and_keeps_the_connection() {
    let server = TestServer::start();
    let mut client = server.ws();
    for length in LENGTHS {
        let bytes = frame(Opcode::Binary, &vec![0xfe; length]);
        for piece_bytes in [bytes.len(), PIECE_BYTES] {
            for piece in bytes.chunks(piece_bytes) {
                client.send_bytes(piece);
            }
            let error = client.next_json();
            assert_eq!(error["error"]["code"], "BAD_REQUEST", "{length}: {error}");
        }
    }
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn non_minimal_length_is_accepted() {
    let server = TestServer::start();
    let request = ping("a");
    let payload = text(&request).split_off(6);
    let long_form = [Frame::announcing(0x81, request.len() as u64), payload].concat();
    check(
        &server,
        "a long form",
        &[long_form, text(&ping("b"))],
        &[Reply("a"), Reply("b")],
    );
}

#[test]
fn unmasked_frames_are_closed_with_1002_and_any_mask_is_accepted() {
    let server = TestServer::start();
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
        let bare = Frame::new(opcode, b"").unmasked();
        check(
            &server,
            ("unmasked", opcode),
            &[text(&ping("a")), bare, text(&ping("b"))],
            &[Reply("a"), Closed(1002)],
        );
    }
    let request = ping("a").into_bytes();
    let mut zero_mask = vec![0x81, 0x80 | request.len() as u8];
    zero_mask.extend(repeat_n(0, 4));
    zero_mask.extend(request);
    check(&server, "a mask of zeros", &[zero_mask], &[Reply("a")]);
}

#[test]
fn extensions_are_declined_and_compressed_frames_refused() {
    let server = TestServer::start();
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
        "permessage-bzip2, permessage-deflate; client_max_window_bits",
        "x-webkit-deflate-frame",
        "no such thing;;;",
    ] {
        let offer = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let mut http = server.http();
        let request = Dial::request_fields(server.addr()) + &offer + &offer + "\r\n";
        http.send_raw(request.as_bytes());
        let reply = http.read_reply();
        assert_eq!(reply.status, 101, "{offer}");
        assert_eq!(reply.header("Sec-WebSocket-Extensions"), None, "{offer}");
    }
    // "Hello" as permessage-deflate would send it (RFC 7692, section 7.2.3.1).
    let compressed = raw(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    check(
        &server,
        "a compressed frame",
        &[compressed],
        &[Closed(1002)],
    );
}

#[test]
fn missing_repeated_or_other_version_is_answered_426_with_the_supported_one() {
    let server = TestServer::start();
    let version = "Sec-WebSocket-Version: 13\r\n";
    for instead in [
        String::new(),
        version.repeat(2),
        version.replace("13", "13, 8"),
        version.replace("13", "0"),
        version.replace("13", "-13"),
    ] {
        let mut http = server.http();
        let request = Dial::request_fields(server.addr()).replace(version, &instead) + "\r\n";
        http.send_raw(request.as_bytes());
        let reply = http.read_reply();
        reply.expect_problem(426, "UPGRADE_REQUIRED");
        assert_eq!(
            reply.header("Sec-WebSocket-Version"),
            Some("13"),
            "{instead}"
        );
    }
}
