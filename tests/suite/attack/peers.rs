//! Peers that leave early, reset, or send without reading: their connection ends, and no partial request takes effect.

use std::time::Duration;

use serde_json::json;

use crate::harness::{HttpClient, TestServer, eventually};

/// Waits until the asking connection is the only one.
fn await_alone(server: &TestServer) {
    eventually("only the asking connection is left", || {
        server.health()["connections"] == 1
    });
}

/// Incomplete requests.
const HALF: [&str; 7] = [
    "P",
    "POST /topics HTTP/1.1\r",
    "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n",
    "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n",
    "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"name\":\"orders\"}",
    "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"name\":\"orders\"}",
    "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"name\":\"orders\"}\r\n0\r\n",
];

#[test]
fn incomplete_request_is_not_executed() {
    let server = TestServer::start();
    for half in HALF {
        let mut http = server.http();
        http.send_raw(half.as_bytes());
        http.finish_sending();
        http.expect_end();
    }
    assert_eq!(server.health()["topics"], 0);
    await_alone(&server);
}

#[test]
fn connections_reset_during_a_request_leave_nothing_behind() {
    let server = TestServer::start();
    for half in HALF.repeat(5) {
        let mut http = server.http();
        http.send_raw(half.as_bytes());
        http.reset();
    }
    await_alone(&server);
    assert_eq!(server.health()["topics"], 0);
}

#[test]
fn connections_reset_before_their_response_leave_nothing_behind() {
    let server = TestServer::with_topic("orders");
    for _ in 0..50 {
        let mut http = server.http();
        http.send_raw(&b"GET /topics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20));
        http.reset();
    }
    await_alone(&server);
}

#[test]
fn half_closed_connection_still_gets_its_responses() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    http.send_raw(&b"GET /topics/orders HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    http.finish_sending();
    for _ in 0..3 {
        http.read_reply().expect(200);
    }
    http.expect_end();
}

/// The server stops reading from a client that does not read its responses, and closes the connection at the timeout.
#[test]
fn pipelining_client_that_never_reads_is_ended() {
    let server = TestServer::with(|config| {
        config.write_timeout = Duration::from_millis(500);
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let body = json!({"payload": "x".repeat(30 << 10)});
    server
        .http()
        .post("/topics/orders/messages", &body)
        .expect(201);
    let mut slow = HttpClient::with_small_buffer(server.addr());
    let requests = b"GET /topics/orders/messages HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let sent = slow.send_until_refused(&requests, Duration::from_secs(5));
    assert!(sent < 64 << 20, "the server read {sent} bytes");
    await_alone(&server);
}
