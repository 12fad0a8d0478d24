//! Who may open a stream, and with what: credentials, rights, limits.

use serde_json::json;

use crate::harness::{
    HttpClient, Reply, StreamClient, TestServer, TextFile, code_of, entry, eventually,
};

const PATH: &str = "/topics/orders/events";

fn with_key() -> TestServer {
    let server = TestServer::with(|config| {
        config.api_key = Some(threadcast::ApiKey::new("secret").unwrap());
    });
    let fields = [("X-API-Key", "secret")];
    let body = r#"{"name":"orders"}"#;
    server
        .http()
        .request("POST", "/topics", &fields, body)
        .expect(201);
    server
}

fn get(server: &TestServer, path: &str, fields: &[(&str, &str)]) -> Reply {
    HttpClient::connect(server.addr()).request("GET", path, fields, "")
}

#[test]
fn a_key_is_taken_from_headers_and_from_the_query() {
    let server = with_key();
    for (query, fields) in [
        ("", &[("Authorization", "Bearer secret")][..]),
        ("", &[("X-API-Key", "secret")]),
        ("?token=secret", &[]),
        ("?client_id=a&%74oken=%73ecret", &[]),
        ("?token=secret", &[("X-API-Key", "secret")]),
    ] {
        let path = format!("{PATH}{query}");
        StreamClient::open_with(server.addr(), &path, fields).expect("ack");
    }
    for (query, fields) in [
        ("", &[][..]),
        ("?token=wrong", &[]),
        ("?token=", &[]),
        ("?token=secret", &[("X-API-Key", "wrong")]),
        ("?token=secret&token=wrong", &[]),
    ] {
        let reply = get(&server, &format!("{PATH}{query}"), fields);
        reply.expect_problem(401, "UNAUTHORIZED");
    }
    let elsewhere = get(&server, "/topics/orders?token=secret", &[]);
    elsewhere.expect_problem(401, "UNAUTHORIZED");
}

#[test]
fn a_key_streams_only_what_it_may_subscribe_to_and_loses_it_with_its_right() {
    let admin = entry("admin", "a", "admin = true");
    let reader = entry("reader", "r", "subscribe = [\"orders\"]");
    let file = TextFile::new(&format!("{admin}{reader}"));
    let server = TestServer::with(|config| config.keys_file = Some(file.path().into()));
    for name in ["orders", "secrets"] {
        let body = json!({"name": name}).to_string();
        let fields = [("X-API-Key", "a")];
        server
            .http()
            .request("POST", "/topics", &fields, &body)
            .expect(201);
    }
    let path = format!("{PATH}?token=r");
    let mut stream = StreamClient::open(server.addr(), &path);
    stream.expect("ack");
    for path in [
        "/topics/secrets/events?token=r",
        "/topics/none/events?token=r",
        "/topics/orders/events?token=a",
    ] {
        get(&server, path, &[]).expect_problem(403, "FORBIDDEN");
    }
    file.write(&admin);
    server.reload_keys().unwrap();
    let failure = stream.expect("failure");
    assert_eq!(code_of(&failure.data), "UNAUTHORIZED");
    stream.expect_end();
    get(&server, &path, &[]).expect_problem(401, "UNAUTHORIZED");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_subscribed() {
    let server = TestServer::with_topic("orders");
    for (path, fields, status, code, detail) in [
        (
            "/topics/none/events",
            &[][..],
            404,
            "TOPIC_NOT_FOUND",
            "Topic 'none' not found",
        ),
        (
            "/topics/or*/events",
            &[],
            404,
            "TOPIC_NOT_FOUND",
            "Topic 'or*' not found",
        ),
        (
            "/topics/orders/events?last_n=x",
            &[],
            422,
            "VALIDATION_ERROR",
            "last_n must be an integer of at least 0",
        ),
        (
            "/topics/none/events?last_n=x",
            &[],
            422,
            "VALIDATION_ERROR",
            "last_n must be an integer of at least 0",
        ),
        (
            "/topics/orders/events?positions=x",
            &[],
            422,
            "VALIDATION_ERROR",
            "unknown query parameter 'positions'",
        ),
        (
            "/topics/orders/events?client_id=",
            &[],
            422,
            "VALIDATION_ERROR",
            "client_id must be a string of 1 to 128 characters",
        ),
        (
            PATH,
            &[("Last-Event-ID", "7")],
            422,
            "VALIDATION_ERROR",
            "Last-Event-ID must be <epoch>:<seq>",
        ),
        (
            "/topics/orders/events?a=%zz",
            &[],
            400,
            "BAD_REQUEST",
            "The target has a broken percent-encoding",
        ),
    ] {
        let reply = get(&server, path, fields);
        assert_eq!(reply.expect_problem(status, code), detail, "{path}");
    }
    let mut http = server.http();
    for method in ["POST", "PUT", "DELETE"] {
        let reply = http.request(method, PATH, &[], "");
        assert_eq!(
            (reply.status, reply.header("Allow")),
            (405, Some("GET, HEAD, OPTIONS"))
        );
    }
    assert_eq!(server.topic("orders")["subscribers"], 0);
}

#[test]
fn a_full_server_refuses_a_stream_and_takes_one_again() {
    let server = TestServer::with(|config| config.max_connections = Some(4));
    server.create_topic("orders");
    eventually("a free connection", || server.health()["connections"] == 1);
    let mut streams: Vec<_> = (0..3).map(|_| server.stream("orders", "")).collect();
    let mut http = HttpClient::connect(server.addr());
    http.get("/livez").expect(200);
    let full = HttpClient::connect(server.addr()).read_to_end();
    assert!(full.starts_with("HTTP/1.1 503"), "{full}");
    assert!(full.to_lowercase().contains("retry-after"), "{full}");
    drop(streams.pop());
    eventually("room again", || {
        let reply = HttpClient::try_connect(server.addr())
            .ok()
            .and_then(|mut http| {
                http.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
                http.try_read_reply()
            });
        reply.is_some_and(|reply| reply.status == 200)
    });
}

#[test]
fn a_page_of_a_foreign_origin_opens_no_stream_and_takes_nobodys_place() {
    let server = TestServer::with(|config| {
        config.allowed_origins = vec!["https://app.example".into()];
    });
    server.create_topic("orders");
    let path = format!("{PATH}?client_id=c");
    let mut stream = StreamClient::open(server.addr(), &path);
    stream.expect("ack");
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let reply = get(&server, &path, &[("Origin", origin)]);
        reply.expect_problem(403, "FORBIDDEN");
    }
    server.ws().publish("orders", &json!(1));
    stream.expect("event");
    let own = format!("http://{}", server.addr());
    for origin in ["https://app.example", &own] {
        StreamClient::open_with(server.addr(), PATH, &[("Origin", origin)]).expect("ack");
    }
}

#[test]
fn a_position_ahead_of_the_topic_is_refused() {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, 3);
    let id = |seq: u64| {
        format!(
            "{}:{seq}",
            server.topic("orders")["epoch"].as_str().unwrap()
        )
    };
    let refused = get(&server, &format!("{PATH}?after_seq=4"), &[]);
    let detail = refused.expect_problem(422, "VALIDATION_ERROR");
    assert_eq!(detail, "after_seq is ahead of the topic");
    let refused = get(&server, PATH, &[("Last-Event-ID", &id(4))]);
    let detail = refused.expect_problem(422, "VALIDATION_ERROR");
    assert_eq!(detail, "Last-Event-ID is ahead of the topic");
    StreamClient::resume(server.addr(), PATH, &id(3)).expect("ack");
}

#[test]
fn a_stream_creates_its_topic_where_a_subscribe_does_and_a_head_does_not() {
    let server = TestServer::with(|config| config.auto_create_topics = true);
    let reply = HttpClient::connect(server.addr()).request("HEAD", PATH, &[], "");
    assert_eq!(reply.status, 404, "{reply}");
    let mut stream = server.stream("orders", "");
    stream.expect("ack");
    server.ws().publish("orders", &json!(1));
    stream.expect("event");
    let reply = get(&server, "/topics/gone/events", &[("Last-Event-ID", "e:7")]);
    reply.expect_problem(404, "TOPIC_NOT_FOUND");
}
