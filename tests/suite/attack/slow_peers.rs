//! Peers that send or read one byte now and then: a request has an absolute deadline and a response needs a minimum
//! read rate, so each of these connections ends.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{DEADLINE, Frame, HttpClient, Incoming, TestServer, eventually};

const TIMEOUT: Duration = Duration::from_millis(600);

fn impatient_server() -> TestServer {
    TestServer::with(|config| {
        config.request_timeout = TIMEOUT;
        config.write_timeout = TIMEOUT;
        config.send_buffer_bytes = 4 << 10;
    })
}

/// Repeats `step` until it returns `true`, and asserts that this is not before the deadline of a request begun at `start`.
fn send_past_the_deadline(start: Instant, what: &str, step: impl FnMut() -> bool) {
    eventually(what, step);
    assert!(start.elapsed() >= TIMEOUT, "{what} before the deadline");
}

#[test]
fn request_sent_byte_by_byte_is_408() {
    let server = impatient_server();
    for (beginning, piece) in [
        ("", "G"),
        ("GET /", "x"),
        ("GET /health HTTP/1.1\r\nHost: x\r\nX: ", "y"),
        ("GET /health HTTP/1.1\r\nHost: x\r\n", "X: y\r\n"),
        (
            "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
            " ",
        ),
        (
            "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            "",
        ),
        (
            "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\n \r\n",
        ),
        (
            "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            "x",
        ),
        (
            "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "X: y\r\n",
        ),
    ] {
        let start = Instant::now();
        let mut http = server.http();
        http.send_raw(beginning.as_bytes());
        if beginning.contains("Expect") {
            assert_eq!(http.read_reply().status, 100);
        }
        let mut pieces = piece.bytes().cycle();
        let step = || {
            http.try_send_raw(pieces.next().as_slice());
            http.has_input()
        };
        // One byte takes 5 ms, so the deadline passes before any size limit is reached.
        send_past_the_deadline(start, &format!("{beginning:?} times out"), step);
        http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
    }
}

/// Its time counts from accept, so a client that says nothing at first has less of it.
#[test]
fn first_head_has_the_time_that_is_left_since_accept() {
    let server = impatient_server();
    let start = Instant::now();
    let mut http = server.http();
    eventually("most of the time is over", || start.elapsed() > TIMEOUT / 2);
    let begun = Instant::now();
    http.send_raw(b"GET /livez HT");
    http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
    assert!(start.elapsed() >= TIMEOUT, "before the deadline");
    assert!(begun.elapsed() < TIMEOUT, "counted from the first byte");
    http.expect_end();
}

/// Between requests another time holds: here a longer and a shorter one than for requests.
#[test]
fn connection_may_rest_between_requests_for_the_keep_alive_time() {
    let server = TestServer::with(|config| {
        config.request_timeout = TIMEOUT / 2;
        config.keep_alive = TIMEOUT;
    });
    let mut http = server.http();
    http.get("/livez").expect(200);
    let start = Instant::now();
    http.expect_end();
    assert!(
        start.elapsed() >= TIMEOUT,
        "closed after {:?}",
        start.elapsed()
    );
    let server = TestServer::with(|config| config.keep_alive = TIMEOUT / 2);
    let mut http = server.http();
    http.get("/livez").expect(200);
    http.expect_end();
    assert!(start.elapsed() < DEADLINE);
}

/// A later request on the same connection does not inherit the time that is left of earlier ones.
#[test]
fn each_request_on_a_connection_has_its_own_deadline() {
    let server = impatient_server();
    let mut http = server.http();
    for _ in 0..3 {
        http.get("/livez").expect(200);
    }
    let start = Instant::now();
    http.send_raw(b"GET /livez HT");
    http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
    assert!(start.elapsed() >= TIMEOUT, "before the deadline");
    http.expect_end();
}

#[test]
fn connection_that_reads_its_response_byte_by_byte_is_ended() {
    let server = impatient_server();
    server.create_topic("orders");
    let body = json!({"payload": "x".repeat(900 << 10)});
    let mut publisher = HttpClient::connect(server.addr());
    publisher.post("/topics/orders/messages", &body).expect(201);
    drop(publisher);
    for reads in [true, false] {
        let start = Instant::now();
        let mut http = HttpClient::with_small_buffer(server.addr());
        http.send_raw(b"GET /topics/orders/messages HTTP/1.1\r\nHost: x\r\n\r\n");
        eventually("the response begins", || http.has_input());
        send_past_the_deadline(start, "the connection ends", || {
            if reads {
                http.read_one_byte();
            }
            server.health()["connections"] == 1
        });
    }
}

#[test]
fn websocket_message_that_never_ends_is_closed_with_1008() {
    let server = impatient_server();
    let mut client = server.ws();
    let frame = Frame::text(&" ".repeat(100_000)).masked();
    let mut bytes = frame.into_iter();
    let start = Instant::now();
    let mut code = None;
    while code.is_none() {
        assert!(start.elapsed() < DEADLINE, "no close frame");
        client.try_send_bytes(bytes.next().as_slice());
        match client.receive_within(Duration::from_millis(5)) {
            Some(Incoming::Close(received)) => code = received,
            Some(other) => panic!("{other:?} before the close"),
            None => {}
        }
    }
    assert_eq!(code, Some(1008));
    assert!(start.elapsed() >= TIMEOUT, "before the deadline");
}
