//! The attacks, each on [`ATTACKERS`](super::ATTACKERS) connections.

use std::time::Duration;

use super::run_attack;
use crate::harness::{Frame, Incoming, Opcode, WsClient, publish_text};

/// Time between two bytes that are sent slowly.
const SLOW_INTERVAL: Duration = Duration::from_millis(20);
const MEGABYTE: u64 = 1 << 20;

/// Sends `bytes` up to `times` times without reading; `false` if the server stopped reading.
fn flood(client: &mut WsClient, bytes: &[u8], times: usize) -> bool {
    (0..times).all(|_| client.try_send_bytes(bytes))
}

/// Sends `bytes` repeatedly and slowly until the server closes; returns the close code.
fn send_slowly(client: &mut WsClient, bytes: &[u8]) -> Option<u16> {
    loop {
        client.try_send_bytes(bytes);
        match client.receive_within(SLOW_INTERVAL) {
            Some(Incoming::Close(code)) => return code,
            Some(Incoming::End) => panic!("the stream ended without a close frame"),
            _ => {}
        }
    }
}

#[test]
fn client_that_pings_without_reading_is_stalled_and_ended() {
    run_attack(
        |mut client| {
            let thousand = Frame::new(Opcode::Ping, &[7; 125]).masked().repeat(1000);
            let all = flood(&mut client, &thousand, 100);
            assert!(
                !all,
                "the server read 100,000 pings whose pongs were not read"
            );
        },
        0,
    );
}

#[test]
fn client_that_requests_without_reading_is_stalled_and_ended() {
    run_attack(
        |mut client| {
            let publish = publish_text("flood", "1", "p");
            let thousand = Frame::text(&publish).masked().repeat(1000);
            let all = flood(&mut client, &thousand, 200);
            assert!(
                !all,
                "the server read 200,000 publishes whose acks were not read"
            );
        },
        0,
    );
}

#[test]
fn endless_empty_fragments_are_closed_with_1008() {
    run_attack(|client| flood_fragments(client, b""), 0);
}

#[test]
fn endless_one_byte_fragments_are_closed_with_1008() {
    run_attack(|client| flood_fragments(client, b" "), 0);
}

fn flood_fragments(mut client: WsClient, payload: &[u8]) {
    client.send_frame(&Frame::unfinished(Opcode::Text, payload));
    let fragment = Frame::unfinished(Opcode::Continuation, payload).masked();
    // More fragments than allowed, but few enough to be discarded while the close frame is sent.
    flood(&mut client, &fragment.repeat(1000), 5);
    assert_eq!(client.close_code(), Some(1008));
    client.expect_orderly_end();
}

#[test]
fn endless_message_is_closed_with_1008_despite_control_frames() {
    run_attack(
        |mut client| {
            let most = vec![b' '; 900_000];
            client.send_frame(&Frame::unfinished(Opcode::Text, &most));
            // Control frames show that the peer is alive, but do not complete the message.
            let mut bytes = Frame::new(Opcode::Pong, b"").masked();
            bytes.extend(Frame::unfinished(Opcode::Continuation, b" ").masked());
            assert_eq!(send_slowly(&mut client, &bytes), Some(1008));
            client.expect_orderly_end();
        },
        // The message is in memory twice: as received and as assembled.
        2 * MEGABYTE,
    );
}

#[test]
fn frame_sent_slowly_is_closed_with_1008() {
    run_attack(
        |mut client| {
            client.send_bytes(&Frame::announcing(0x81, MEGABYTE));
            assert_eq!(send_slowly(&mut client, b" "), Some(1008));
            client.expect_orderly_end();
        },
        0,
    );
}

#[test]
fn incomplete_frame_header_is_closed_with_1008() {
    run_attack(
        |mut client| {
            client.send_bytes(&[0x81]);
            match client.receive("a close frame") {
                Incoming::Close(code) => assert_eq!(code, Some(1008)),
                other => panic!("expected a close frame, got {other:?}"),
            }
            client.expect_orderly_end();
        },
        0,
    );
}

#[test]
fn many_close_frames_are_answered_once() {
    run_attack(
        |mut client| {
            flood(&mut client, &Frame::close(1000).masked().repeat(1000), 20);
            assert_eq!(client.receive("a close frame"), Incoming::Close(Some(1000)));
            client.expect_orderly_end();
        },
        0,
    );
}

#[test]
fn endless_control_frames_are_closed_with_1008() {
    run_attack(
        |mut client| {
            let burst = Frame::new(Opcode::Pong, &[7; 125]).masked().repeat(10);
            assert_eq!(send_slowly(&mut client, &burst), Some(1008));
            client.expect_orderly_end();
        },
        0,
    );
}
