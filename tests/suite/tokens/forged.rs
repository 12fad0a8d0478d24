//! Every kind of forged token, presented in every way; and a valid one for each algorithm.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    API_KEY, SECRET, claims, connect, guarded, key_file, key_path, keys, now, signed, signed_raw,
};
use crate::harness::{Dial, HttpClient, Page, Reply, StreamClient, TestServer, TextFile};

const EVENTS: &str = "/topics/orders/events";
/// The most that is looked at.
const MAX_TOKEN_BYTES: usize = 8 << 10;

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_pem(&key_file("rsa.pem")).unwrap()
}

fn p256() -> EncodingKey {
    EncodingKey::from_ec_pem(&key_file("p256.pem")).unwrap()
}

fn ed25519() -> EncodingKey {
    EncodingKey::from_ed_pem(&key_file("ed25519.pem")).unwrap()
}

fn of(secret: &[u8]) -> EncodingKey {
    EncodingKey::from_secret(secret).unwrap()
}

/// A JWKS with all public keys: `r`, `e` and `d`.
fn jwks() -> TextFile {
    let jwk = |id: &str, key: DecodingKey| {
        let mut jwk = Jwk::from_decoding_key(&key, None).unwrap();
        jwk.common.key_id = Some(id.to_owned());
        jwk
    };
    let keys = [
        jwk(
            "r",
            DecodingKey::from_rsa_pem(&key_file("rsa.pub.pem")).unwrap(),
        ),
        jwk(
            "e",
            DecodingKey::from_ec_pem(&key_file("p256.pub.pem")).unwrap(),
        ),
        jwk(
            "d",
            DecodingKey::from_ed_pem(&key_file("ed25519.pub.pem")).unwrap(),
        ),
    ];
    TextFile::new(&json!({ "keys": keys }).to_string())
}

/// The servers of the table.
struct Servers {
    /// Takes the secret alone.
    secret: TestServer,
    /// Takes the secret and the keys of a JWKS.
    set: TestServer,
    /// Takes one RSA key alone.
    pem: TestServer,
    /// Takes the secret, from one issuer for one audience.
    strict: TestServer,
    _jwks: TextFile,
}

impl Servers {
    fn start() -> Servers {
        let jwks = jwks();
        Servers {
            secret: guarded(|_| {}),
            set: guarded(|config| config.jwt_keys = keys(jwks.path().to_str().unwrap())),
            pem: guarded(|config| {
                config.jwt_secret = None;
                config.jwt_keys = keys(key_path("rsa.pub.pem").to_str().unwrap());
            }),
            strict: guarded(|config| {
                config.jwt_audience = Some("threadcast".to_owned());
                config.jwt_issuer = Some("https://login".to_owned());
            }),
            _jwks: jwks,
        }
    }

    fn all(&self) -> [&TestServer; 4] {
        [&self.secret, &self.set, &self.pem, &self.strict]
    }
}

/// Presents a token in every way that has room for it; returns the answers.
fn present(server: &TestServer, token: &str) -> Vec<Reply> {
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str()), ("X-API-Key", token)];
    let mut replies = Vec::new();
    let handshake = |dial: Dial| {
        let mut http = HttpClient::connect(server.addr());
        http.send_raw(dial.request().as_bytes());
        http.read_reply()
    };
    for (name, value) in fields {
        for path in ["/topics/orders", EVENTS] {
            replies.push(server.http().request("GET", path, &[(name, value)], ""));
        }
        replies.push(handshake(Dial::to(server.addr()).field(name, value)));
    }
    let encoded = BASE64URL_NOPAD.encode(token.as_bytes());
    let pair = format!("threadcast.v1, bearer.{encoded}");
    let dial = Dial::to(server.addr()).field("Sec-WebSocket-Protocol", &pair);
    replies.push(handshake(dial));
    let query: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    if query.len() < 4000 {
        let path = format!("{EVENTS}?token={query}");
        replies.push(server.http().request("GET", &path, &[], ""));
        replies.push(handshake(
            Dial::to(server.addr()).target(&format!("/ws?token={query}")),
        ));
    }
    replies
}

/// How many tokens a server has refused, by reason.
fn refused(server: &TestServer) -> BTreeMap<String, u64> {
    let fields = [("X-API-Key", API_KEY)];
    let reply = server.http().request("GET", "/metrics", &fields, "");
    let page = Page::parse(std::str::from_utf8(&reply.body).unwrap());
    let reasons = [
        "malformed",
        "algorithm",
        "unknown_key",
        "no_keys",
        "signature",
        "expired",
        "not_yet_valid",
        "audience",
        "issuer",
        "claims",
    ];
    let count = |reason: &str| {
        let series = format!("pubsub_tokens_refused_total{{reason=\"{reason}\"}}");
        (reason.to_owned(), page.count(&series))
    };
    reasons.map(count).into_iter().collect()
}

fn with(more: &Value) -> Value {
    let mut claims = claims("ann", 60);
    claims
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    claims
}

/// The claims with this text in the place of those of threadcast.
fn with_rights(rights: &str) -> String {
    format!(r#"{{"exp":{},"threadcast":{rights}}}"#, now() + 60)
}

#[test]
fn every_forged_token_is_refused_in_every_way_with_one_and_the_same_answer() {
    let servers = Servers::start();
    let Servers {
        secret,
        set,
        pem,
        strict,
        ..
    } = &servers;
    let good = signed(&claims("ann", 60));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let text = claims("ann", 60).to_string();
    let raw = |header: &str, claims: &str, algorithm, key: &EncodingKey| {
        signed_raw(header, claims, algorithm, key)
    };
    let hs = |claims: &str| {
        raw(
            r#"{"alg":"HS256"}"#,
            claims,
            Algorithm::HS256,
            &of(SECRET.as_bytes()),
        )
    };
    let hs_header = |header: &str| raw(header, &text, Algorithm::HS256, &of(SECRET.as_bytes()));
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let none = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&text));
    let public_pem = key_file("rsa.pub.pem");
    let exp = now() + 60;
    let many = |count: usize| vec!["\"a\""; count].join(",");
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let huge = hs(&with(&json!({"x": "x".repeat(MAX_TOKEN_BYTES)})).to_string());
    let forged: Vec<(&TestServer, &str, &str, String)> = vec![
        // The algorithm.
        (secret, "malformed", "alg none", none.clone()),
        (
            set,
            "malformed",
            "alg none with a signature",
            format!("{none}{signature}"),
        ),
        (
            pem,
            "malformed",
            "alg None",
            format!("{}.{}.", encode(r#"{"alg":"None"}"#), encode(&text)),
        ),
        (secret, "malformed", "no alg", hs_header("{}")),
        (
            secret,
            "malformed",
            "alg twice",
            hs_header(r#"{"alg":"HS256","alg":"HS256"}"#),
        ),
        (
            secret,
            "algorithm",
            "HS384 for the secret",
            raw(
                r#"{"alg":"HS384"}"#,
                &text,
                Algorithm::HS384,
                &of(SECRET.as_bytes()),
            ),
        ),
        (
            secret,
            "algorithm",
            "RS256 where nobody signs so",
            raw(r#"{"alg":"RS256"}"#, &text, Algorithm::RS256, &rsa()),
        ),
        (
            pem,
            "algorithm",
            "HS256 with the public key as the secret",
            raw(
                r#"{"alg":"HS256"}"#,
                &text,
                Algorithm::HS256,
                &of(&public_pem),
            ),
        ),
        (
            set,
            "signature",
            "HS256 with the public key as the secret",
            raw(
                r#"{"alg":"HS256","kid":"r"}"#,
                &text,
                Algorithm::HS256,
                &of(&public_pem),
            ),
        ),
        (
            pem,
            "algorithm",
            "HS256 with the secret of another server",
            good.clone(),
        ),
        (
            pem,
            "algorithm",
            "RS512 for a key for RS256",
            raw(r#"{"alg":"RS512"}"#, &text, Algorithm::RS512, &rsa()),
        ),
        (
            pem,
            "algorithm",
            "PS256 for a key for RS256",
            raw(r#"{"alg":"PS256"}"#, &text, Algorithm::PS256, &rsa()),
        ),
        (
            set,
            "algorithm",
            "ES256 for a key for RS256",
            raw(
                r#"{"alg":"ES256","kid":"r"}"#,
                &text,
                Algorithm::ES256,
                &p256(),
            ),
        ),
        (
            set,
            "algorithm",
            "RS256 for a key for EdDSA",
            raw(
                r#"{"alg":"RS256","kid":"d"}"#,
                &text,
                Algorithm::RS256,
                &rsa(),
            ),
        ),
        // The key.
        (
            set,
            "unknown_key",
            "an unknown kid",
            raw(
                r#"{"alg":"RS256","kid":"x"}"#,
                &text,
                Algorithm::RS256,
                &rsa(),
            ),
        ),
        (
            set,
            "unknown_key",
            "no kid",
            raw(r#"{"alg":"RS256"}"#, &text, Algorithm::RS256, &rsa()),
        ),
        (
            set,
            "malformed",
            "a kid that is no text",
            raw(
                r#"{"alg":"RS256","kid":7}"#,
                &text,
                Algorithm::RS256,
                &rsa(),
            ),
        ),
        (
            pem,
            "signature",
            "another key",
            raw(
                r#"{"alg":"RS256"}"#,
                &text,
                Algorithm::RS256,
                &EncodingKey::from_rsa_pem(&key_file("other_rsa.pem")).unwrap(),
            ),
        ),
        (
            secret,
            "signature",
            "another secret",
            raw(
                r#"{"alg":"HS256"}"#,
                &text,
                Algorithm::HS256,
                &of(b"another-secret-of-more-than-32-bytes"),
            ),
        ),
        // The signature.
        (
            secret,
            "signature",
            "changed claims",
            format!(
                "{header}.{}.{signature}",
                encode(&with(&json!({"sub": "bob"})).to_string())
            ),
        ),
        (
            secret,
            "signature",
            "another header",
            format!(
                "{}.{payload}.{signature}",
                encode(r#"{"alg":"HS256","kid":"x"}"#)
            ),
        ),
        (
            secret,
            "signature",
            "no signature",
            format!("{header}.{payload}."),
        ),
        (
            secret,
            "signature",
            "half a signature",
            format!("{header}.{payload}.{}", &signature[..20]),
        ),
        // The shape.
        (
            secret,
            "malformed",
            "two parts",
            format!("{header}.{payload}"),
        ),
        (
            secret,
            "malformed",
            "four parts",
            format!("{good}.{signature}"),
        ),
        (secret, "malformed", "one part", "secret".to_owned()),
        (
            secret,
            "malformed",
            "not base64url",
            format!("{header}.{payload}.{signature}="),
        ),
        (
            secret,
            "malformed",
            "a header that is not base64url",
            format!("{header}!.{payload}.{signature}"),
        ),
        (
            secret,
            "malformed",
            "a header that is no JSON",
            format!("{}.{payload}.{signature}", encode("alg")),
        ),
        (secret, "claims", "claims that are no JSON", hs("claims")),
        (
            secret,
            "claims",
            "claims that are a list",
            hs(&format!("[{exp}]")),
        ),
        (secret, "claims", "nested junk", hs(&with_rights(&deep))),
        (
            secret,
            "malformed",
            "nested junk in the header",
            hs_header(&format!(r#"{{"alg":"HS256","x":{deep}}}"#)),
        ),
        (secret, "malformed", "too large", huge),
        (
            secret,
            "malformed",
            "crit",
            hs_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#),
        ),
        (
            secret,
            "malformed",
            "crit for what is known",
            hs_header(r#"{"alg":"HS256","crit":["b64"],"b64":true}"#),
        ),
        // The times.
        (secret, "claims", "no exp", hs(r#"{"sub":"ann"}"#)),
        (
            secret,
            "claims",
            "exp as text",
            hs(&format!(r#"{{"exp":"{exp}"}}"#)),
        ),
        (
            secret,
            "claims",
            "exp twice",
            hs(&format!(r#"{{"exp":1,"exp":{exp}}}"#)),
        ),
        (secret, "claims", "a negative exp", hs(r#"{"exp":-1}"#)),
        (
            secret,
            "expired",
            "exp in the past",
            hs(&format!(r#"{{"exp":{}}}"#, now() - 1)),
        ),
        (
            secret,
            "expired",
            "exp now",
            hs(&format!(r#"{{"exp":{}}}"#, now())),
        ),
        (
            secret,
            "not_yet_valid",
            "nbf in the future",
            hs(&with(&json!({"nbf": exp})).to_string()),
        ),
        (
            secret,
            "claims",
            "nbf as text",
            hs(&with(&json!({"nbf": "0"})).to_string()),
        ),
        // Who it is for, and who it is from.
        (
            secret,
            "audience",
            "aud where none is configured",
            hs(&with(&json!({"aud": "threadcast"})).to_string()),
        ),
        (
            strict,
            "audience",
            "no aud",
            hs(&with(&json!({"iss": "https://login"})).to_string()),
        ),
        (
            strict,
            "audience",
            "another aud",
            hs(&with(&json!({"iss": "https://login", "aud": "other"})).to_string()),
        ),
        (
            strict,
            "audience",
            "a list of others",
            hs(&with(&json!({"iss": "https://login", "aud": ["a", "b"]})).to_string()),
        ),
        (
            strict,
            "issuer",
            "no iss",
            hs(&with(&json!({"aud": "threadcast"})).to_string()),
        ),
        (
            strict,
            "issuer",
            "another iss",
            hs(&with(&json!({"aud": "threadcast", "iss": "https://login.evil"})).to_string()),
        ),
        (
            strict,
            "claims",
            "a list of iss",
            hs(&with(&json!({"aud": "threadcast", "iss": ["https://login"]})).to_string()),
        ),
        // The user and the rights.
        (
            secret,
            "claims",
            "sub that is no text",
            hs(&with(&json!({"sub": 7})).to_string()),
        ),
        (
            secret,
            "claims",
            "an empty sub",
            hs(&with(&json!({"sub": ""})).to_string()),
        ),
        (
            secret,
            "claims",
            "a long sub",
            hs(&with(&json!({"sub": "x".repeat(129)})).to_string()),
        ),
        (
            secret,
            "claims",
            "a sub with a line break",
            hs(&with(&json!({"sub": "a\nb"})).to_string()),
        ),
        (
            secret,
            "claims",
            "rights that are a list",
            hs(&with_rights(r#"[["orders"]]"#)),
        ),
        (
            secret,
            "claims",
            "rights that are a text",
            hs(&with_rights(r#""admin""#)),
        ),
        (
            secret,
            "claims",
            "an unknown right",
            hs(&with_rights(r#"{"subscribe":["*"],"delete":["*"]}"#)),
        ),
        (
            secret,
            "claims",
            "a right twice",
            hs(&with_rights(r#"{"subscribe":[],"subscribe":["*"]}"#)),
        ),
        (
            secret,
            "claims",
            "a right that is no list",
            hs(&with_rights(r#"{"subscribe":"*"}"#)),
        ),
        (
            secret,
            "claims",
            "a topic that is no text",
            hs(&with_rights(r#"{"subscribe":[7]}"#)),
        ),
        (
            secret,
            "claims",
            "a topic that is none",
            hs(&with_rights(r#"{"subscribe":["a b"]}"#)),
        ),
        (
            secret,
            "claims",
            "too many stars",
            hs(&with_rights(r#"{"subscribe":["*a*b*c*d*"]}"#)),
        ),
        (
            secret,
            "claims",
            "admin that is no truth value",
            hs(&with_rights(r#"{"admin":1}"#)),
        ),
        (
            secret,
            "claims",
            "too many topics",
            hs(&with_rights(&format!(r#"{{"subscribe":[{}]}}"#, many(101)))),
        ),
    ];
    let before = servers.all().map(refused);
    let mut expected = before;
    for (server, reason, name, token) in &forged {
        let replies = present(server, token);
        for reply in &replies {
            let detail = reply.expect_problem(401, "UNAUTHORIZED");
            assert_eq!(detail, "A valid credential is required", "{name}");
            assert_eq!(reply.header("WWW-Authenticate"), Some("Bearer"), "{name}");
            assert_eq!(reply.body, replies[0].body, "{name}");
        }
        let at = servers
            .all()
            .iter()
            .position(|one| std::ptr::eq(*one, *server));
        *expected[at.unwrap()].get_mut(*reason).unwrap() += replies.len() as u64;
        let counted = refused(server);
        assert_eq!(counted, expected[at.unwrap()], "{name}");
    }
    // What they were made of is right.
    for token in [
        good,
        hs(&text),
        hs(&with_rights(&format!(
            r#"{{"subscribe":["orders",{}]}}"#,
            many(99)
        ))),
    ] {
        expect_accepted(secret, &token);
    }
    expect_accepted(
        strict,
        &hs(&with(&json!({"iss": "https://login", "aud": ["a", "threadcast"]})).to_string()),
    );
}

/// Presents a token in every way, and uses it.
fn expect_accepted(server: &TestServer, token: &str) {
    let mut fields = vec![("X-API-Key", token.to_owned())];
    fields.push(("Authorization", format!("bearer {token}")));
    for (name, value) in &fields {
        let field = [(*name, value.as_str())];
        server
            .http()
            .request("GET", "/topics/orders", &field, "")
            .expect(200);
        Dial::to(server.addr()).field(name, value).connect().fence();
        StreamClient::open_with(server.addr(), EVENTS, &field).expect("ack");
    }
    let encoded = BASE64URL_NOPAD.encode(token.as_bytes());
    let pair = format!("threadcast.v1, bearer.{encoded}");
    let dial = Dial::to(server.addr()).field("Sec-WebSocket-Protocol", &pair);
    dial.connect().fence();
    if token.len() < 4000 {
        Dial::to(server.addr())
            .target(&format!("/ws?token={token}"))
            .connect()
            .fence();
        StreamClient::open(server.addr(), &format!("{EVENTS}?token={token}")).expect("ack");
    }
}

#[test]
fn a_valid_token_of_every_algorithm_is_accepted_in_every_way() {
    let servers = Servers::start();
    let text = claims("ann", 60).to_string();
    for (server, header, algorithm, key) in [
        (
            &servers.secret,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            Algorithm::HS256,
            of(SECRET.as_bytes()),
        ),
        (
            &servers.set,
            r#"{"alg":"HS256"}"#,
            Algorithm::HS256,
            of(SECRET.as_bytes()),
        ),
        (
            &servers.set,
            r#"{"alg":"RS256","kid":"r"}"#,
            Algorithm::RS256,
            rsa(),
        ),
        (
            &servers.set,
            r#"{"alg":"ES256","kid":"e","x":[{}]}"#,
            Algorithm::ES256,
            p256(),
        ),
        (
            &servers.set,
            r#"{"alg":"EdDSA","kid":"d"}"#,
            Algorithm::EdDSA,
            ed25519(),
        ),
        (&servers.pem, r#"{"alg":"RS256"}"#, Algorithm::RS256, rsa()),
        (
            &servers.pem,
            r#"{"alg":"RS256","kid":"any"}"#,
            Algorithm::RS256,
            rsa(),
        ),
    ] {
        expect_accepted(server, &signed_raw(header, &text, algorithm, &key));
    }
}

#[test]
fn a_key_is_still_a_credential_beside_tokens() {
    let server = guarded(|_| {});
    expect_accepted(&server, API_KEY);
}

#[test]
fn a_token_may_do_what_it_says_and_nothing_else() {
    let server = guarded(|_| {});
    for topic in ["shop.eu", "logs"] {
        super::create(&server, topic);
    }
    let rights = json!({"publish": ["orders"], "subscribe": ["shop.*"]});
    let token = signed(&super::claims_with("ann", 60, rights));
    let mut client = connect(&server, &token);
    client.publish("orders", &json!(1));
    client.subscribe("shop.eu", "c");
    client.subscribe_refused("logs", &json!({}), "FORBIDDEN");
    let request = json!({"type": "subscribe", "topic": "*", "client_id": "c"});
    client.ask_refused(request, "FORBIDDEN");
    let message = json!({"id": crate::harness::uuid_of(1), "payload": 1});
    let request = json!({"type": "publish", "topic": "logs", "message": message});
    client.ask_refused(request, "FORBIDDEN");
    let status = |method: &str, path: &str, body: &str, token: &str| {
        let fields = [("X-API-Key", token)];
        server.http().request(method, path, &fields, body).status
    };
    assert_eq!(status("GET", "/topics/shop.eu", "", &token), 200);
    assert_eq!(status("GET", "/topics/logs", "", &token), 403);
    assert_eq!(
        status(
            "POST",
            "/topics/orders/messages",
            r#"{"payload":1}"#,
            &token
        ),
        201
    );
    assert_eq!(
        status("POST", "/topics/logs/messages", r#"{"payload":1}"#, &token),
        403
    );
    assert_eq!(status("GET", "/connections", "", &token), 403);
    let nothing = signed(&json!({"exp": now() + 60, "sub": "ann"}));
    assert_eq!(status("GET", "/topics/shop.eu", "", &nothing), 403);
    connect(&server, &nothing).subscribe_refused("orders", &json!({}), "FORBIDDEN");
    let admin = signed(&super::claims_with("root", 60, json!({"admin": true})));
    assert_eq!(status("GET", "/connections", "", &admin), 200);
    assert_eq!(status("DELETE", "/topics/logs", "", &admin), 200);
    assert_eq!(status("GET", "/topics/orders", "", &admin), 403);
}
