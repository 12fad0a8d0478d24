//! Chunked bodies with false or endless sizes: refused early, with bounded memory.

use super::{answer, expect_each};
use crate::harness::TestServer;

const HEAD: &str = "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

fn with(body: &str) -> String {
    format!("{HEAD}{body}")
}

#[test]
fn chunk_size_over_the_limit_is_413_before_its_data_arrives() {
    let sizes = [
        "100001",
        "7fffffff",
        "ffffffff",
        "100000001",
        "7fffffffffffffff",
        "8000000000000000",
        "ffffffffffffffff",
    ];
    expect_each(413, sizes.map(|size| with(&format!("{size}\r\n"))));
}

#[test]
fn many_small_chunks_cannot_exceed_the_body_limit() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    let body = "1\r\n \r\n".repeat(2001);
    let reply = answer(&server, with(&body).as_bytes());
    reply.expect_problem(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn chunk_size_that_overflows_or_is_invalid_is_400() {
    let sizes = [
        "10000000000000000",
        "ffffffffffffffffff",
        "00000000000000002",
        &"0".repeat(5000),
        "",
        "-2",
        "+2",
        "0x2",
        " 2",
        "2 ",
        "2\t",
        "g",
        "2,",
        "２",
        "2\0",
    ];
    expect_each(
        400,
        sizes.map(|size| with(&format!("{size}\r\n{{}}\r\n0\r\n\r\n"))),
    );
}

#[test]
fn chunk_lines_that_do_not_end_with_crlf_are_400() {
    expect_each(
        400,
        [
            with("2\n{}\r\n0\r\n\r\n"),
            with("2\r{}\r\n0\r\n\r\n"),
            with("2\r\r\n{}\r\n0\r\n\r\n"),
            with("2\r\n{}\n0\r\n\r\n"),
            with("2\r\n{} \r\n0\r\n\r\n"),
            with("2\r\n{}0\r\n\r\n"),
            with("2\r\n{}\r\n0\n\n"),
            with("2\r\n{}\r\n0\r\n\n"),
            with("2\r\n{}\r\n0\r\n\rx"),
            with("2\r\n{}\r\n0\r\nX: y\n\r\n"),
            with("2;a\n{}\r\n0\r\n\r\n"),
            with("2;\0\r\n{}\r\n0\r\n\r\n"),
        ],
    );
}

#[test]
fn endless_chunk_extensions_and_trailers_are_400() {
    let long = "a".repeat(5000);
    expect_each(
        400,
        [
            with(&format!("2;{long}")),
            with(&"1;aaaaaaaa\r\n \r\n".repeat(1000)),
            with(&format!("0\r\nX: {long}")),
            with(&format!("0\r\n{}", "X: y\r\n".repeat(2000))),
        ],
    );
}

/// Otherwise a request behind the last chunk would be skipped, and another request would take its response.
#[test]
fn malformed_trailer_is_400() {
    let trailers = [
        "GET /health HTTP/1.1",
        "X",
        "X : y",
        " X: y",
        ": y",
        "X(: y",
        "X: y\r\n folded",
        "X: \u{1}",
    ];
    expect_each(
        400,
        trailers.map(|trailer| with(&format!("0\r\n{trailer}\r\n\r\n"))),
    );
}

#[test]
fn trailer_cannot_change_the_request() {
    let server = TestServer::start();
    let body =
        "c\r\n{\"name\":\"a\"}\r\n0\r\nContent-Length: 0\r\nHost: y\r\nConnection: close\r\n\r\n";
    let mut http = server.http();
    http.send_raw(with(body).as_bytes());
    http.read_reply().expect(201);
    http.get("/topics/a").expect(200);
}
