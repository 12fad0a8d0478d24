//! The attacks.

use std::time::Duration;

use super::endure;
use crate::harness::{Frame, Incoming, Opcode, WsClient, publish_text};

/// Between two bytes of one who drips.
const DRIP: Duration = Duration::from_millis(20);
const MEGABYTE: u64 = 1 << 20;

/// Sends the same again and again until the server takes no more, `times` at most; reads nothing.
fn pour(client: &mut WsClient, bytes: &[u8], times: usize) -> bool {
    (0..times).all(|_| client.try_send_bytes(bytes))
}

/// Sends the same again and again, slowly, until the server closes; returns the code.
fn drip(client: &mut WsClient, bytes: &[u8]) -> Option<u16> {
    loop {
        client.try_send_bytes(bytes);
        match client.receive_within(DRIP) {
            Some(Incoming::Close(code)) => return code,
            Some(Incoming::End) => panic!("the stream ended without a close frame"),
            _ => {}
        }
    }
}

#[test]
fn pings_whose_pongs_are_not_read_stop_their_sender_and_end_it() {
    endure(
        |mut client| {
            let thousand = Frame::new(Opcode::Ping, &[7; 125]).masked().repeat(1000);
            let all = pour(&mut client, &thousand, 100);
            assert!(!all, "100,000 pings were taken, and no pong was");
        },
        0,
    );
}

#[test]
fn requests_whose_replies_are_not_read_stop_their_sender_and_end_it() {
    endure(
        |mut client| {
            let publish = publish_text("flood", "1", "p");
            let thousand = Frame::text(&publish).masked().repeat(1000);
            let all = pour(&mut client, &thousand, 200);
            assert!(!all, "200,000 publishes were taken, and no ack was");
        },
        0,
    );
}

#[test]
fn empty_fragments_without_end_are_closed_with_1008() {
    endure(|client| pour_fragments(client, b""), 0);
}

#[test]
fn fragments_of_one_byte_without_end_are_closed_with_1008() {
    endure(|client| pour_fragments(client, b" "), 0);
}

fn pour_fragments(mut client: WsClient, payload: &[u8]) {
    client.send_frame(&Frame::unfinished(Opcode::Text, payload));
    let fragment = Frame::unfinished(Opcode::Continuation, payload).masked();
    // Well over what is allowed, and little enough to be read over while the close frame is on its way.
    pour(&mut client, &fragment.repeat(1000), 5);
    assert_eq!(client.close_code(), Some(1008));
    client.expect_orderly_end();
}

#[test]
fn a_message_that_never_ends_is_closed_with_1008_whatever_else_is_sent() {
    endure(
        |mut client| {
            let most = vec![b' '; 900_000];
            client.send_frame(&Frame::unfinished(Opcode::Text, &most));
            // Control frames are signs of life, and no end of a message.
            let mut bytes = Frame::new(Opcode::Pong, b"").masked();
            bytes.extend(Frame::unfinished(Opcode::Continuation, b" ").masked());
            assert_eq!(drip(&mut client, &bytes), Some(1008));
            client.expect_orderly_end();
        },
        // Twice: as received, and as collected.
        2 * MEGABYTE,
    );
}

#[test]
fn a_frame_that_drips_in_is_closed_with_1008() {
    endure(
        |mut client| {
            client.send_bytes(&Frame::announcing(0x81, MEGABYTE));
            assert_eq!(drip(&mut client, b" "), Some(1008));
            client.expect_orderly_end();
        },
        0,
    );
}

#[test]
fn a_header_that_never_comes_whole_is_closed_with_1008() {
    endure(
        |mut client| {
            client.send_bytes(&[0x81]);
            match client.receive("a close frame") {
                Incoming::Close(code) => assert_eq!(code, Some(1008)),
                other => panic!("awaited a close frame, got {other:?}"),
            }
            client.expect_orderly_end();
        },
        0,
    );
}

#[test]
fn a_storm_of_close_frames_is_answered_once() {
    endure(
        |mut client| {
            pour(&mut client, &Frame::close(1000).masked().repeat(1000), 20);
            assert_eq!(client.receive("a close frame"), Incoming::Close(Some(1000)));
            client.expect_orderly_end();
        },
        0,
    );
}

#[test]
fn control_frames_without_end_are_closed_with_1008() {
    endure(
        |mut client| {
            let burst = Frame::new(Opcode::Pong, &[7; 125]).masked().repeat(10);
            assert_eq!(drip(&mut client, &burst), Some(1008));
            client.expect_orderly_end();
        },
        0,
    );
}
