//! Framing (groups 1 and 12/13): every form of length, in one piece and in octets; masks; extensions.

use std::iter::repeat_n;

use super::{Closed, Refused, Reply, assert_arrives, check, frame, ping, raw, text};
use crate::harness::{Dial, Frame, Opcode, TestServer, publish_text};

const LENGTHS: [usize; 7] = [0, 125, 126, 127, 128, 65535, 65536];
/// Of the longest messages: a prime, so that the pieces fall everywhere.
const CHOP: usize = 997;

#[test]
fn a_text_of_every_form_of_length_arrives_intact() {
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
        // No two neighbours alike, so that nothing can be swapped unseen.
        let digits: String = (0..length - envelope)
            .map(|n| char::from(b'0' + (n * 7 % 10) as u8))
            .collect();
        let payload = format!("\"{digits}\"");
        for chop in [usize::MAX, CHOP] {
            assert_arrives(&mut client, &payload, |client, request| {
                assert_eq!(request.len(), length);
                for piece in text(request).chunks(chop) {
                    client.send_bytes(piece);
                }
            });
        }
    }
}

#[test]
fn a_binary_message_of_every_length_is_refused_and_the_connection_stays() {
    let server = TestServer::start();
    let mut client = server.ws();
    for length in LENGTHS {
        let bytes = frame(Opcode::Binary, &vec![0xfe; length]);
        for chop in [bytes.len(), CHOP] {
            for piece in bytes.chunks(chop) {
                client.send_bytes(piece);
            }
            let error = client.next_json();
            assert_eq!(error["error"]["code"], "BAD_REQUEST", "{length}: {error}");
        }
    }
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn a_length_written_longer_than_needed_is_read_as_it_is() {
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
fn only_masked_frames_are_taken_whatever_the_mask() {
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
fn offered_extensions_are_declined_and_compressed_frames_refused() {
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
fn a_version_that_is_missing_or_stands_twice_is_answered_426_with_ours() {
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
