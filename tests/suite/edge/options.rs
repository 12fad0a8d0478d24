//! OPTIONS without an origin: which methods a path has, and the plain health check of proxies.

use crate::harness::{ChildServer, Dial, HttpClient, Reply, TestServer};

fn answer(server: &TestServer, bytes: &str) -> (Reply, HttpClient) {
    let mut http = HttpClient::connect(server.addr());
    http.send_raw(bytes.as_bytes());
    (http.read_reply(), http)
}

#[test]
fn options_of_a_path_lists_its_methods() {
    let server = TestServer::start();
    let mut http = HttpClient::connect(server.addr());
    for (path, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/topics", "GET, HEAD, POST, OPTIONS"),
        ("/topics?match=%zz", "GET, HEAD, POST, OPTIONS"),
        ("/topics/none", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("/topics/none/messages", "GET, HEAD, POST, OPTIONS"),
        ("/topics/none/events", "GET, HEAD, OPTIONS"),
        ("/topics/none/subscribers", "GET, HEAD, OPTIONS"),
        ("/connections", "GET, HEAD, OPTIONS"),
        ("/connections/7", "DELETE, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/ws", "GET, OPTIONS"),
        ("*", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
    ] {
        let reply = http.request("OPTIONS", path, &[], "");
        assert_eq!(reply.status, 204, "{path}: {reply}");
        assert_eq!(reply.header("Allow"), Some(allow), "{path}");
        assert_eq!(reply.header("Content-Length"), None, "{reply}");
    }
    for path in ["/nowhere", "/topics/*/x", "/*"] {
        let reply = http.request("OPTIONS", path, &[], "");
        reply.expect_problem(404, "NOT_FOUND");
    }
    let reply = http.request("OPTIONS", "/topics/bad*name", &[], "");
    reply.expect_problem(404, "TOPIC_NOT_FOUND");
    let reply = http.request("OPTIONS", "/topics", &[], r#"{"ignored":1}"#);
    assert_eq!(reply.status, 204, "with a body: {reply}");
    http.get("/livez").expect(200);
}

/// Byte for byte what `option httpchk` sends, and what is like it.
#[test]
fn plain_health_check_of_a_proxy_finds_the_server_healthy() {
    let server = TestServer::with(|config| {
        config.api_key = Some(threadcast::ApiKey::new("s3cret").unwrap());
    });
    for request in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\n\r\n",
        "OPTIONS /topics HTTP/1.0\r\n\r\n",
        "OPTIONS / HTTP/1.0\r\nHost: x\r\n\r\n",
        "OPTIONS / HTTP/1.0\r\nConnection: close\r\n\r\n",
    ] {
        let (reply, mut http) = answer(&server, request);
        assert_eq!(reply.status, 204, "{request:?}: {reply}");
        http.expect_end();
    }
    let (reply, mut http) = answer(&server, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(reply.status, 204, "{reply}");
    http.get("/livez").expect(200);
    let (reply, _) = answer(&server, "OPTIONS /nowhere HTTP/1.0\r\n\r\n");
    reply.expect_problem(404, "NOT_FOUND");
}

#[test]
fn star_is_a_target_of_options_only_and_other_rules_stay() {
    let server = TestServer::start();
    for request in [
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        "options * HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST * HTTP/1.0\r\n\r\n",
        "OPTIONS ** HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS *?a HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS  HTTP/1.0\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "OPTIONS / HTTP/1.0\n\n",
        "OPTIONS /\r\n\r\n",
        "OPTIONS / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let (reply, mut http) = answer(&server, request);
        assert_eq!(reply.status, 400, "{request:?}: {reply}");
        http.expect_end();
    }
}

#[test]
fn draining_server_is_not_healthy() {
    let mut server = ChildServer::start(&[("PUBSUB_DRAIN_TIMEOUT_SECS", "5")]);
    let mut checks = [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS /topics HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    .map(|request| {
        let mut http = HttpClient::connect(server.addr());
        http.get("/livez").expect(200);
        (http, request)
    });
    let mut held = Dial::to(server.addr()).connect();
    held.fence();
    server.signal("TERM");
    held.next_info("server_shutdown");
    for (http, request) in &mut checks {
        http.send_raw(request.as_bytes());
        let reply = http.read_reply();
        reply.expect_problem(503, "SHUTTING_DOWN");
        assert!(reply.header("Retry-After").is_some(), "{reply}");
    }
    drop(held);
    server.wait();
}
