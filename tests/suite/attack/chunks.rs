//! Chunked bodies that lie about their sizes or never end: refused early, and what they hold is bounded.

use super::{answer, expect_each};
use crate::harness::TestServer;

const HEAD: &str = "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

fn with(body: &str) -> String {
    format!("{HEAD}{body}")
}

#[test]
fn a_chunk_beyond_the_limit_is_413_before_its_data_comes() {
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
fn many_small_chunks_do_not_get_around_the_limit() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    let body = "1\r\n \r\n".repeat(2001);
    let reply = answer(&server, with(&body).as_bytes());
    reply.expect_problem(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn a_size_that_overflows_or_is_none_is_400() {
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
fn lines_that_do_not_end_as_they_must_are_400() {
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
fn extensions_and_trailers_without_end_are_400() {
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

/// Or a request behind the last chunk would be read over, and another one take its answer.
#[test]
fn a_trailer_that_is_no_field_is_400() {
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
fn a_trailer_cannot_change_the_request() {
    let server = TestServer::start();
    let body =
        "c\r\n{\"name\":\"a\"}\r\n0\r\nContent-Length: 0\r\nHost: y\r\nConnection: close\r\n\r\n";
    let mut http = server.http();
    http.send_raw(with(body).as_bytes());
    http.read_reply().expect(201);
    http.get("/topics/a").expect(200);
}
