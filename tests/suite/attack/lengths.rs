//! Body lengths that are false, invalid or given twice: the end of a body is unambiguous, or the request is refused.

use super::expect_each;
use crate::harness::TestServer;

/// A request with these fields and the body `{}`.
fn with(fields: &str) -> String {
    format!("POST /topics HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{{}}")
}

#[test]
fn content_length_over_the_limit_is_413() {
    let lengths = [
        "1048577",
        "4294967295",
        "4294967298",
        "100000000000000",
        "4611686018427387904",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551618",
        "340282366920938463463374607431768211456",
    ];
    expect_each(
        413,
        lengths.map(|length| with(&format!("Content-Length: {length}"))),
    );
}

#[test]
fn content_length_that_is_not_a_plain_number_is_400() {
    let lengths = [
        "", "-1", "-0", "+2", "2x", "x2", "2 2", "2,2", "2, 2", "0x2", "2.0", "2e0", "\"2\"", "２",
        "2;", "2_", "1/2", "inf",
    ];
    expect_each(
        400,
        lengths.map(|length| with(&format!("Content-Length: {length}"))),
    );
}

#[test]
fn repeated_content_length_is_400_even_when_equal() {
    expect_each(
        400,
        [
            with("Content-Length: 2\r\nContent-Length: 2"),
            with("Content-Length: 2\r\ncontent-length: 3"),
            with("Content-Length: 0\r\nX: y\r\nCONTENT-LENGTH: 2"),
            with("Content-Length: 2\r\nContent-Length:"),
        ],
    );
}

#[test]
fn content_length_beside_transfer_encoding_is_400() {
    expect_each(
        400,
        [
            with("Content-Length: 2\r\nTransfer-Encoding: chunked"),
            with("Transfer-Encoding: chunked\r\nContent-Length: 2"),
            with("Transfer-Encoding: chunked\r\nContent-Length: 0"),
            with("Transfer-Encoding: identity\r\nContent-Length: 2"),
            with("transfer-encoding:\r\nContent-Length: 2"),
        ],
    );
}

#[test]
fn transfer_encoding_other_than_chunked_is_refused() {
    let unknown = [
        "gzip",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, identity",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chun ked",
        "\"chunked\"",
        "chunked chunked",
        "foo",
        ",",
        "\u{a0}chunked",
    ];
    expect_each(
        501,
        unknown.map(|coding| with(&format!("Transfer-Encoding: {coding}"))),
    );
    expect_each(
        400,
        [
            with("Transfer-Encoding: chunked, chunked"),
            with("Transfer-Encoding:"),
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            with("Transfer-Encoding: \u{b}chunked"),
            with("Transfer-Encoding : chunked"),
            with("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0"),
        ],
    );
}

/// A request that a proxy with another reading of the length would let through is not executed.
#[test]
fn request_behind_an_ambiguous_body_is_not_executed() {
    let server = TestServer::start();
    let smuggled = r#"POST /topics HTTP/1.1
Host: x
Content-Length: 19

{"name":"smuggled"}"#
        .replace('\n', "\r\n");
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0,5",
    ] {
        let doubtful =
            format!("POST /topics HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n0\r\n\r\n{smuggled}");
        let mut http = server.http();
        http.try_send_raw(doubtful.as_bytes());
        assert!(http.read_reply().status >= 400);
        http.expect_end();
    }
    assert_eq!(server.health()["topics"], 0);
}
