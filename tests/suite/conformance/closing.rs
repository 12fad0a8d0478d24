//! Closing (group 7): the code of the answer; nothing behind a close frame is executed or loses the answer.

use serde_json::json;

use super::{Closed, Reply, check, frame, ping, raw, text};
use crate::harness::{Frame, Incoming, Opcode, TestServer, publish_text, seq_of};

const CLOSE: u8 = 0x88;
const REASON: &[u8] = &[b'r'; 124];

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(Opcode::Close, &[&code.to_be_bytes()[..], reason].concat())
}

#[test]
fn valid_close_code_is_echoed() {
    let server = TestServer::start();
    let codes = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999,
    ];
    for code in codes {
        check(&server, code, &[close(code, b"")], &[Closed(code)]);
        check(
            &server,
            (code, "with a request before it"),
            &[text(&ping("a")), close(code, "grüße".as_bytes())],
            &[Reply("a"), Closed(code)],
        );
    }
    check(
        &server,
        "the longest reason",
        &[close(1000, &REASON[1..])],
        &[Closed(1000)],
    );
}

#[test]
fn invalid_close_code_is_answered_1002() {
    let server = TestServer::start();
    let codes = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ];
    for code in codes {
        check(&server, code, &[close(code, b"")], &[Closed(1002)]);
        check(&server, code, &[close(code, b"why")], &[Closed(1002)]);
    }
}

#[test]
fn malformed_close_is_answered_with_its_error_code() {
    let server = TestServer::start();
    check(
        &server,
        "no code",
        &[frame(Opcode::Close, b"")],
        &[Closed(1000)],
    );
    check(&server, "half a code", &[raw(CLOSE, &[3])], &[Closed(1002)]);
    check(
        &server,
        "a reason too long",
        &[close(1000, REASON)],
        &[Closed(1002)],
    );
    for invalid in [&b"\xff"[..], b"a\xed\xa0\x80", b"\xf0\x9f"] {
        check(&server, invalid, &[close(1000, invalid)], &[Closed(1007)]);
    }
}

#[test]
fn bytes_behind_a_close_are_ignored_and_do_not_lose_the_answer() {
    let server = TestServer::with_topic("t");
    let cases: [(&str, Vec<u8>); 5] = [
        ("a close", close(1001, b"again")),
        ("a ping", frame(Opcode::Ping, b"late")),
        ("a request", text(&publish_text("t", "1", "late"))),
        ("garbage", vec![0xff; 300]),
        ("a large message", text(&" ".repeat(16_000_000))),
    ];
    for (case, late) in cases {
        for apart in [false, true] {
            let mut client = server.ws();
            let first = close(1000, b"bye");
            if apart {
                client.send_bytes(&first);
                client.try_send_bytes(&late);
            } else {
                client.send_bytes(&[first, late.clone()].concat());
            }
            let received = client.receive(case);
            assert_eq!(received, Incoming::Close(Some(1000)), "{case}");
            client.expect_orderly_end();
        }
    }
    assert_eq!(server.topic("t")["seq"], 0);
}

#[test]
fn violation_is_answered_1002_behind_unread_events_and_before_unread_input() {
    let server = TestServer::with_topic("t");
    let mut client = server.small_buffer_ws();
    client.subscribe("t", "c");
    let publish = |n: u64| {
        text(&publish_text(
            "t",
            &json!("x".repeat(1000)).to_string(),
            &format!("p-{n}"),
        ))
    };
    let events = 60;
    let before: Vec<u8> = (1..=events).flat_map(publish).collect();
    let violation = Frame::with_first_byte(0x83, b"reserved").masked();
    let behind = text(&" ".repeat(500_000));
    client.send_bytes(&[before, violation, behind].concat());
    let mut acked = 0;
    loop {
        match client.receive("acks, events and a close frame") {
            Incoming::Close(code) => {
                assert_eq!(code, Some(1002));
                break;
            }
            Incoming::Text(message) => {
                let message: serde_json::Value = serde_json::from_str(&message).unwrap();
                if message["type"] == "ack" {
                    acked += 1;
                    assert_eq!(seq_of(&message), acked);
                }
            }
            other => panic!("got {other:?}"),
        }
    }
    assert_eq!(acked, events);
    client.expect_orderly_end();
    server.await_subscribers("t", 0);
}

#[test]
fn half_closed_websocket_still_gets_all_its_replies() {
    let server = TestServer::start();
    let ids: Vec<String> = (0..2000).map(|n| format!("{n:0>120}")).collect();
    let requests: Vec<String> = ids
        .iter()
        .map(|id| json!({"type": "ping", "request_id": id}).to_string())
        .collect();
    for _ in 0..5 {
        let mut client = server.ws();
        client.send_texts(&requests);
        client.finish_sending();
        for id in &ids {
            assert_eq!(client.next_json()["request_id"], id.as_str());
        }
        assert_eq!(client.close_code(), Some(1000));
        client.expect_orderly_end();
    }
}
