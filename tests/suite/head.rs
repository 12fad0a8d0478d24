//! A response to HEAD has no body (RFC 9110, section 9.3.2), whatever its status and whichever part of the server makes it.

use std::time::Duration;

use threadcast::ApiKey;

use crate::harness::TestServer;

const KEY: &str = "X-API-Key: the-key\r\n";

/// Everything the server sends in response until it closes.
fn answer(server: &TestServer, request: &str) -> String {
    let mut http = server.http();
    http.try_send_raw(request.as_bytes());
    http.read_to_end()
}

fn assert_only_a_head(request: &str, status: u16, response: &str) {
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")),
        "{request:?}: {response:?}"
    );
    let length = response
        .to_ascii_lowercase()
        .contains("\r\ncontent-length: ");
    assert!(length, "{request:?}: {response:?}");
    let head = response.find("\r\n\r\n").map(|end| end + 4);
    assert_eq!(head, Some(response.len()), "{request:?}: {response:?}");
}

#[test]
fn response_to_head_never_has_a_body() {
    let server = TestServer::with(|config| {
        config.api_key = Some(ApiKey::new("the-key").unwrap());
        config.request_timeout = Duration::from_millis(300);
    });
    let long_target = "/x".repeat(2500);
    let large_field = format!("X: {}\r\n", "x".repeat(17 << 10));
    let length = |bytes: &str| format!("Content-Length: {bytes}\r\n");
    for (status, target, fields) in [
        (200, "/topics", KEY.to_owned()),
        (404, "/nowhere", KEY.to_owned()),
        (404, "/topics/none", KEY.to_owned()),
        (401, "/topics", String::new()),
        (401, "/topics", length("5") + "\r\nhello"),
        (401, "/ws", String::new()),
        (405, "/ws", KEY.to_owned()),
        (413, "/topics", KEY.to_owned() + &length("99999999")),
        (400, "/topics", "Content-Length: x\r\n".to_owned()),
        (400, "/topics", "Bad Name: x\r\n".to_owned()),
        (400, "/topics/%zz", KEY.to_owned()),
        (414, &long_target, String::new()),
        (431, "/topics", large_field),
    ] {
        let request =
            format!("HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        assert_only_a_head(&request, status, &answer(&server, &request));
    }
    for (status, request) in [
        (505, "HEAD / HTTP/2.0\r\nHost: x\r\n\r\n"),
        (408, "HEAD / HTTP/1.1\r\nHost: x\r\n"),
    ] {
        assert_only_a_head(request, status, &answer(&server, request));
    }
}

#[test]
fn response_to_head_is_followed_directly_by_the_next_response() {
    let server = TestServer::start();
    let head = "HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let get = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let response = answer(&server, &format!("{head}{head}{get}"));
    let answers: Vec<&str> = response.split("\r\n\r\n").collect();
    assert_eq!(answers.len(), 4, "{response:?}");
    assert!(answers[0].starts_with("HTTP/1.1 404 "), "{response:?}");
    assert!(answers[1].starts_with("HTTP/1.1 404 "), "{response:?}");
    assert!(answers[2].starts_with("HTTP/1.1 200 "), "{response:?}");
    assert_eq!(answers[3], r#"{"status":"ok"}"#);
}

#[test]
fn methods_that_resemble_head_are_answered_405() {
    let server = TestServer::start();
    for method in ["head", "HEADER"] {
        let mut http = server.http();
        http.request(method, "/topics", &[], "")
            .expect_problem(405, "METHOD_NOT_ALLOWED");
    }
}
