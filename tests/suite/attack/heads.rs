//! Request heads that are not strict HTTP/1.1: stray bytes, other protocols, random bytes, and heads over the limit.

use std::time::Duration;

use super::{answer, expect_each};
use crate::harness::TestServer;

fn with(fields: &str) -> String {
    format!("GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: x\r\n\r\n")
}

#[test]
fn head_lines_that_do_not_end_with_crlf_are_400() {
    expect_each(
        400,
        [
            "GET /health HTTP/1.1\nHost: x\r\n\r\n",
            "GET /health HTTP/1.1\nHost: x\n\n",
            "GET /health HTTP/1.1\r\nHost: x\n\r\n",
            "GET /health HTTP/1.1\r\nHost: x\r\n\n",
            "GET /health HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n",
            "GET /health HTTP/1.1\rHost: x\r\r",
            "GET /health HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
            "GET /health HTTP/1.1\r\r\nHost: x\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: x\r\r\n\r\n",
            "GET /health HTTP/1.1\r\nHost: x\r\n\rX\n",
            "\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
    );
}

#[test]
fn control_bytes_in_a_head_are_400() {
    let places: [fn(char) -> String; 4] = [
        |byte| line(&format!("G{byte}ET /health HTTP/1.1")),
        |byte| line(&format!("GET /hea{byte}lth HTTP/1.1")),
        |byte| with(&format!("X-{byte}A: b")),
        |byte| with(&format!("X: a{byte}b")),
    ];
    let bytes = ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1b}', '\u{7f}'];
    expect_each(400, places.map(|place| bytes.map(place)).concat());
}

#[test]
fn folded_fields_and_invalid_field_names_are_400() {
    let fields = [
        " A: b",
        "\tA: b",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A : b",
        "A\t: b",
        ": b",
        "A",
        "A b: c",
        "A(: b",
        "A@: b",
        "A\": b",
        "A/: b",
        "A[1]: b",
        "A{: b",
        "A,B: c",
        "A;: b",
        "A=: b",
        "É: b",
    ];
    expect_each(400, fields.map(with));
    let first = "GET /health HTTP/1.1\r\n Host: x\r\n\r\n";
    expect_each(400, [first]);
}

#[test]
fn missing_repeated_or_invalid_host_is_400() {
    let hosts = [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: x\r\nhost: y\r\n",
        "Host:\r\n",
        "Host: x, y\r\n",
        "Host: x y\r\n",
        "Host: user@x\r\n",
        "Host: x/y\r\n",
        "Host: x?y\r\n",
        "Host: http://x\r\n",
        "Host: x:port\r\n",
        "Host: x:99999\r\n",
        "Host: x:-1\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: x\\y\r\n",
        "Host: é\r\n",
    ];
    expect_each(
        400,
        hosts.map(|host| format!("GET /health HTTP/1.1\r\n{host}\r\n")),
    );
    expect_each(400, ["GET http://a/health HTTP/1.1\r\nHost: b\r\n\r\n"]);
}

#[test]
fn other_versions_of_http_are_refused() {
    let malformed = [
        "GET /health",
        "GET /health ",
        "GET /health http/1.1",
        "GET /health HTTP/1.1 ",
        "GET /health HTTP/1.01",
        "GET /health HTTP/0.9",
        "GET /health HTTQ/1.1",
        "GET /health HTTP/-1.1",
        "GET /health\tHTTP/1.1",
        "GET  /health HTTP/1.1",
        "GET /he alth HTTP/1.1",
        " GET /health HTTP/1.1",
        "GET health HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT x:443 HTTP/1.1",
        "G(T /health HTTP/1.1",
    ];
    expect_each(400, malformed.map(line));
    let foreign = [
        "GET /health HTTP/1",
        "GET /health HTTP/1.2",
        "GET /health HTTP/2",
        "GET /health HTTP/2.0",
        "GET /health HTTP/3.0",
    ];
    expect_each(505, foreign.map(line));
    expect_each(
        505,
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"],
    );
}

#[test]
fn other_protocols_are_400_at_once() {
    let client_hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03\x5a\x5a\x5a\x5a\x5a\x5a\x5a";
    expect_each(
        400,
        [
            &client_hello[..],
            b"\x80\x2e\x01\x00\x02\x00",
            b"SSH-2.0-OpenSSH_9.9\r\n",
            b"\x05\x01\x00",
            b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x00\x00\x00\x10JFIF",
            b"\xff\xfe\xfd",
            b"{\"type\":\"ping\"}\r\n",
        ],
    );
}

/// The generator has a fixed seed; each request is longer than the largest head.
#[test]
fn random_bytes_are_400() {
    let server = TestServer::start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    for _ in 0..200 {
        let random: Vec<u8> = (0..20 << 10).map(|_| next()).collect();
        let reply = answer(&server, &random);
        reply.expect_problem(400, "BAD_REQUEST");
    }
    server.http().get("/health").expect(200);
}

#[test]
fn head_of_16_kib_is_accepted_and_one_byte_more_is_431() {
    let server = TestServer::start();
    let head = |bytes: usize| {
        let frame = with("X: ").len();
        with(&format!("X: {}", "y".repeat(bytes - frame)))
    };
    answer(&server, head(16 << 10).as_bytes()).expect(200);
    let reply = answer(&server, head((16 << 10) + 1).as_bytes());
    reply.expect_problem(431, "HEADERS_TOO_LARGE");
}

#[test]
fn endless_head_is_refused_at_its_limit() {
    let server = TestServer::with(|config| config.request_timeout = Duration::from_secs(60));
    for (beginning, piece, status) in [
        ("", "G", 414),
        ("GET /", "x", 414),
        ("GET /health HTTP/1.1\r\nHost: x\r\nX: ", "y", 431),
        ("GET /health HTTP/1.1\r\nHost: x\r\n", "y", 431),
        ("GET /health HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", 431),
    ] {
        let endless = format!("{beginning}{}", piece.repeat((64 << 10) / piece.len()));
        let reply = answer(&server, endless.as_bytes());
        assert_eq!(reply.status, status, "{beginning:?}, {piece:?}: {reply}");
    }
}

#[test]
fn unknown_expectation_is_417() {
    let expect = ["", "200-ok", "100-continue, x", "100-continue;a=b", "tea"];
    expect_each(
        417,
        expect.map(|expect| with(&format!("Content-Length: 2\r\nExpect: {expect}"))),
    );
}
