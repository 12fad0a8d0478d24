//! CORS: what pages of listed and of other origins may read, and the answers to their preflights.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    ChildServer, Config, HttpClient, Reply, StreamClient, TestServer, TextFile, entry,
};

const SHOP: &str = "https://shop.example";
const CORS: [&str; 3] = [
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Vary",
];
const PREFLIGHT: [&str; 3] = [
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Max-Age",
];

fn lists_shop(config: &mut Config) {
    config.allowed_origins = vec![SHOP.to_owned()];
}

fn preflight(http: &mut HttpClient, path: &str, origin: &str) -> Reply {
    let fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        (
            "Access-Control-Request-Headers",
            "authorization,content-type",
        ),
    ];
    http.request("OPTIONS", path, &fields, "")
}

/// Asserts that the page of this origin may read the response.
fn expect_readable(reply: &Reply, origin: &str) {
    assert_eq!(reply.header(CORS[0]), Some(origin), "{reply}");
    assert_eq!(reply.header(CORS[1]), Some("Retry-After"), "{reply}");
    let vary = reply.header(CORS[2]).unwrap_or_default();
    assert!(vary.split(", ").any(|name| name == "Origin"), "{reply}");
}

fn expect_hidden(reply: &Reply) {
    for name in CORS.iter().chain(&PREFLIGHT) {
        let is_of_metrics = *name == "Vary" && reply.header(name) == Some("Accept");
        assert!(reply.header(name).is_none() || is_of_metrics, "{reply}");
    }
}

/// The response to these bytes, which a connection of their own sends.
fn answer(server: &TestServer, bytes: &str) -> Reply {
    let mut http = HttpClient::connect(server.addr());
    http.try_send_raw(bytes.as_bytes());
    http.read_reply()
}

#[test]
fn preflight_of_a_listed_origin_is_204_without_a_key() {
    let server = TestServer::with(|config| {
        lists_shop(config);
        config.api_key = Some(threadcast::ApiKey::new("s3cret").unwrap());
    });
    let mut http = HttpClient::connect(server.addr());
    for (path, methods) in [
        ("/topics", "GET, HEAD, POST, OPTIONS"),
        ("/topics/none", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/topics/none/messages?x=1", "GET, HEAD, POST, OPTIONS"),
        ("/topics/none/events", "GET, HEAD, OPTIONS"),
        ("/connections/7", "DELETE, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/nowhere", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
        ("/topics/*bad*", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
        ("*", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
    ] {
        let reply = preflight(&mut http, path, SHOP);
        assert_eq!(reply.status, 204, "{path}: {reply}");
        expect_readable(&reply, SHOP);
        assert_eq!(reply.header(PREFLIGHT[0]), Some(methods), "{path}");
        let headers = "Authorization, Content-Type, Last-Event-ID, X-API-Key";
        assert_eq!(reply.header(PREFLIGHT[1]), Some(headers));
        assert_eq!(reply.header(PREFLIGHT[2]), Some("600"));
        assert_eq!(reply.header("Content-Length"), None, "{reply}");
    }
}

#[test]
fn preflight_of_any_other_origin_is_403_and_says_nothing() {
    let server = TestServer::with(lists_shop);
    let own = format!("http://{}", server.addr());
    let mut http = HttpClient::connect(server.addr());
    for origin in [
        "https://shop.example.evil.example",
        "http://shop.example",
        "https://shop.example:444",
        "null",
        "*",
        "",
        &own,
    ] {
        for path in ["/topics", "/nowhere", "*"] {
            let reply = preflight(&mut http, path, origin);
            reply.expect_problem(403, "FORBIDDEN");
            expect_hidden(&reply);
        }
    }
    let two = format!(
        "OPTIONS /topics HTTP/1.1\r\nHost: x\r\nOrigin: {SHOP}\r\nOrigin: {SHOP}\r\n\
         Access-Control-Request-Method: GET\r\n\r\n"
    );
    expect_hidden(&answer(&server, &two));
    let nobody = TestServer::start();
    preflight(&mut HttpClient::connect(nobody.addr()), "/topics", SHOP)
        .expect_problem(403, "FORBIDDEN");
}

/// Each request that the edge or a handler answers, with the status.
const ANSWERS: [(&str, u16); 16] = [
    ("GET /health HTTP/1.1\r\nHost: x\r\n", 200),
    ("HEAD /topics/orders HTTP/1.1\r\nHost: x\r\n", 200),
    ("GET /metrics HTTP/1.1\r\nHost: x\r\n", 200),
    ("GET /livez HTTP/1.0\r\n", 200),
    ("OPTIONS /topics HTTP/1.1\r\nHost: x\r\n", 204),
    ("GET /%zz HTTP/1.1\r\nHost: x\r\n", 400),
    ("GET /topics HTTP/1.1\r\n", 400),
    ("GET /topics/none HTTP/1.1\r\nHost: x\r\n", 404),
    ("GET /topics/none/events HTTP/1.1\r\nHost: x\r\n", 404),
    ("PUT /topics HTTP/1.1\r\nHost: x\r\n", 405),
    (
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n",
        413,
    ),
    (
        "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Type: text/html\r\n",
        415,
    ),
    ("POST /topics HTTP/1.1\r\nHost: x\r\nExpect: x\r\n", 417),
    ("POST /topics HTTP/1.1\r\nHost: x\r\n", 422),
    (
        "GET /topics/orders/messages?x=1 HTTP/1.1\r\nHost: x\r\n",
        422,
    ),
    (
        "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n",
        501,
    ),
];

#[test]
fn every_answer_to_a_listed_origin_is_readable_also_errors() {
    let server = TestServer::with(lists_shop);
    server.create_topic("orders");
    for (request, status) in ANSWERS {
        let mut http = HttpClient::connect(server.addr());
        let bytes = format!("{request}Origin: {SHOP}\r\n\r\n");
        http.try_send_raw(bytes.as_bytes());
        let reply = match request.starts_with("HEAD") {
            true => http.read_reply_to_head(),
            false => http.read_reply(),
        };
        assert_eq!(reply.status, status, "{request}: {reply}");
        expect_readable(&reply, SHOP);
    }
    let large = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nOrigin: {SHOP}\r\nX: {}\r\n\r\n",
        "x".repeat(16 << 10)
    );
    let reply = answer(&server, &large);
    reply.expect_problem(431, "HEADERS_TOO_LARGE");
    expect_readable(&reply, SHOP);
    let malformed = format!("GET / HTTP/1.1\r\nHost: x\r\nOrigin: {SHOP}\r\nBad Field: y\r\n\r\n");
    expect_readable(&answer(&server, &malformed), SHOP);
}

#[test]
fn no_answer_to_any_other_origin_is_readable() {
    let server = TestServer::with(lists_shop);
    server.create_topic("orders");
    for origin in ["http://evil.example", "http://x", "null"] {
        for (request, _) in ANSWERS {
            let mut http = HttpClient::connect(server.addr());
            let bytes = format!("{request}Origin: {origin}\r\n\r\n");
            http.try_send_raw(bytes.as_bytes());
            let reply = match request.starts_with("HEAD") {
                true => http.read_reply_to_head(),
                false => http.read_reply(),
            };
            expect_hidden(&reply);
        }
    }
    for (request, _) in ANSWERS {
        let mut http = HttpClient::connect(server.addr());
        http.try_send_raw(format!("{request}\r\n").as_bytes());
        let reply = match request.starts_with("HEAD") {
            true => http.read_reply_to_head(),
            false => http.read_reply(),
        };
        expect_hidden(&reply);
    }
}

#[test]
fn refused_credentials_and_rights_are_readable() {
    let keys = TextFile::new(&entry("guest", "guest-secret", "publish = [\"orders\"]"));
    let server = TestServer::with(|config| {
        lists_shop(config);
        config.keys_file = Some(keys.path().to_owned());
    });
    let mut http = HttpClient::connect(server.addr());
    for (key, status) in [("guest-secret", 403), ("wrong", 401)] {
        let fields = [("Origin", SHOP), ("X-API-Key", key)];
        let reply = http.request("GET", "/topics", &fields, "");
        assert_eq!(reply.status, status);
        expect_readable(&reply, SHOP);
        let reply = http.request("GET", "/topics/orders/events", &fields, "");
        assert_eq!(reply.status, status);
        expect_readable(&reply, SHOP);
    }
    // The body of a stranger is not read, and the connection ends.
    let fields = [("Origin", SHOP)];
    let reply = http.request("POST", "/topics", &fields, "{}");
    assert_eq!(reply.status, 401);
    expect_readable(&reply, SHOP);
    http.expect_end();
}

#[test]
fn slow_requests_are_answered_readably() {
    let server = TestServer::with(|config| {
        lists_shop(config);
        config.request_timeout = Duration::from_millis(300);
    });
    for begun in [
        format!("GET /health HTTP/1.1\r\nHost: x\r\nOrigin: {SHOP}\r\nX: "),
        format!("POST /topics HTTP/1.1\r\nHost: x\r\nOrigin: {SHOP}\r\nContent-Length: 9\r\n\r\n"),
    ] {
        let reply = answer(&server, &begun);
        reply.expect_problem(408, "REQUEST_TIMEOUT");
        expect_readable(&reply, SHOP);
    }
}

#[test]
fn refusals_of_a_draining_server_are_readable() {
    let mut server = ChildServer::start(&[
        ("PUBSUB_ALLOWED_ORIGINS", SHOP),
        ("PUBSUB_DRAIN_TIMEOUT_SECS", "5"),
    ]);
    let mut http = HttpClient::connect(server.addr());
    let fields = [("Origin", SHOP)];
    http.request("POST", "/topics", &fields, r#"{"name":"orders"}"#)
        .expect(201);
    // An open WebSocket that does not leave keeps the server in its drain.
    let mut held = crate::harness::Dial::to(server.addr()).connect();
    held.fence();
    server.signal("TERM");
    held.next_info("server_shutdown");
    let reply = http.request("POST", "/topics", &fields, r#"{"name":"b"}"#);
    reply.expect_problem(503, "SHUTTING_DOWN");
    expect_readable(&reply, SHOP);
    drop(held);
    server.wait();
}

#[test]
fn event_stream_is_readable_for_a_listed_origin_only() {
    let server = TestServer::with(lists_shop);
    server.create_topic("orders");
    let path = "/topics/orders/events";
    let mut stream = StreamClient::open_with(server.addr(), path, &[("Origin", SHOP)]);
    expect_readable(&stream.head, SHOP);
    stream.expect("ack");
    let own = format!("http://{}", server.addr());
    let stream = StreamClient::open_with(server.addr(), path, &[("Origin", &own)]);
    expect_hidden(&stream.head);
    let mut http = HttpClient::connect(server.addr());
    http.send_raw(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nOrigin: {SHOP}\r\n\r\n").as_bytes());
    expect_readable(&http.read_reply_to_head(), SHOP);
}

#[test]
fn star_is_answered_by_a_star() {
    let server = TestServer::with(|config| config.allowed_origins = vec!["*".to_owned()]);
    server.create_topic("orders");
    let mut http = HttpClient::connect(server.addr());
    for origin in ["http://evil.example", "null", "anything"] {
        let fields = [("Origin", origin)];
        expect_readable(&http.request("GET", "/topics", &fields, ""), "*");
        let body = json!({"payload": 1}).to_string();
        let reply = http.request("POST", "/topics/orders/messages", &fields, &body);
        reply.expect(201);
        expect_readable(&reply, "*");
        let reply = preflight(&mut http, "/topics", origin);
        assert_eq!(reply.status, 204);
        expect_readable(&reply, "*");
    }
    expect_hidden(&http.get("/topics"));
}

/// What one request on a connection may read does not depend on the one before.
#[test]
fn each_request_on_a_connection_gets_the_headers_of_its_own_origin() {
    let other = "http://localhost:3000";
    let server =
        TestServer::with(|config| config.allowed_origins = vec![SHOP.to_owned(), other.to_owned()]);
    let mut http = HttpClient::connect(server.addr());
    for _ in 0..2 {
        for origin in [SHOP, other] {
            let reply = http.request("GET", "/health", &[("Origin", origin)], "");
            expect_readable(&reply, origin);
            let reply = http.request("GET", "/none", &[("Origin", origin)], "");
            expect_readable(&reply, origin);
        }
        expect_hidden(&http.get("/health"));
        expect_hidden(&http.request("GET", "/health", &[("Origin", "http://evil.example")], ""));
    }
}
