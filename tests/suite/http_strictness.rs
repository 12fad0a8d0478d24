//! HTTP itself: kept connections, pipelining, limits of size and time, and invalid requests.

use std::time::Duration;

use serde_json::json;

use crate::harness::{HttpClient, Reply, TestServer, eventually};

fn answer(server: &TestServer, request: &str) -> Reply {
    let mut http = HttpClient::connect(server.addr());
    http.try_send_raw(request.as_bytes());
    http.read_reply()
}

#[test]
fn connection_is_kept_for_many_requests() {
    let server = TestServer::start();
    let mut http = server.http();
    for n in 0..50 {
        http.post("/topics", &json!({"name": format!("t{n}")}))
            .expect(201);
        http.get("/health").expect(200);
    }
}

#[test]
fn connection_close_is_honoured() {
    let server = TestServer::start();
    let mut http = server.http();
    http.request("GET", "/health", &[("Connection", "close")], "")
        .expect(200);
    http.expect_end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start();
    let mut http = server.http();
    let create = |name: &str| {
        let body = json!({"name": name}).to_string();
        format!(
            "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let look = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let requests = [
        create("a"),
        look("/topics/a"),
        look("/nowhere"),
        create("a"),
        look("/topics"),
    ];
    http.send_raw(requests.concat().as_bytes());
    let statuses: Vec<_> = requests.iter().map(|_| http.read_reply().status).collect();
    assert_eq!(statuses, [201, 200, 404, 409, 200]);
}

#[test]
fn chunked_body_is_accepted() {
    let server = TestServer::start();
    let mut http = server.http();
    let head = "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    http.send_raw(format!("{head}8;ext=1\r\n{{\"name\":\r\n4\r\n\"a\"}}\r\n0\r\n\r\n").as_bytes());
    http.read_reply().expect(201);
    http.get("/topics/a").expect(200);
}

#[test]
fn body_over_the_limit_is_answered_413_with_length_or_chunks() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    let announced = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 2001\r\n\r\n";
    answer(&server, announced).expect_problem(413, "PAYLOAD_TOO_LARGE");
    let absurd = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n";
    answer(&server, absurd).expect_problem(413, "PAYLOAD_TOO_LARGE");
    let chunk = format!("4b0\r\n{}\r\n", " ".repeat(1200));
    let head = "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    answer(&server, &format!("{head}{chunk}{chunk}0\r\n\r\n"))
        .expect_problem(413, "PAYLOAD_TOO_LARGE");
    server.http().get("/health").expect(200);
}

#[test]
fn response_413_is_not_lost_behind_a_large_body() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    let head = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n";
    let request = format!("{head}{}", "x".repeat(300_000));
    answer(&server, &request).expect_problem(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn target_over_4_kib_is_answered_414() {
    let server = TestServer::start();
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(4096));
    answer(&server, &request).expect_problem(414, "URI_TOO_LONG");
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(4095));
    answer(&server, &request).expect_problem(404, "NOT_FOUND");
}

#[test]
fn head_over_the_limits_is_answered_431() {
    let server = TestServer::start();
    let large = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n",
        "x".repeat(16 << 10)
    );
    answer(&server, &large).expect_problem(431, "HEADERS_TOO_LARGE");
    let head = |fields: usize| {
        let more: String = (1..fields).map(|n| format!("X-{n}: y\r\n")).collect();
        format!("GET /health HTTP/1.1\r\nHost: x\r\n{more}\r\n")
    };
    answer(&server, &head(65)).expect_problem(431, "HEADERS_TOO_LARGE");
    answer(&server, &head(64)).expect(200);
}

#[test]
fn incomplete_request_is_answered_408() {
    let server = TestServer::with(|config| config.request_timeout = Duration::from_millis(200));
    for half in [
        "GET /hea",
        "GET /health HTTP/1.1\r\nHost: x\r\n",
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
    ] {
        let mut http = HttpClient::connect(server.addr());
        http.send_raw(half.as_bytes());
        http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
        http.expect_end();
    }
}

#[test]
fn request_deadline_is_absolute() {
    let server = TestServer::with(|config| config.request_timeout = Duration::from_millis(300));
    let mut http = server.http();
    http.send_raw(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    let mut answered = false;
    eventually("the request times out", || {
        http.try_send_raw(b"y");
        answered = answered || http.has_input();
        answered
    });
    http.read_reply().expect_problem(408, "REQUEST_TIMEOUT");
}

#[test]
fn requests_that_are_not_strict_http_1_1_are_answered_400() {
    let server = TestServer::start();
    for request in [
        "nonsense\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nBad Field: y\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\n\r\n",
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ] {
        let reply = answer(&server, request);
        assert_eq!(reply.status, 400, "{request:?} was answered {reply}");
        reply.expect_problem(400, "BAD_REQUEST");
    }
}

#[test]
fn unknown_transfer_encoding_or_version_is_refused() {
    let server = TestServer::start();
    let request = "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n";
    let reply = answer(&server, request);
    assert!(matches!(reply.status, 400 | 501), "{reply}");
    let reply = answer(&server, "GET /health HTTP/2.0\r\nHost: x\r\n\r\n");
    reply.expect_problem(505, "HTTP_VERSION_NOT_SUPPORTED");
    server.http().get("/health").expect(200);
}

#[test]
fn expect_100_continue_is_answered_100() {
    let server = TestServer::start();
    let mut http = server.http();
    http.send_raw(
        b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(http.read_reply().status, 100);
    http.send_raw(br#"{"name":"a"}"#);
    http.read_reply().expect(201);
}

#[test]
fn server_still_answers_after_malformed_requests() {
    let server = TestServer::start();
    let opened: Vec<_> = (0..30)
        .map(|_| HttpClient::connect(server.addr()))
        .collect();
    for (n, mut http) in opened.into_iter().enumerate() {
        match n % 3 {
            0 => http.try_send_raw(b"GET /health HTTP/1.1\r\nHost"),
            1 => http.try_send_raw(&[0; 5000]),
            _ => http
                .try_send_raw(b"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"),
        }
    }
    server.http().get("/health").expect(200);
}
