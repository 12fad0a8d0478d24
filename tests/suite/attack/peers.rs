//! Peers that leave early, reset, or send without reading: their connection ends, and nothing half done stays.

use std::time::Duration;

use serde_json::json;

use crate::harness::{HttpClient, TestServer, eventually};

/// Waits until only the connection that asks is left.
fn await_alone(server: &TestServer) {
    eventually("the other connections are gone", || {
        server.health()["connections"] == 1
    });
}

/// Requests whose sender stops in the middle.
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
fn a_request_that_is_shorter_than_announced_is_not_carried_out() {
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
fn connections_reset_in_the_middle_of_a_request_leave_nothing() {
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
fn connections_reset_before_their_answer_leave_nothing() {
    let server = TestServer::with_topic("orders");
    for _ in 0..50 {
        let mut http = server.http();
        http.send_raw(&b"GET /topics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20));
        http.reset();
    }
    await_alone(&server);
}

#[test]
fn a_client_that_has_sent_all_it_will_still_gets_its_answers() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    http.send_raw(&b"GET /topics/orders HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3));
    http.finish_sending();
    for _ in 0..3 {
        http.read_reply().expect(200);
    }
    http.expect_end();
}

/// The server stops reading where its answers are not taken, and gives up in time.
#[test]
fn requests_pipelined_without_reading_are_not_taken_without_end() {
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
    let mut greedy = HttpClient::narrow(server.addr());
    let requests = b"GET /topics/orders/messages HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let sent = greedy.send_until_refused(&requests, Duration::from_secs(5));
    assert!(sent < 64 << 20, "{sent} bytes of requests were taken");
    await_alone(&server);
}
