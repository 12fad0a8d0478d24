//! REST: every route with every form of a credential.

use super::{API_KEY, KEYS, WRONG, expect_unauthorized, guarded};
use crate::harness::{HttpClient, Reply, TestServer};

/// The right that a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Everyone,
    AnyKey,
    Admin,
    Publish,
    Subscribe,
}
use Right::{Admin, AnyKey, Everyone, Publish, Subscribe};

/// Method, path, body, right, and the status with that right.
const ROUTES: [(&str, &str, &str, Right, u16); 51] = [
    ("GET", "/", "", Everyone, 200),
    ("HEAD", "/", "", Everyone, 200),
    ("DELETE", "/", "", Everyone, 405),
    ("GET", "/livez", "", Everyone, 200),
    ("HEAD", "/livez", "", Everyone, 200),
    ("GET", "/readyz", "", Everyone, 200),
    ("GET", "/%72eadyz", "", Everyone, 200),
    ("PUT", "/livez", "", Everyone, 405),
    ("GET", "/topics", "", Admin, 200),
    ("HEAD", "/topics", "", Admin, 200),
    ("POST", "/topics", r#"{"name":"orders"}"#, Admin, 409),
    ("POST", "/topics", "nonsense", Admin, 422),
    ("DELETE", "/topics/absent", "", Admin, 404),
    ("GET", "/health", "", Admin, 200),
    ("HEAD", "/%68ealth", "", Admin, 200),
    ("GET", "/stats", "", Admin, 200),
    ("GET", "/connections", "", Admin, 200),
    ("HEAD", "/connections?limit=1", "", Admin, 200),
    ("GET", "/connections?limit=x", "", Admin, 422),
    ("DELETE", "/connections/999999", "", Admin, 404),
    ("GET", "/topics/absent/events", "", Subscribe, 404),
    ("HEAD", "/topics/orders/events", "", Subscribe, 200),
    ("GET", "/topics/orders/subscribers", "", Subscribe, 200),
    ("HEAD", "/topics/orders/subscribers", "", Subscribe, 200),
    (
        "GET",
        "/topics/orders/subscribers?limit=0",
        "",
        Subscribe,
        422,
    ),
    ("GET", "/topics/%61bsent/subscribers", "", Subscribe, 404),
    ("GET", "/config", "", Admin, 200),
    ("HEAD", "/%63onfig", "", Admin, 200),
    ("GET", "/metrics", "", Admin, 200),
    ("HEAD", "/%6Detrics", "", Admin, 200),
    ("GET", "/metrics?format=x", "", Admin, 422),
    ("GET", "/topics/orders", "", Subscribe, 200),
    ("HEAD", "/topics/orders", "", Subscribe, 200),
    ("GET", "/topics/absent", "", Subscribe, 404),
    ("GET", "/topics/orders/messages", "", Subscribe, 200),
    (
        "GET",
        "/topics/orders/messages?last_n=x",
        "",
        Subscribe,
        422,
    ),
    ("GET", "/topics/%61bsent/messages", "", Subscribe, 404),
    (
        "POST",
        "/topics/orders/messages",
        r#"{"payload":1}"#,
        Publish,
        201,
    ),
    (
        "POST",
        "/topics/absent/messages",
        r#"{"payload":1}"#,
        Publish,
        404,
    ),
    ("GET", "/openapi.json", "", AnyKey, 200),
    ("HEAD", "/openapi.json", "", AnyKey, 200),
    ("GET", "/asyncapi.json", "", AnyKey, 200),
    ("GET", "/nowhere", "", AnyKey, 404),
    ("GET", "/topics/a%2Fb", "", AnyKey, 404),
    ("GET", "/%zz", "", AnyKey, 400),
    ("PATCH", "/topics", "", AnyKey, 405),
    ("GET", "/connections/1", "", AnyKey, 405),
    ("DELETE", "/connections/x", "", AnyKey, 404),
    ("POST", "/connections", "", AnyKey, 405),
    ("DELETE", "/config", "", AnyKey, 405),
    ("GET", "/ws", "", AnyKey, 426),
];

/// Headers that count as no credential on any route.
const STRANGERS: [&[(&str, &str)]; 14] = [
    &[],
    &[("Authorization", "Bearer the-wrong-key")],
    &[("X-API-Key", "the-wrong-key")],
    &[("Authorization", "Basic the-api-key")],
    &[("Authorization", "Basic dGhlLWFwaS1rZXk6")],
    &[("Authorization", "the-api-key")],
    &[("Authorization", "Bearer")],
    &[("Authorization", "Bearer the-api-key x")],
    &[("X-API-Key", "")],
    &[("X-API-Key", "THE-API-KEY")],
    &[("X-API-Key", "the-api-ke")],
    &[
        ("X-API-Key", "the-api-key"),
        ("Authorization", "Bearer admin-secret"),
    ],
    &[("X-API-Key", "the-api-key"), ("X-API-Key", "the-wrong-key")],
    &[("Cookie", "token=the-api-key")],
];

fn may(name: &str, right: Right) -> bool {
    match right {
        Everyone | AnyKey => true,
        Admin => name == "admin",
        Publish => name == "publisher",
        Subscribe => name == "subscriber",
    }
}

fn ask(server: &TestServer, route: (&str, &str, &str), fields: &[(&str, &str)]) -> Reply {
    let (method, path, body) = route;
    server.http().request(method, path, fields, body)
}

#[test]
fn unauthorized_requests_get_the_same_response_on_every_route() {
    let (server, _file) = guarded();
    for (method, path, body, right, status) in ROUTES {
        for fields in STRANGERS {
            let reply = ask(&server, (method, path, body), fields);
            match right {
                Everyone => assert_eq!(reply.status, status, "{method} {path} {fields:?}"),
                _ if method == "HEAD" => assert_eq!(reply.status, 401, "{path} {fields:?}"),
                _ => expect_unauthorized(&reply),
            }
        }
    }
}

#[test]
fn key_may_use_exactly_the_routes_of_its_rights_with_either_header() {
    let (server, _file) = guarded();
    for (method, path, body, right, status) in ROUTES {
        for (name, secret, _) in KEYS {
            let bearer = format!("bearer {secret}");
            for field in [("Authorization", bearer.as_str()), ("X-API-Key", secret)] {
                let reply = ask(&server, (method, path, body), &[field]);
                let context = format!("{method} {path} as {name}: {reply}");
                if may(name, right) {
                    assert_eq!(reply.status, status, "{context}");
                } else {
                    assert_eq!(reply.status, 403, "{context}");
                    if method != "HEAD" {
                        reply.expect_problem(403, "FORBIDDEN");
                    }
                }
            }
        }
    }
}

#[test]
fn api_key_may_use_every_route() {
    let (server, _file) = guarded();
    let bearer = format!("Bearer {API_KEY}");
    let both = [("X-API-Key", API_KEY), ("Authorization", bearer.as_str())];
    for (method, path, body, _, status) in ROUTES {
        for fields in [&both[..1], &both[1..], &both] {
            let reply = ask(&server, (method, path, body), fields);
            assert_eq!(reply.status, status, "{method} {path}: {reply}");
        }
    }
}

#[test]
fn without_keys_every_route_accepts_any_credential() {
    let server = TestServer::with_topic("orders");
    for (method, path, body, _, status) in ROUTES {
        for fields in [
            &[][..],
            &[("X-API-Key", WRONG)],
            &[("Authorization", "Basic x")],
        ] {
            let reply = ask(&server, (method, path, body), fields);
            assert_eq!(reply.status, status, "{method} {path}: {reply}");
        }
    }
}

#[test]
fn handshake_credentials_are_not_accepted_over_rest() {
    let (server, _file) = guarded();
    let path = format!("/health?token={API_KEY}");
    expect_unauthorized(&server.http().get(&path));
    let protocol = [(
        "Sec-WebSocket-Protocol",
        "threadcast.v1, bearer.dGhlLWFwaS1rZXk",
    )];
    expect_unauthorized(&ask(&server, ("GET", "/health", ""), &protocol));
}

#[test]
fn pattern_allows_its_topics_and_hides_whether_others_exist() {
    let (server, _file) = guarded();
    super::create(&server, "shop.eu");
    super::create(&server, "secrets");
    let get = |topic: &str| {
        let path = format!("/topics/{topic}");
        ask(
            &server,
            ("GET", &path, ""),
            &[("X-API-Key", "subscriber-secret")],
        )
    };
    get("shop.eu").expect(200);
    get("shop.us").expect_problem(404, "TOPIC_NOT_FOUND");
    let secret = get("secrets").expect_problem(403, "FORBIDDEN");
    let absent = get("nothing").expect_problem(403, "FORBIDDEN");
    assert_eq!(secret.replace("secrets", "nothing"), absent);
    get("shop").expect_problem(403, "FORBIDDEN");
    get("shopping").expect_problem(403, "FORBIDDEN");
}

#[test]
fn foreign_origin_is_refused_even_with_a_key() {
    let (server, _file) = guarded();
    let fields = [("X-API-Key", API_KEY), ("Origin", "http://evil.example")];
    let reply = ask(&server, ("DELETE", "/topics/orders", ""), &fields);
    reply.expect_problem(403, "FORBIDDEN");
    expect_unauthorized(&ask(
        &server,
        ("DELETE", "/topics/orders", ""),
        &fields[1..],
    ));
}

#[test]
fn unauthorized_request_keeps_its_connection_unless_it_has_a_body() {
    let (server, _file) = guarded();
    let mut http = server.http();
    expect_unauthorized(&http.get("/stats"));
    http.request("GET", "/stats", &[("X-API-Key", API_KEY)], "")
        .expect(200);
    let reply = http.post_text("/topics", r#"{"name":"new"}"#);
    expect_unauthorized(&reply);
    assert_eq!(reply.header("Connection"), Some("close"));
    http.expect_end();
    let mut large = HttpClient::connect(server.addr());
    large.send_raw(b"POST /topics HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n");
    expect_unauthorized(&large.read_reply());
}
