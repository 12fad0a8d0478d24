//! Web pages of other hosts that use a browser to send requests to a server they cannot reach themselves.

use serde_json::json;

use crate::harness::{Dial, HttpClient, TestServer};

/// The statuses of the four operations that check the origin: handshake, create, publish, delete.
fn statuses(server: &TestServer, host: &str, origins: &str) -> [u16; 4] {
    let handshake =
        Dial::request_fields(server.addr()).replacen(&server.addr().to_string(), host, 1);
    let rest = |request: &str, body: &str| {
        let length = body.len();
        format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{origins}\r\n{body}"
        )
    };
    [
        format!("{handshake}{origins}\r\n"),
        rest("POST /topics", r#"{"name":"orders"}"#),
        rest("POST /topics/orders/messages", r#"{"payload":1}"#),
        rest("DELETE /topics/orders", ""),
    ]
    .map(|request| {
        let mut http = HttpClient::connect(server.addr());
        http.send_raw(request.as_bytes());
        http.read_reply().status
    })
}

const LET_IN: [u16; 4] = [101, 201, 201, 200];
const REFUSED: [u16; 4] = [403; 4];

#[test]
fn absent_same_host_and_listed_origins_are_accepted() {
    let server =
        TestServer::with(|config| config.allowed_origins = vec!["https://shop.example".to_owned()]);
    for (host, origin) in [
        ("localhost:8080", ""),
        ("localhost:8080", "Origin: http://localhost:8080\r\n"),
        ("LOCALHOST:8080", "Origin: HTTP://localhost:8080\r\n"),
        ("example.com", "Origin: https://example.com\r\n"),
        ("example.com:443", "Origin: https://example.com\r\n"),
        ("[::1]:8080", "Origin: http://[0:0::1]:8080\r\n"),
        ("localhost:8080", "Origin: https://shop.example\r\n"),
        ("localhost:8080", "Origin: https://SHOP.example:443\r\n"),
    ] {
        let statuses = statuses(&server, host, origin);
        assert_eq!(statuses, LET_IN, "{host} for {origin:?}");
    }
}

#[test]
fn origin_that_resembles_an_allowed_one_is_403_everywhere() {
    let server =
        TestServer::with(|config| config.allowed_origins = vec!["https://shop.example".to_owned()]);
    for origin in [
        "http://localhost:8080.evil.example",
        "http://localhost.evil.example:8080",
        "http://evillocalhost:8080",
        "http://evil.localhost:8080",
        "http://localhost:8080@evil.example",
        "http://evil.example@localhost:8080",
        "http://evil.example#localhost:8080",
        "http://evil.example/localhost:8080",
        "http://evil.example?localhost:8080",
        "http://evil.example\\@localhost:8080",
        "http://localhost:8080/",
        "http://localhost",
        "http://localhost:80",
        "http://localhost:80800",
        "http://localhost:8081",
        "http://localhost.:8080",
        "http://127.0.0.1:8080",
        "ws://localhost:8080",
        "file://localhost:8080",
        "http:localhost:8080",
        "//localhost:8080",
        "localhost:8080",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "https://a.shop.example",
        "http://shop.example",
        "https://shop.example:444",
        "https://shop.example, http://evil.example",
        "https://shop.example https://shop.example",
        "null",
        "*",
        "",
    ] {
        let statuses = statuses(&server, "localhost:8080", &format!("Origin: {origin}\r\n"));
        assert_eq!(statuses, REFUSED, "{origin:?}");
    }
    assert_eq!(server.health()["topics"], 0);
}

#[test]
fn two_origins_are_403_even_when_any_is_allowed() {
    let server = TestServer::with(|config| config.allowed_origins = vec!["*".to_owned()]);
    let own = "Origin: http://localhost:8080\r\n";
    assert_eq!(statuses(&server, "localhost:8080", own), LET_IN);
    for second in [own, "origin: null\r\n", "Origin:\r\n"] {
        let both = format!("{own}{second}");
        assert_eq!(statuses(&server, "localhost:8080", &both), REFUSED);
    }
}

#[test]
fn foreign_page_may_read_but_not_write() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    let foreign = [("Origin", "http://evil.example")];
    for path in ["/health", "/topics", "/topics/orders"] {
        let reply = http.request("GET", path, &foreign, "");
        reply.expect(200);
        assert_eq!(
            reply.header("Access-Control-Allow-Origin"),
            None,
            "a browser would show the response to the page"
        );
    }
    for (method, path) in [
        ("POST", "/topics"),
        ("DELETE", "/topics/orders"),
        ("PUT", "/nowhere"),
        ("OPTIONS", "/topics"),
    ] {
        let body = json!({"name": "a"}).to_string();
        let reply = http.request(method, path, &foreign, &body);
        reply.expect_problem(403, "FORBIDDEN");
    }
}
