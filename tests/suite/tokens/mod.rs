//! JSON Web Tokens: which are accepted, what they allow, how they expire and are renewed.

mod expiry;
mod forged;
mod jwks;
mod renewal;
mod users;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use threadcast::{ApiKey, JwtKeys, JwtSecret};

use crate::harness::{Config, Dial, StreamClient, TestServer, WsClient};

pub(crate) const SECRET: &str = "a-secret-of-more-than-32-bytes-for-tests";
const API_KEY: &str = "the-api-key";

/// A file of `tests/keys`.
fn key_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

fn key_file(name: &str) -> Vec<u8> {
    std::fs::read(key_path(name)).expect("a key")
}

fn keys(text: &str) -> Option<JwtKeys> {
    Some(JwtKeys::new(text).expect("a path or a URL"))
}

/// A server that takes tokens with the secret, the API key, and has the topic `orders`.
fn guarded(change: impl FnOnce(&mut Config)) -> TestServer {
    let server = TestServer::with(|config| {
        config.api_key = Some(ApiKey::new(API_KEY).unwrap());
        config.jwt_secret = Some(JwtSecret::new(SECRET).unwrap());
        change(config);
    });
    create(&server, "orders");
    server
}

fn create(server: &TestServer, topic: &str) {
    let body = json!({ "name": topic }).to_string();
    let fields = [("X-API-Key", API_KEY)];
    let reply = server.http().request("POST", "/topics", &fields, &body);
    reply.expect(201);
}

/// What the API key gets.
fn get(server: &TestServer, path: &str) -> Value {
    let fields = [("X-API-Key", API_KEY)];
    server.http().request("GET", path, &fields, "").expect(200)
}

pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs()
}

/// The claims of a user with all rights on topics, for this number of seconds.
fn claims(user: &str, secs: u64) -> Value {
    json!({
        "sub": user,
        "exp": now() + secs,
        "threadcast": {"publish": ["*"], "subscribe": ["*"]},
    })
}

/// The same with these rights instead.
fn claims_with(user: &str, secs: u64, rights: Value) -> Value {
    let mut claims = claims(user, secs);
    claims["threadcast"] = rights;
    claims
}

/// A token that the secret signs.
pub(crate) fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
    signed_raw(
        r#"{"alg":"HS256"}"#,
        &claims.to_string(),
        Algorithm::HS256,
        &key,
    )
}

/// A signed text whose header and claims are any text.
fn signed_raw(header: &str, claims: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn connect(server: &TestServer, token: &str) -> WsClient {
    Dial::to(server.addr()).field("X-API-Key", token).connect()
}

fn stream(server: &TestServer, query: &str, token: &str) -> StreamClient {
    let path = format!("/topics/orders/events{query}");
    let fields = [("Authorization", format!("Bearer {token}"))];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    StreamClient::open_with(server.addr(), &path, &fields)
}

fn authenticate(token: &str) -> Value {
    json!({"type": "authenticate", "token": token})
}
