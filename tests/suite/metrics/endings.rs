//! Counters of connections and disconnects, by reason.

use std::time::Duration;

use super::total;
use crate::harness::{
    Dial, Frame, HttpClient, Opcode, OverflowPolicy, TestServer, TextFile, WsClient, entry,
    eventually,
};

fn ended(reason: &str) -> String {
    format!("pubsub_disconnects_total{{reason=\"{reason}\"}}")
}

#[test]
fn disconnects_are_counted_by_reason() {
    let server = TestServer::with(|config| {
        config.max_message_bytes = 1000;
        config.heartbeat = Duration::from_millis(300);
    });
    let fragments = [
        Frame::unfinished(Opcode::Text, b"").masked(),
        Frame::with_first_byte(0x00, b"").masked().repeat(1024),
    ];
    let ends: [(&str, Vec<u8>); 5] = [
        ("protocol", Frame::text("{}").unmasked()),
        ("invalid_utf8", Frame::new(Opcode::Text, &[0xff]).masked()),
        ("too_big", Frame::text(&"x".repeat(2000)).masked()),
        ("policy", fragments.concat()),
        ("peer_closed", Frame::close(1000).masked()),
    ];
    for (reason, bytes) in &ends {
        let mut client = server.ws();
        client.send_bytes(bytes);
        client.close_code();
        client.expect_end();
        // The server waits for the peer to close before it closes the connection.
        drop(client);
        server.await_metric(&ended(reason), 1);
    }
    server.ws().reset();
    drop(server.ws());
    server.await_metric(&ended("peer_gone"), 2);
    // Silent from here on.
    let mut silent = server.ws();
    assert_eq!(silent.close_code(), Some(4102));
    silent.expect_end();
    drop(silent);
    server.await_metric(&ended("heartbeat"), 1);
    let page = server.metrics();
    assert_eq!(total(&page, "pubsub_disconnects_total"), 8);
    assert_eq!(page.count("pubsub_websockets_opened_total"), 8);
}

#[test]
fn write_timeout_is_counted() {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::DropOldest;
        config.send_buffer_bytes = 4 << 10;
        config.write_timeout = Duration::from_millis(200);
    });
    server.create_topic("orders");
    let mut stuck = server.small_buffer_ws();
    stuck.subscribe("orders", "stuck");
    server.ws().publish_padded("orders", 1, 200, 4 << 10);
    server.await_metric(&ended("write_timeout"), 1);
}

#[test]
fn accepted_and_rejected_connections_are_counted() {
    let server = TestServer::with(|config| config.max_connections = Some(3));
    let mut http = server.http();
    http.get("/livez").expect(200);
    let open = [server.ws(), server.ws()];
    let refused = [(); 4].map(|()| HttpClient::connect(server.addr()).read_reply().status);
    assert_eq!(refused, [503; 4]);
    let text = String::from_utf8(http.get("/metrics").body).unwrap();
    let page = crate::harness::Page::parse(&text);
    assert_eq!(
        page.count("pubsub_connections_rejected_total{reason=\"full\"}"),
        4
    );
    assert_eq!(page.count("pubsub_connections_accepted_total"), 3);
    assert_eq!(page.count("pubsub_connections"), 3);
    assert_eq!(page.count("pubsub_max_connections"), 3);
    drop(open);
}

#[test]
fn auth_failures_are_counted_by_place() {
    const KEY: (&str, &str) = ("X-API-Key", "s3cret");
    let file = TextFile::new(&entry("one", KEY.1, "admin = true"));
    let server = TestServer::with(|config| config.keys_file = Some(file.path().to_owned()));
    let mut http = server.http();
    let failures = |http: &mut HttpClient, door: &str, key: &str| {
        let reply = http.request("GET", "/metrics", &[("X-API-Key", key)], "");
        let page = crate::harness::Page::parse(std::str::from_utf8(&reply.body).unwrap());
        page.count(&format!("pubsub_auth_failures_total{{door=\"{door}\"}}"))
    };
    for path in ["/stats", "/metrics", "/topics", "/nowhere"] {
        assert_eq!(server.http().get(path).status, 401);
    }
    let wrong = [("Authorization", "Bearer wrong")];
    assert_eq!(http.request("GET", "/health", &wrong, "").status, 401);
    assert_eq!(failures(&mut http, "rest", KEY.1), 5);
    for _ in 0..2 {
        let mut unauthorized = server.http();
        unauthorized.send_raw(Dial::to(server.addr()).request().as_bytes());
        assert_eq!(unauthorized.read_reply().status, 401);
    }
    assert_eq!(failures(&mut http, "handshake", KEY.1), 2);
    let mut known: WsClient = Dial::to(server.addr()).field(KEY.0, KEY.1).connect();
    file.write(&entry("two", "other", "admin = true"));
    server.reload_keys().unwrap();
    assert_eq!(known.close_code(), Some(4001));
    known.expect_end();
    drop(known);
    eventually("the withdrawn key is counted", || {
        failures(&mut http, "connection", "other") == 1
    });
    let forbidden = entry("three", "weak", "");
    file.write(&(entry("two", "other", "admin = true") + &forbidden));
    server.reload_keys().unwrap();
    let weak = [("X-API-Key", "weak")];
    assert_eq!(http.request("GET", "/metrics", &weak, "").status, 403);
    assert_eq!(
        failures(&mut http, "rest", "other"),
        5,
        "403 is not an auth failure"
    );
}
