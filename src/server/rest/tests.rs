//! Properties of all routes.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::Value;

use super::Route;
use super::fixture::{Server, delete, get, head, post, post_labelled_otherwise, problem, request};
use crate::server::http::Response;
use crate::server::http::head::Head;

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    let mut headers = response.headers.iter();
    let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::new();
    for (method, path, allow) in [
        ("PUT", "/topics", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/topics", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/topics/none", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("PATCH", "/topics/none/messages", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("POST", "/connections", "GET, HEAD, OPTIONS"),
        ("GET", "/connections/17", "DELETE, OPTIONS"),
        ("PUT", "/config", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("BREW", "/stats", "GET, HEAD, OPTIONS"),
        ("DELETE", "/livez", "GET, HEAD, OPTIONS"),
        ("POST", "/readyz", "GET, HEAD, OPTIONS"),
        ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        let response = server.respond(&request(method, path, b"{}"));
        assert_eq!(header(&response, "allow"), Some(allow), "{method} {path}");
        let detail = format!("This path allows {allow}");
        let body = problem(405, "METHOD_NOT_ALLOWED", "Method Not Allowed", &detail);
        assert_eq!((response.status, response.body), (405, body.into_bytes()));
    }
}

#[test]
fn every_error_has_its_exact_body() {
    let server = Server::new();
    let media_type = "The body must be application/json";
    for (request, status, title, code, detail) in [
        (
            get("/%zz"),
            400,
            "Bad Request",
            "BAD_REQUEST",
            "The target has a broken percent-encoding",
        ),
        (
            get("/topics/t/messages?epoch=%"),
            400,
            "Bad Request",
            "BAD_REQUEST",
            "The target has a broken percent-encoding",
        ),
        (
            get("/nowhere"),
            404,
            "Not Found",
            "NOT_FOUND",
            "Path not found",
        ),
        (
            get("/topics/a%2Fb"),
            404,
            "Not Found",
            "TOPIC_NOT_FOUND",
            "Topic 'a/b' not found",
        ),
        (
            post_labelled_otherwise("/topics", b""),
            415,
            "Unsupported Media Type",
            "UNSUPPORTED_MEDIA_TYPE",
            media_type,
        ),
        (
            post_labelled_otherwise("/topics/t/messages", b""),
            415,
            "Unsupported Media Type",
            "UNSUPPORTED_MEDIA_TYPE",
            media_type,
        ),
        (
            post("/topics", b"{}"),
            422,
            "Unprocessable Content",
            "VALIDATION_ERROR",
            "name is required",
        ),
    ] {
        let body = problem(status, code, title, detail);
        assert_eq!(
            server.answer(&request),
            (status, body),
            "{:?}",
            request.route
        );
    }
}

#[test]
fn head_is_answered_as_get() {
    let server = Server::new();
    server.create("t");
    server.publish("t", "1");
    for target in [
        "/",
        "/topics",
        "/topics/t",
        "/topics/t/messages?last_n=1",
        "/topics/t/messages?last_n=x",
        "/connections",
        "/connections?limit=x",
        "/config",
        "/health",
        "/stats",
        "/livez",
        "/readyz",
        "/openapi.json",
        "/asyncapi.json",
        "/nowhere",
    ] {
        let head = server.answer(&request("HEAD", target, b""));
        assert_eq!(head, server.answer(&get(target)), "{target}");
    }
}

#[test]
fn a_body_that_nobody_asked_for_is_ignored() {
    let server = Server::new();
    server.create("t");
    for (method, target) in [
        ("GET", "/topics?x=1"),
        ("GET", "/stats"),
        ("DELETE", "/topics/t"),
    ] {
        let mut request = request(method, target, b"\xff{");
        request.body_may_be_json = false;
        assert_eq!(server.respond(&request).status, 200, "{method} {target}");
    }
}

#[test]
fn a_draining_server_changes_nothing_and_still_tells() {
    let server = Server::new();
    server.create("t");
    server.publish("t", "1");
    server.drain();
    let body = problem(
        503,
        "SHUTTING_DOWN",
        "Service Unavailable",
        "The server is shutting down",
    );
    for request in [
        post("/topics", br#"{"name":"u"}"#),
        post("/topics", b"nonsense"),
        post("/topics/t/messages", br#"{"payload":1}"#),
        post("/topics/none/messages", br#"{"payload":1}"#),
        delete("/topics/t"),
        delete("/connections/17"),
        get("/readyz"),
    ] {
        let response = server.respond(&request);
        let retry_after = header(&response, "retry-after").map(str::parse::<u32>);
        assert!(
            matches!(retry_after, Some(Ok(1..=60))),
            "{:?}",
            request.route
        );
        let text = String::from_utf8(response.body).unwrap();
        assert_eq!((response.status, text), (503, body.clone()));
    }
    assert_eq!(server.json(&get("/health"))["status"], "draining");
    assert_eq!(server.json(&get("/topics/t"))["messages"], 1);
    assert_eq!(
        server.json(&get("/topics/t/messages"))["events"][0]["seq"],
        1
    );
    for target in ["/topics", "/connections", "/config", "/stats", "/livez"] {
        assert_eq!(server.respond(&get(target)).status, 200, "{target}");
    }
    assert_eq!(server.answer(&post("/nowhere", b"")).0, 404);
}

fn any_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just("topics"), 1 => Just("connections"), 1 => Just("config"), 3 => Just("a"), 2 => Just("messages"), 1 => Just("health"),
        1 => Just("readyz"), 1 => Just("%2F"), 1 => Just("%"), 1 => Just(""), 1 => Just("%ff"),
    ];
    let likely =
        proptest::collection::vec(part, 0..5).prop_map(|parts| format!("/{}", parts.join("/")));
    prop_oneof![
        likely,
        "(/topics/)?.{0,20}",
        "/topics/[ab]",
        "/topics/[ab]/messages"
    ]
}

fn any_query() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(prop_oneof![
        "((last_n|after_seq|epoch|limit|x)=[0-9a%]{0,3}&?){0,3}",
        ".{0,20}"
    ])
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let value = "null|1|-1|0|\"\"|\"a\"|\"b\"|\"c\"|\"block\"|\\[\\]|\\{\\}|1.5|\"\\\\u00";
    let field = "name|history_size|max_queue_size|overflow|payload|id";
    let likely = format!("\\{{(\"({field})\":({value}),?){{0,3}}\\}}");
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::string::string_regex(&likely)
            .unwrap()
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_every_refusal_is_a_problem(
        requests in proptest::collection::vec(
            ("GET|HEAD|POST|DELETE|PUT|[!-~]{0,8}", any_path(), any_query(), any_body(), any::<bool>()),
            1..20,
        ),
        draining: bool,
    ) {
        let server = Server::with_max_topics(2);
        server.create("a");
        if draining {
            server.drain();
        }
        for (method, path, query, body, may_be_json) in requests {
            let head = Head { path, query, ..head(&method, "") };
            let mut request = request(&method, "", &body);
            (request.route, request.body_may_be_json) = (Route::of(&head), may_be_json);
            let response = server.respond(&request);
            if response.content_type.starts_with("text/html") {
                prop_assert!(response.status == 200 && head.path == "/");
                continue;
            }
            let json: Value = serde_json::from_slice(&response.body).unwrap();
            prop_assert!(json.is_object());
            if matches!(response.status, 200 | 201) {
                prop_assert_eq!(response.content_type, "application/json");
            } else {
                prop_assert_eq!(response.content_type, "application/problem+json");
                prop_assert_eq!(json["status"].as_u64(), Some(response.status.into()));
                prop_assert!(json["detail"].is_string() && json["code"].is_string());
                prop_assert!((400..=503).contains(&response.status) && response.status != 500);
            }
            let plain = |(_, value): &(Cow<'static, str>, String)| value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            prop_assert!(response.headers.iter().all(plain));
        }
    }
}
