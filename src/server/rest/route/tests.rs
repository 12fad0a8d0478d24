//! Which request is which route, who may take it, and what is refused.

use super::*;

fn route(method: &str, target: &str) -> Route {
    Route::of(&super::super::fixture::head(method, target))
}

fn problem(method: &str, target: &str) -> Option<Problem> {
    match route(method, target) {
        Route::Refused(refusal) => Some(refusal.problem),
        _ => None,
    }
}

fn refusal(method: &str, target: &str) -> (u16, &'static str, String) {
    let problem = problem(method, target).unwrap();
    (problem.status, problem.code, problem.detail)
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

#[test]
fn every_row_of_the_contract_has_its_route() {
    let rows = [
        ("GET", "/", Route::Dashboard),
        ("GET", "/topics", Route::ListTopics(None)),
        ("POST", "/topics", Route::CreateTopic),
        (
            "GET",
            "/topics/a.b:c-d_1",
            Route::ShowTopic(name("a.b:c-d_1")),
        ),
        (
            "DELETE",
            "/topics/orders",
            Route::DeleteTopic(name("orders")),
        ),
        (
            "GET",
            "/topics/o/messages?last_n=2",
            Route::ReadMessages(name("o"), StartAt::Last(2)),
        ),
        (
            "POST",
            "/topics/o/messages",
            Route::PublishMessage(name("o")),
        ),
        (
            "GET",
            "/topics/messages",
            Route::ShowTopic(name("messages")),
        ),
        (
            "GET",
            "/topics/o/subscribers?limit=2",
            Route::ListSubscribers(name("o"), 2),
        ),
        ("GET", "/connections?limit=3", Route::ListConnections(3)),
        ("DELETE", "/connections/17", Route::CloseConnection(17)),
        ("GET", "/config", Route::ShowSettings),
        ("GET", "/health", Route::Health),
        ("GET", "/stats", Route::Stats),
        ("GET", "/metrics", Route::Metrics(Format::OpenMetrics)),
        (
            "GET",
            "/metrics?format=prometheus",
            Route::Metrics(Format::Prometheus),
        ),
        ("GET", "/livez", Route::Livez),
        ("GET", "/readyz", Route::Readyz),
        ("GET", "/openapi.json", Route::OpenApi),
        ("GET", "/asyncapi.json", Route::AsyncApi),
    ];
    for (method, path, expected) in rows {
        if method == "GET" {
            assert_eq!(route("HEAD", path), expected, "HEAD {path}");
        }
        assert_eq!(route(method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_path_takes_exactly_the_methods_its_allow_header_lists() {
    let methods = [
        "GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "get", "QUERY", "",
    ];
    for path in [
        "/",
        "/topics",
        "/topics/t",
        "/topics/t/messages",
        "/topics/t/events",
        "/topics/t/subscribers",
        "/connections",
        "/connections/17",
        "/config",
        "/health",
        "/stats",
        "/metrics",
        "/livez",
        "/readyz",
        "/openapi.json",
        "/asyncapi.json",
    ] {
        let refused = problem("PUT", path).unwrap();
        let [("Allow", allow)] = &refused.headers[..] else {
            panic!("no Allow for {path}")
        };
        for method in methods {
            let listed = allow.split(", ").any(|allowed| allowed == method);
            match problem(method, path) {
                None => assert!(listed, "{method} {path}"),
                Some(problem) => assert!(!listed && problem.status == 405, "{method} {path}"),
            }
        }
    }
}

#[test]
fn an_unknown_path_is_not_found_whatever_the_method() {
    for path in [
        "",
        "//",
        "*",
        "/topics/",
        "//topics",
        "/topics//messages",
        "/topics/t/",
        "/topics/t/messages/",
        "/topics/t/events/",
        "/topics//events",
        "/topics//subscribers",
        "/topics/t/subscribers/",
        "/topics/t/nonsense",
        "/connections/",
        "/connections/17/",
        "/config/port",
        "/Topics",
        "/health/",
        "/%FF",
        "/topics/%FF",
        "/topics%2Ft",
        "/metrics/",
        "/openapi",
        "/openapi.json/",
        "/topics/../health",
    ] {
        for method in ["GET", "POST", "PUT"] {
            let expected = (404, "NOT_FOUND", "Path not found".to_owned());
            assert_eq!(refusal(method, path), expected, "{method} {path}");
        }
    }
}

#[test]
fn percent_encoding_is_decoded_exactly_once() {
    assert_eq!(
        route("GET", "/%74opics/%6frders%3A1"),
        Route::ShowTopic(name("orders:1"))
    );
    for (path, topic) in [
        ("/topics/a%2Fb", "a/b"),
        ("/topics/a%25", "a%"),
        ("/topics/a%252Fb", "a%2Fb"),
        ("/topics/%20", " "),
        ("/topics/%C3%A4", "ä"),
        ("/topics/%00", "\0"),
        ("/topics/..", ".."),
        ("/topics/a+b/messages", "a+b"),
        ("/topics/shop.*/events", "shop.*"),
        ("/topics/shop.*/subscribers", "shop.*"),
    ] {
        let expected = (404, "TOPIC_NOT_FOUND", format!("Topic '{topic}' not found"));
        assert_eq!(refusal("GET", path), expected, "{path}");
    }
}

#[test]
fn what_is_no_id_is_the_id_of_no_connection() {
    for id in ["0x1", "-1", "+1", "01", "1.0", "a", "18446744073709551616"] {
        let expected = (
            404,
            "CONNECTION_NOT_FOUND",
            format!("Connection '{id}' not found"),
        );
        assert_eq!(refusal("DELETE", &format!("/connections/{id}")), expected);
    }
}

#[test]
fn broken_percent_encoding_is_a_bad_request_everywhere() {
    for path in [
        "/topics/%",
        "/topics/%4",
        "/topics/%zz",
        "/nowhere/%g0",
        "/topics/a%2",
        "/%+1",
    ] {
        let (status, code, _) = refusal("PUT", path);
        assert_eq!((status, code), (400, "BAD_REQUEST"), "{path}");
    }
}

#[test]
fn the_websocket_path_is_recognised_in_any_encoding() {
    for target in ["/ws", "/%77s?token=x", "/ws?token=%"] {
        assert_eq!(route("GET", target), Route::WebSocket, "{target}");
        assert_eq!(route("PUT", target), Route::WebSocket, "{target}");
    }
    for target in [
        "/", "/ws/", "//ws", "/%2577s", "/WS", "/wss", "/%zz", "/x/ws",
    ] {
        assert_ne!(route("GET", target), Route::WebSocket, "{target}");
    }
}

#[test]
fn every_route_needs_its_right() {
    let topic = || TopicName::new("a.b").unwrap();
    for (method, path, expected) in [
        ("GET", "/topics", Right::Admin),
        ("POST", "/topics", Right::Admin),
        ("DELETE", "/topics/a.b", Right::Admin),
        ("PATCH", "/topics/a.b", Right::Admin),
        ("GET", "/topics/a.b", Right::Subscribe(topic())),
        ("HEAD", "/topics/%61.b", Right::Subscribe(topic())),
        ("GET", "/topics/a.b/messages", Right::Subscribe(topic())),
        ("POST", "/topics/a%2Eb/messages", Right::Publish(topic())),
        ("GET", "/health", Right::Admin),
        ("GET", "/stats", Right::Admin),
        ("GET", "/openapi.json", Right::AnyKey),
        ("HEAD", "/asyncapi.json", Right::AnyKey),
        ("GET", "/connections", Right::Admin),
        ("DELETE", "/connections/1", Right::Admin),
        ("GET", "/config", Right::Admin),
        ("GET", "/", Right::Public),
        ("GET", "/metrics", Right::Admin),
        ("HEAD", "/metrics", Right::Admin),
        ("GET", "/livez", Right::Public),
        ("HEAD", "/ready%7A", Right::Public),
        ("POST", "/livez", Right::Public),
        ("POST", "/", Right::Public),
        ("GET", "/topics/a.b/messages?x=1", Right::Subscribe(topic())),
        ("GET", "/topics/a.b/events", Right::Subscribe(topic())),
        ("GET", "/topics/a.b/subscribers", Right::Subscribe(topic())),
        (
            "GET",
            "/topics/a.b/subscribers?limit=0",
            Right::Subscribe(topic()),
        ),
        ("HEAD", "/topics/a.b/events?x=1", Right::Subscribe(topic())),
        ("GET", "/topics?match=a/b", Right::Admin),
        ("GET", "/connections?x=1", Right::Admin),
        ("GET", "/metrics?format=x", Right::Admin),
    ] {
        assert_eq!(route(method, path).right(), expected, "{method} {path}");
    }
}

#[test]
fn strangers_learn_of_no_path_whether_it_exists() {
    for (method, path) in [
        ("GET", "//"),
        ("GET", "/nowhere"),
        ("GET", "/%zz"),
        ("PUT", "/topics"),
        ("get", "/stats"),
        ("GET", "/topics/a%2Fb"),
        ("GET", "/connections/1"),
        ("DELETE", "/connections/x"),
        ("GET", "/livez/"),
        ("GET", "//livez"),
        ("GET", "/livez/../stats"),
        ("GET", "/LIVEZ"),
    ] {
        assert_eq!(
            route(method, path).right(),
            Right::AnyKey,
            "{method} {path}"
        );
    }
}
