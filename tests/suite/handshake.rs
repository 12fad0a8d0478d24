//! The WebSocket handshake: which requests are upgraded, and the response to every other one.

use serde_json::json;

use crate::harness::{Dial, Frame, HttpClient, Reply, TestServer};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A valid handshake with `part` replaced.
fn changed(server: &TestServer, part: &str, replacement: &str) -> String {
    let request = Dial::request_fields(server.addr());
    assert!(request.contains(part), "{part:?} is no part of {request:?}");
    request.replace(part, replacement) + "\r\n"
}

/// A valid handshake with one more field.
fn with_field(server: &TestServer, field: &str) -> String {
    Dial::request_fields(server.addr()) + field + "\r\n\r\n"
}

fn answer(server: &TestServer, request: &str) -> Reply {
    let mut http = HttpClient::connect(server.addr());
    http.send_raw(request.as_bytes());
    http.read_reply()
}

fn expect_switch(server: &TestServer, request: &str) -> Reply {
    let reply = answer(server, request);
    assert_eq!(reply.status, 101, "{request:?} was answered {reply}");
    reply
}

#[test]
fn valid_upgrade_switches_protocols() {
    let server = TestServer::start();
    let reply = expect_switch(&server, &with_field(&server, "X-Other: yes"));
    assert!(
        reply
            .header("Upgrade")
            .unwrap()
            .eq_ignore_ascii_case("websocket")
    );
    assert!(
        reply
            .header("Connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    assert_eq!(
        reply.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(reply.header("Sec-WebSocket-Protocol"), None);
}

#[test]
fn field_values_are_accepted_in_any_case_and_in_lists() {
    let server = TestServer::start();
    expect_switch(
        &server,
        &changed(
            &server,
            "Connection: Upgrade",
            "Connection: keep-alive, upgrade",
        ),
    );
    expect_switch(
        &server,
        &changed(&server, "Upgrade: websocket", "Upgrade: WebSocket"),
    );
    expect_switch(
        &server,
        &changed(&server, "Sec-WebSocket-Key", "sec-websocket-key"),
    );
    expect_switch(
        &server,
        &changed(&server, "GET /ws ", "GET /ws?client=browser "),
    );
}

#[test]
fn handshake_sent_byte_by_byte_is_accepted() {
    let server = TestServer::start();
    let mut http = server.http();
    for byte in with_field(&server, "X-Other: yes").bytes() {
        http.send_raw(&[byte]);
    }
    assert_eq!(http.read_reply().status, 101);
}

#[test]
fn frames_sent_with_the_handshake_are_not_lost() {
    let server = TestServer::with_topic("orders");
    let subscribe =
        json!({"type": "subscribe", "topic": "orders", "client_id": "c", "request_id": "early"});
    let mut client = Dial::to(server.addr())
        .early(&Frame::text(&subscribe.to_string()))
        .early(&Frame::text(r#"{"type":"ping","request_id":"second"}"#))
        .connect();
    client.expect_ack("early");
    assert_eq!(client.next_json()["request_id"], "second");
}

#[test]
fn request_without_upgrade_is_answered_426() {
    let server = TestServer::start();
    let reply = server.http().get("/ws");
    reply.expect_problem(426, "UPGRADE_REQUIRED");
    assert!(
        reply
            .header("Upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket")),
        "{reply}"
    );
    let reply = answer(&server, &changed(&server, "Upgrade: websocket\r\n", ""));
    reply.expect_problem(426, "UPGRADE_REQUIRED");
    let reply = answer(
        &server,
        &changed(&server, "Connection: Upgrade", "Connection: keep-alive"),
    );
    reply.expect_problem(426, "UPGRADE_REQUIRED");
}

#[test]
fn unsupported_version_is_answered_426_with_the_supported_one() {
    let server = TestServer::start();
    for version in ["8", "12", "14", "130", "x"] {
        let request = changed(&server, "Version: 13", &format!("Version: {version}"));
        let reply = answer(&server, &request);
        reply.expect_problem(426, "UPGRADE_REQUIRED");
        assert_eq!(reply.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn invalid_or_missing_key_is_answered_400() {
    let server = TestServer::start();
    for key in [
        "",
        "Sec-WebSocket-Key: \r\n",
        "Sec-WebSocket-Key: short\r\n",
    ] {
        answer(&server, &changed(&server, KEY, key)).expect_problem(400, "BAD_REQUEST");
    }
    let no_base64 = "Sec-WebSocket-Key: !!!!IHNhbXBsZSBub25jZQ==\r\n";
    answer(&server, &changed(&server, KEY, no_base64)).expect_problem(400, "BAD_REQUEST");
    let too_long = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSBpcyBsb25n\r\n";
    answer(&server, &changed(&server, KEY, too_long)).expect_problem(400, "BAD_REQUEST");
}

#[test]
fn wrong_method_is_answered_405() {
    let server = TestServer::start();
    for method in ["POST", "PUT", "DELETE"] {
        let reply = answer(&server, &changed(&server, "GET ", &format!("{method} ")));
        reply.expect_problem(405, "METHOD_NOT_ALLOWED");
        assert!(reply.header("Allow").unwrap().contains("GET"), "{reply}");
    }
}

#[test]
fn http_1_0_is_answered_400() {
    let server = TestServer::start();
    let request = changed(&server, "HTTP/1.1", "HTTP/1.0");
    answer(&server, &request).expect_problem(400, "BAD_REQUEST");
}

#[test]
fn same_host_origin_is_accepted() {
    let server = TestServer::start();
    let origin = format!("Origin: http://{}", server.addr());
    expect_switch(&server, &with_field(&server, &origin));
    let request = changed(
        &server,
        &format!("Host: {}", server.addr()),
        "Host: LocalHost:8080\r\nOrigin: http://localhost:8080",
    );
    expect_switch(&server, &request);
}

#[test]
fn foreign_origin_is_answered_403() {
    let server = TestServer::start();
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        &format!("http://{}.evil.example", server.addr()),
        &format!("http://evil.example/{}", server.addr()),
    ] {
        let reply = answer(&server, &with_field(&server, &format!("Origin: {origin}")));
        reply.expect_problem(403, "FORBIDDEN");
    }
}

#[test]
fn only_listed_foreign_origins_are_accepted() {
    let server =
        TestServer::with(|config| config.allowed_origins = vec!["https://shop.example".to_owned()]);
    expect_switch(
        &server,
        &with_field(&server, "Origin: https://shop.example"),
    );
    for origin in [
        "http://shop.example",
        "https://shop.example:444",
        "https://a.shop.example",
    ] {
        let reply = answer(&server, &with_field(&server, &format!("Origin: {origin}")));
        reply.expect_problem(403, "FORBIDDEN");
    }
}

#[test]
fn star_accepts_every_origin() {
    let server = TestServer::with(|config| config.allowed_origins = vec!["*".to_owned()]);
    expect_switch(&server, &with_field(&server, "Origin: https://any.example"));
}

#[test]
fn handshake_beyond_max_connections_is_answered_503_with_retry_after() {
    let server = TestServer::with(|config| config.max_connections = Some(1));
    let mut held = server.ws();
    let mut refused = server.http();
    refused.try_send_raw(with_field(&server, "X-Other: yes").as_bytes());
    let reply = refused.read_reply();
    reply.expect_problem(503, "UNAVAILABLE");
    assert!(reply.header("Retry-After").is_some(), "{reply}");
    refused.expect_end();
    held.fence();
}

#[test]
fn compression_is_not_negotiated() {
    let server = TestServer::start();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let reply = expect_switch(&server, &with_field(&server, offer));
    assert_eq!(reply.header("Sec-WebSocket-Extensions"), None);
}

#[test]
fn refused_handshakes_do_not_affect_other_clients() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    for _ in 0..20 {
        answer(&server, &changed(&server, KEY, ""));
    }
    client.publish("orders", &json!(1));
    client.next_event();
}
