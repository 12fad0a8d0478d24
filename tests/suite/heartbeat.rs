//! Heartbeats: when a silent connection is pinged, kept, and closed.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Frame, Incoming, Opcode, TestServer, WsClient};

const HEARTBEAT: Duration = Duration::from_millis(200);

fn heartbeat_server(json: bool) -> TestServer {
    let server = TestServer::with(|config| {
        config.heartbeat = HEARTBEAT;
        config.heartbeat_json = json;
    });
    server.create_topic("orders");
    server
}

/// The payload of the next frame, which must be a ping.
fn next_ping(client: &mut WsClient) -> Vec<u8> {
    match client.receive("a ping") {
        Incoming::Ping(payload) => payload,
        other => panic!("expected a ping, got {other:?}"),
    }
}

#[test]
fn ping_frame_is_answered_with_its_payload() {
    let server = TestServer::start();
    let mut client = server.ws();
    for payload in [&b""[..], b"hello", &[7; 125]] {
        client.send_frame(&Frame::new(Opcode::Ping, payload));
        assert_eq!(client.receive("a pong"), Incoming::Pong(payload.to_vec()));
    }
}

#[test]
fn unsolicited_pong_is_ignored() {
    let server = TestServer::start();
    let mut client = server.ws();
    client.send_frame(&Frame::new(Opcode::Pong, b"unasked"));
    assert_eq!(client.fence().len(), 0);
}

#[test]
fn silent_connection_is_pinged_and_kept_while_it_answers() {
    let server = heartbeat_server(false);
    let mut client = server.ws();
    client.subscribe("orders", "c");
    for _ in 0..4 {
        let payload = next_ping(&mut client);
        client.send_frame(&Frame::new(Opcode::Pong, &payload));
    }
    server.ws().publish("orders", &json!(1));
    client.next_event();
}

#[test]
fn any_frame_counts_as_activity() {
    let server = heartbeat_server(false);
    let mut client = server.ws();
    for _ in 0..4 {
        next_ping(&mut client);
        assert_eq!(client.fence().len(), 0);
    }
}

#[test]
fn connection_that_answers_no_ping_is_closed_with_4102() {
    let server = heartbeat_server(false);
    let mut client = server.ws();
    let start = Instant::now();
    client.subscribe("orders", "c");
    next_ping(&mut client);
    assert_eq!(client.receive("a close frame"), Incoming::Close(Some(4102)));
    assert!(start.elapsed() >= 2 * HEARTBEAT - Duration::from_millis(20));
    client.expect_end();
    server.await_subscribers("orders", 0);
}

#[test]
fn receiving_events_does_not_count_as_activity() {
    let server = heartbeat_server(false);
    let (mut client, mut publisher) = (server.ws(), server.ws());
    client.subscribe("orders", "c");
    loop {
        publisher.publish("orders", &json!(1));
        match client.receive("an event, a ping or a close frame") {
            Incoming::Close(code) => return assert_eq!(code, Some(4102)),
            Incoming::End => panic!("the stream ended without a close frame"),
            _ => continue,
        }
    }
}

#[test]
fn partial_message_does_not_keep_a_connection_open() {
    let server = heartbeat_server(false);
    let mut client = server.ws();
    let whole = Frame::text(r#"{"type":"ping"}"#).masked();
    client.send_bytes(&whole[..4]);
    assert_eq!(client.close_code(), Some(4102));
}

#[test]
fn json_ping_accompanies_each_ping_when_enabled() {
    let server = heartbeat_server(true);
    let mut client = server.ws();
    let mut pings = 0;
    let mut notices = 0;
    while pings < 2 || notices < 2 {
        match client.receive("a ping and a JSON ping") {
            Incoming::Ping(payload) => {
                pings += 1;
                client.send_frame(&Frame::new(Opcode::Pong, &payload));
            }
            Incoming::Text(text) => {
                notices += 1;
                assert!(
                    text.contains(r#""type":"info""#) && text.contains(r#""msg":"ping""#),
                    "{text}"
                );
            }
            other => panic!("expected a ping, got {other:?}"),
        }
    }
}

#[test]
fn json_ping_is_off_by_default() {
    let server = heartbeat_server(false);
    let mut client = server.ws();
    let payload = next_ping(&mut client);
    client.send_frame(&Frame::new(Opcode::Pong, &payload));
    assert_eq!(client.fence().len(), 0);
}
