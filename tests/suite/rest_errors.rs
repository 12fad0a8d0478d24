//! REST errors: paths, methods, media types, origins.

use serde_json::json;

use crate::harness::TestServer;

#[test]
fn unknown_path_is_answered_404() {
    let server = TestServer::start();
    let mut http = server.http();
    for path in [
        "/nowhere",
        "/topics/a/b",
        "/topics/a/messages/1",
        "//topics",
        "/TOPICS",
        "/ws/x",
        "/%2e%2e/topics",
    ] {
        http.get(path).expect_problem(404, "NOT_FOUND");
    }
    http.post("/nowhere", &json!({}))
        .expect_problem(404, "NOT_FOUND");
}

#[test]
fn invalid_topic_name_is_answered_404() {
    let server = TestServer::with_topic("orders");
    let mut http = server.http();
    let too_long = "n".repeat(129);
    for name in [
        "-a",
        "a%20b",
        "%C3%A9",
        "%2e",
        "a%00",
        "orders%0A",
        "a%2Fb",
        "%256frders",
        &too_long,
    ] {
        for path in [
            format!("/topics/{name}"),
            format!("/topics/{name}/messages"),
            format!("/topics/{name}/subscribers"),
        ] {
            assert_eq!(http.get(&path).status, 404, "{path}");
        }
        let path = format!("/topics/{name}");
        assert_eq!(http.delete(&path).status, 404, "{path}");
        let path = format!("/topics/{name}/messages");
        assert_eq!(
            http.post(&path, &json!({"payload": 1})).status,
            404,
            "{path}"
        );
    }
}

#[test]
fn broken_percent_encoding_is_answered_400() {
    let server = TestServer::start();
    for path in [
        "/topics/%",
        "/topics/%4",
        "/topics/%zz",
        "/topics/a%g0",
        "/%",
    ] {
        server.http().get(path).expect_problem(400, "BAD_REQUEST");
    }
}

#[test]
fn wrong_method_is_answered_405_with_the_allowed_methods() {
    let server = TestServer::with_topic("orders");
    for (method, path, allowed) in [
        ("DELETE", "/topics", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/topics", "GET, HEAD, OPTIONS, POST"),
        (
            "POST",
            "/topics/orders",
            "DELETE, GET, HEAD, OPTIONS, PATCH",
        ),
        ("PUT", "/topics/orders", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        (
            "DELETE",
            "/topics/orders/messages",
            "GET, HEAD, OPTIONS, POST",
        ),
        ("POST", "/topics/orders/subscribers", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("DELETE", "/stats", "GET, HEAD, OPTIONS"),
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
        ("POST", "/livez", "GET, HEAD, OPTIONS"),
        ("PUT", "/readyz", "GET, HEAD, OPTIONS"),
        ("BREW", "/topics", "GET, HEAD, OPTIONS, POST"),
    ] {
        let reply = server.http().request(method, path, &[], "");
        reply.expect_problem(405, "METHOD_NOT_ALLOWED");
        let mut methods: Vec<_> = reply
            .header("Allow")
            .unwrap()
            .split(',')
            .map(str::trim)
            .collect();
        methods.sort_unstable();
        assert_eq!(methods.join(", "), allowed, "{method} {path}");
    }
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn body_may_have_a_json_media_type_or_none() {
    let server = TestServer::start();
    for (n, label) in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/cloudevents+json",
        "application/x-www-form-urlencoded",
    ]
    .iter()
    .enumerate()
    {
        let body = json!({"name": format!("t{n}")}).to_string();
        let reply = server
            .http()
            .request("POST", "/topics", &[("Content-Type", label)], &body);
        assert_eq!(reply.status, 201, "{label}: {reply}");
    }
    let reply = server
        .http()
        .request("POST", "/topics", &[], r#"{"name":"unlabelled"}"#);
    reply.expect(201);
}

#[test]
fn other_media_types_are_answered_415() {
    let server = TestServer::with_topic("orders");
    for label in [
        "text/plain",
        "application/xml",
        "text/json",
        "multipart/form-data; boundary=x",
        "json",
        "application/jsonx",
    ] {
        for (path, body) in [
            ("/topics", r#"{"name":"a"}"#),
            ("/topics/orders/messages", r#"{"payload":1}"#),
        ] {
            let reply = server
                .http()
                .request("POST", path, &[("Content-Type", label)], body);
            reply.expect_problem(415, "UNSUPPORTED_MEDIA_TYPE");
        }
    }
}

#[test]
fn form_body_that_is_not_json_is_answered_422() {
    let server = TestServer::start();
    let label = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = server
        .http()
        .request("POST", "/topics", &label, "name=orders");
    reply.expect_problem(422, "VALIDATION_ERROR");
}

#[test]
fn foreign_origin_may_read_but_not_write() {
    let server = TestServer::with_topic("orders");
    let foreign = [("Origin", "http://evil.example")];
    let body = r#"{"name":"a"}"#;
    let mut http = server.http();
    http.request("POST", "/topics", &foreign, body)
        .expect_problem(403, "FORBIDDEN");
    http.request("DELETE", "/topics/orders", &foreign, "")
        .expect_problem(403, "FORBIDDEN");
    let publish = r#"{"payload":1}"#;
    http.request("POST", "/topics/orders/messages", &foreign, publish)
        .expect_problem(403, "FORBIDDEN");
    http.request("GET", "/topics", &foreign, "").expect(200);
    assert_eq!(http.request("HEAD", "/topics", &foreign, "").status, 200);
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn same_host_and_listed_origins_may_write() {
    let server =
        TestServer::with(|config| config.allowed_origins = vec!["https://shop.example".to_owned()]);
    let own = format!("http://{}", server.addr());
    for (name, origin) in [("a", own.as_str()), ("b", "https://shop.example")] {
        let body = json!({"name": name}).to_string();
        server
            .http()
            .request("POST", "/topics", &[("Origin", origin)], &body)
            .expect(201);
    }
}

#[test]
fn error_keeps_the_connection_if_the_request_was_read() {
    let server = TestServer::start();
    let mut http = server.http();
    http.get("/nowhere").expect_problem(404, "NOT_FOUND");
    http.post_text("/topics", "{")
        .expect_problem(422, "VALIDATION_ERROR");
    http.request("PUT", "/topics", &[], "")
        .expect_problem(405, "METHOD_NOT_ALLOWED");
    http.get("/health").expect(200);
}

#[test]
fn user_text_in_an_error_stays_in_the_body() {
    let server = TestServer::start();
    let reply = server.http().get("/topics/x%0D%0AX-Injected:%20yes");
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("X-Injected"), None);
}
