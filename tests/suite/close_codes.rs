//! Close codes: each violation has its own, in a close frame that the client can read.

use std::time::{Duration, Instant};

use crate::harness::{Frame, Incoming, Opcode, TestServer, WsClient, eventually, publish_text};

/// Sends `bytes` on a new connection and returns the server's close code.
fn closed_with(server: &TestServer, bytes: &[u8]) -> Option<u16> {
    let mut client = server.ws();
    client.send_bytes(bytes);
    let code = client.close_code();
    client.expect_end();
    code
}

fn masked(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    Frame::with_first_byte(first_byte, payload).masked()
}

#[test]
fn normal_close_is_answered_with_1000() {
    let server = TestServer::start();
    server.ws().close();
}

#[test]
fn application_close_code_is_echoed_and_the_stream_ends() {
    let server = TestServer::start();
    assert_eq!(
        closed_with(&server, &Frame::close(3000).masked()),
        Some(3000)
    );
    assert_eq!(
        closed_with(&server, &Frame::close(1001).masked()),
        Some(1001)
    );
}

#[test]
fn close_without_a_code_is_answered() {
    let server = TestServer::start();
    let code = closed_with(&server, &Frame::new(Opcode::Close, b"").masked());
    assert!(matches!(code, None | Some(1000)), "{code:?}");
}

#[test]
fn requests_before_a_close_are_answered_before_it() {
    let server = TestServer::start();
    let mut client = server.ws();
    let mut bytes = Frame::text(r#"{"type":"ping"}"#).masked().repeat(3);
    bytes.extend(Frame::close(1000).masked());
    client.send_bytes(&bytes);
    for _ in 0..3 {
        assert_eq!(client.next_json()["type"], "pong");
    }
    assert_eq!(client.receive("a close frame"), Incoming::Close(Some(1000)));
}

#[test]
fn protocol_errors_are_closed_with_1002() {
    let server = TestServer::start();
    for (violation, bytes) in [
        (
            "an unmasked frame",
            Frame::text(r#"{"type":"ping"}"#).unmasked(),
        ),
        ("a reserved bit", masked(0xc1, b"{}")),
        ("a reserved data opcode", masked(0x83, b"{}")),
        ("a reserved control opcode", masked(0x8b, b"")),
        ("a fragmented control frame", masked(0x09, b"")),
        ("a long control frame", masked(0x89, &[0; 126])),
        ("a continuation of nothing", masked(0x80, b"{}")),
        ("a close of one byte", masked(0x88, b"x")),
        (
            "a close with a code nobody may send",
            Frame::close(1005).masked(),
        ),
        (
            "a new message inside another",
            [masked(0x01, b"{"), masked(0x81, b"{}")].concat(),
        ),
    ] {
        assert_eq!(closed_with(&server, &bytes), Some(1002), "{violation}");
    }
}

#[test]
fn invalid_utf8_is_closed_with_1007() {
    let server = TestServer::start();
    for bytes in [
        &[0xff][..],
        &[0xc3, 0x28],
        &[0xed, 0xa0, 0x80],
        &[0xf0, 0x9f],
    ] {
        assert_eq!(
            closed_with(&server, &masked(0x81, bytes)),
            Some(1007),
            "{bytes:?}"
        );
    }
    let fragments = [masked(0x01, &[0xc3]), masked(0x80, &[0x28])].concat();
    assert_eq!(closed_with(&server, &fragments), Some(1007));
}

#[test]
fn message_of_1024_fragments_is_accepted_and_of_more_closed_with_1008() {
    let server = TestServer::start();
    let mut client = server.ws();
    client.send_bytes(&ping_in_fragments(1024));
    assert_eq!(client.next_json()["type"], "pong");
    client.send_bytes(&ping_in_fragments(1025));
    assert_eq!(client.close_code(), Some(1008));
}

/// A `ping` request in exactly `count` fragments, most of them a space.
fn ping_in_fragments(count: usize) -> Vec<u8> {
    let mut bytes = Frame::unfinished(Opcode::Text, br#"{"type":"ping""#).masked();
    let space = Frame::unfinished(Opcode::Continuation, b" ").masked();
    bytes.extend(space.repeat(count - 2));
    bytes.extend(Frame::new(Opcode::Continuation, b"}").masked());
    bytes
}

#[test]
fn short_burst_of_control_frames_is_accepted() {
    let server = TestServer::start();
    let mut client = server.ws();
    client.send_bytes(&Frame::new(Opcode::Ping, b"x").masked().repeat(300));
    for _ in 0..300 {
        assert_eq!(client.receive("a pong"), Incoming::Pong(b"x".to_vec()));
    }
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn endless_control_frames_are_closed_with_1008() {
    let server = TestServer::start();
    let mut client = server.ws();
    let start = Instant::now();
    let burst = Frame::new(Opcode::Pong, b"").masked().repeat(20);
    let mut code = None;
    eventually("over 100 control frames a second are closed", || {
        client.try_send_bytes(&burst);
        if let Some(Incoming::Close(closed_with)) = client.receive_within(Duration::from_millis(20))
        {
            code = closed_with;
        }
        code.is_some()
    });
    assert_eq!(code, Some(1008));
    assert!(
        start.elapsed() >= Duration::from_secs(4),
        "closed too early"
    );
}

#[test]
fn violation_with_unread_input_still_delivers_the_close_frame() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    let mut client = server.ws();
    let large = Frame::text(&"x".repeat(200_000)).masked();
    client.try_send_bytes(&large);
    assert_eq!(client.close_code(), Some(1009));
    client.expect_end();
}

#[test]
fn violation_ends_only_the_subscriptions_of_its_own_connection() {
    let server = TestServer::with_topic("orders");
    let (mut bad, mut good) = (subscribed(&server, "bad"), subscribed(&server, "good"));
    bad.send_bytes(&masked(0xff, b"bad"));
    assert_eq!(bad.close_code(), Some(1002));
    server.await_subscribers("orders", 1);
    good.send_text(&publish_text("orders", "1", "p"));
    good.expect_ack("p");
    good.next_event();
}

fn subscribed(server: &TestServer, client_id: &str) -> WsClient {
    let mut client = server.ws();
    client.subscribe("orders", client_id);
    client
}
