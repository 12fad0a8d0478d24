//! The exact bytes: the head, the ack, events, payloads with line breaks, heartbeats.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    HttpClient, StreamClient, TestServer, epoch_of, publish_text, seq_of, uuid_of,
};

#[test]
fn the_stream_begins_with_its_head_a_reconnection_time_and_the_ack() {
    let server = TestServer::with_topic("orders");
    let mut stream = server.stream("orders", "");
    let head = &stream.head;
    for (name, value) in [
        ("Content-Type", "text/event-stream; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
    ] {
        assert_eq!(head.header(name), Some(value), "{head}");
    }
    assert_eq!(head.header("Content-Length"), None, "{head}");
    let retry = stream.next_block().unwrap();
    let millis = retry.retry.expect("a reconnection time");
    assert!((2000..=4000).contains(&millis), "{retry:?}");
    let ack = stream.next_block().unwrap();
    assert_eq!((ack.name.as_str(), seq_of(&ack.data)), ("ack", 0));
    let id = format!("{}:0", epoch_of(&ack.data));
    assert_eq!(ack.id, Some(id), "no event is replayed");
    assert_eq!(ack.data.get("request_id"), None);
}

#[test]
fn reconnection_times_differ() {
    let server = TestServer::with_topic("orders");
    let times = (0..8).map(|_| server.stream("orders", "").next_block().unwrap().retry);
    let times: std::collections::BTreeSet<_> = times.collect();
    assert!(times.len() > 1, "{times:?}");
}

#[test]
fn events_are_the_bytes_of_the_websocket_with_an_id() {
    let server = TestServer::with_topic("orders");
    let (mut stream, mut websocket) = (server.stream("orders", ""), server.ws());
    websocket.subscribe("orders", "ws");
    let ack = stream.next();
    for payload in ["{ \"a\":1.50 }", "null", "\"\\n\\u2028 \u{e4}\"", "[\t]"] {
        websocket.send_text(&publish_text("orders", payload, "p"));
        websocket.expect_ack("p");
        let event = stream.expect("event");
        assert!(event.text.contains(&format!("\"payload\":{payload}}}")));
        assert_eq!(event.text, websocket.next_text());
        let id = format!("{}:{}", epoch_of(&ack.data), seq_of(&event.data));
        assert_eq!(event.id, Some(id));
    }
}

#[test]
fn a_payload_with_line_breaks_arrives_as_the_same_json() {
    let server = TestServer::with_topic("orders");
    let (mut stream, mut publisher) = (server.stream("orders", ""), server.ws());
    stream.next();
    let large = format!("[\r\n{}1]", "1,\n".repeat(30_000));
    for payload in [
        "{\n  \"a\":\r\n [1,\r2]\n}",
        "[\n\n\n]",
        "\"one\\nline\"",
        &large,
    ] {
        publisher.send_text(&publish_text("orders", payload, "p"));
        publisher.expect_ack("p");
        let expected: Value = serde_json::from_str(payload).unwrap();
        let event = stream.expect("event");
        assert_eq!(event.data["message"]["payload"], expected);
        assert_eq!(event.data["message"]["id"], uuid_of(1));
    }
}

#[test]
fn large_events_arrive_whole_on_many_streams() {
    let server = TestServer::with_topic("orders");
    let mut streams: Vec<_> = (0..5).map(|_| server.stream("orders", "")).collect();
    streams.iter_mut().for_each(|stream| drop(stream.next()));
    let mut publisher = server.ws();
    publisher.publish_padded("orders", 1, 4, 200_000);
    publisher.publish("orders", &json!("small"));
    for stream in &mut streams {
        for (n, event) in (1_u64..).zip(stream.next_events(4)) {
            assert_eq!(event.data["message"]["payload"]["n"], n);
            assert_eq!(event.data["seq"], n);
        }
        let small = stream.expect("event");
        assert_eq!(small.data["message"]["payload"], "small");
    }
}

#[test]
fn http_1_0_gets_a_body_without_chunks() {
    let server = TestServer::with_topic("orders");
    let mut stream = StreamClient::open_http10(server.addr(), "/topics/orders/events");
    assert_eq!(stream.head.header("Transfer-Encoding"), None);
    assert_eq!(stream.head.header("Connection"), Some("close"));
    stream.expect("ack");
    server.ws().publish_many("orders", 1, 50);
    server.ws().publish_padded("orders", 51, 52, 100_000);
    let seqs = stream.next_events(52).into_iter();
    assert!(seqs.map(|event| seq_of(&event.data)).eq(1..=52));
    server.delete_topic("orders");
    stream.expect("info");
    stream.expect_end();
}

#[test]
fn head_has_the_same_headers_and_subscribes_to_nothing() {
    let server = TestServer::with_topic("orders");
    let mut http = HttpClient::connect(server.addr());
    let reply = http.request("HEAD", "/topics/orders/events", &[], "");
    assert_eq!(reply.status, 200, "{reply}");
    let expected = server.stream("orders", "").head;
    for name in [
        "Content-Type",
        "Cache-Control",
        "X-Accel-Buffering",
        "Transfer-Encoding",
    ] {
        assert_eq!(reply.header(name), expected.header(name), "{name}");
    }
    http.expect_end();
    server.await_subscribers("orders", 0);
    let mut http = HttpClient::connect(server.addr());
    assert_eq!(
        http.request("HEAD", "/topics/none/events", &[], "").status,
        404
    );
}

#[test]
fn heartbeats_are_comments_at_their_pace() {
    let server = TestServer::with(|config| config.heartbeat = Duration::from_millis(100));
    server.create_topic("orders");
    let mut stream = server.stream("orders", "");
    stream.expect("ack");
    for n in 1..=3 {
        for _ in 0..2 {
            let block = stream.next_block().unwrap();
            assert_eq!(block.comment.as_deref(), Some("heartbeat"), "{block:?}");
        }
        server.ws().publish("orders", &json!(n));
        assert_eq!(stream.expect("event").data["seq"], n);
    }
    assert_eq!(server.topic("orders")["subscribers"], 1);
}

#[test]
fn a_request_with_a_body_is_served() {
    let server = TestServer::with_topic("orders");
    let http = TcpStream::connect(server.addr()).unwrap();
    let head = "GET /%74opics/orders/events?last_n=0 HTTP/1.1\r\nHost: a\r\n";
    let request = format!("{head}Content-Length: 2\r\n\r\n{{}}");
    StreamClient::over(http, &request).expect("ack");
}
