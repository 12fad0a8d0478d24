//! Access control: routes, forms of credentials, operations, reloads.

mod handshake;
mod operations;
mod reload;
mod routes;

use crate::harness::{Reply, TestServer, TextFile, entry};

/// May do everything.
const API_KEY: &str = "the-api-key";
/// No key of any server.
const WRONG: &str = "the-wrong-key";

/// The keys of the file: name, secret, rights. Each right belongs to one key only.
const KEYS: [(&str, &str, &str); 4] = [
    (
        "publisher",
        "publisher-secret",
        r#"publish = ["orders", "absent", "shop.*"]"#,
    ),
    (
        "subscriber",
        "subscriber-secret",
        r#"subscribe = ["orders", "absent", "shop.*"]"#,
    ),
    ("admin", "admin-secret", "admin = true"),
    ("nobody", "nobody-secret", ""),
];

fn secret(name: &str) -> &'static str {
    let found = KEYS.iter().find(|(known, ..)| *known == name);
    found.map_or(API_KEY, |(_, secret, _)| secret)
}

fn all_keys() -> String {
    KEYS.iter()
        .map(|(name, secret, rights)| entry(name, secret, rights))
        .collect()
}

/// A server with all keys and the topic `orders`.
fn guarded() -> (TestServer, TextFile) {
    guarded_by(&all_keys())
}

/// A server with the API key, these keys and the topic `orders`.
fn guarded_by(keys: &str) -> (TestServer, TextFile) {
    let file = TextFile::new(keys);
    let server = TestServer::with(|config| {
        config.api_key = Some(threadcast::ApiKey::new(API_KEY).unwrap());
        config.keys_file = Some(file.path().to_owned());
    });
    create(&server, "orders");
    (server, file)
}

fn create(server: &TestServer, topic: &str) {
    let body = format!(r#"{{"name":"{topic}"}}"#);
    let fields = [("X-API-Key", API_KEY)];
    let reply = server.http().request("POST", "/topics", &fields, &body);
    reply.expect(201);
}

/// The response without a valid credential.
fn expect_unauthorized(reply: &Reply) {
    let detail = reply.expect_problem(401, "UNAUTHORIZED");
    assert_eq!(detail, "A valid credential is required");
    assert_eq!(reply.header("WWW-Authenticate"), Some("Bearer"), "{reply}");
    let body = r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"A valid credential is required","code":"UNAUTHORIZED"}"#;
    assert_eq!(String::from_utf8_lossy(&reply.body), body);
}
