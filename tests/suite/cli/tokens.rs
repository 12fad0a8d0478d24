//! Tokens: wrong settings, new ones, reload by a signal, and that no token is ever shown.

use std::net::SocketAddr;

use data_encoding::BASE64URL_NOPAD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::program::{End, Program, run, threadcast};
use crate::harness::{Dial, HttpClient, Reply, StreamClient, TextFile};
use crate::tokens::{SECRET, now, signed};

fn refused(end: &End) -> &str {
    assert_eq!((end.code, end.out.len()), (Some(2), 0), "{end:?}");
    assert_eq!(end.err.len(), 1, "{end:?}");
    &end.err[0]
}

fn get(address: &str, path: &str, token: &str) -> Reply {
    let mut http = HttpClient::connect(address.parse().unwrap());
    http.request("GET", path, &[("X-API-Key", token)], "")
}

/// The token that `token new` printed alone.
fn new_token(arguments: &[&str]) -> String {
    let all = [&["token", "new"], arguments].concat();
    let end = run(threadcast(&all).env("PUBSUB_JWT_SECRET", SECRET));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert_eq!(end.out.len(), 1, "{end:?}");
    end.out[0].clone()
}

fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("three parts");
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[test]
fn wrong_settings_of_tokens_fail_the_start_and_show_no_secret() {
    let secret = "the value (not shown) is not allowed: a secret of 32 to 1024 bytes";
    let keys = "a file with a public key (PEM) or a JWKS, or the https URL of a JWKS without a user or a password";
    for (variable, value, line) in [
        (
            "PUBSUB_JWT_SECRET",
            "only-31-bytes-are-not-enough-31",
            secret.to_owned(),
        ),
        (
            "PUBSUB_JWT_KEYS",
            "http://login.example/jwks.json",
            format!("'http://login.example/jwks.json' is not allowed: {keys}"),
        ),
        (
            "PUBSUB_JWT_KEYS",
            "https://user:password@login.example/",
            format!("the value (not shown) is not allowed: {keys}"),
        ),
        (
            "PUBSUB_JWT_AUDIENCE",
            "here",
            "'here' is not allowed: only together with jwt_secret or jwt_keys".to_owned(),
        ),
        (
            "PUBSUB_MAX_CONNECTIONS_PER_USER",
            "-1",
            "'-1' is not allowed: a whole number from 0 to 1000000".to_owned(),
        ),
    ] {
        for arguments in [&["--port", "0"][..], &["check-config"]] {
            let end = run(threadcast(arguments).env(variable, value));
            assert_eq!(refused(&end), format!("threadcast: {variable}: {line}"));
        }
    }
    let file = TextFile::new("secret");
    let path = file.path().display().to_string();
    let end = run(threadcast(&["--port", "0"]).env("PUBSUB_JWT_KEYS", &path));
    let reason = "it is neither a public key (PEM) nor a JWKS";
    let line = format!("threadcast: PUBSUB_JWT_KEYS: '{path}' is not allowed: {reason}");
    assert_eq!(refused(&end), line);
}

#[test]
fn check_config_shows_where_keys_are_and_masks_the_secret() {
    let end = run(threadcast(&["check-config"])
        .env("PUBSUB_JWT_SECRET", SECRET)
        .env("PUBSUB_JWT_KEYS", "https://login.example/jwks.json")
        .env("PUBSUB_JWT_ISSUER", "https://login.example"));
    assert_eq!(end.code, Some(0), "{end:?}");
    let shown = |variable: &str| -> Vec<String> {
        let line = end
            .out
            .iter()
            .find(|line| line.split(' ').next() == Some(variable));
        let words = line.expect(variable).split_whitespace();
        words.skip(1).map(str::to_owned).collect()
    };
    assert_eq!(shown("PUBSUB_JWT_SECRET"), ["***", "environment"]);
    assert_eq!(
        shown("PUBSUB_JWT_KEYS")[0],
        "https://login.example/jwks.json"
    );
    assert_eq!(shown("PUBSUB_JWT_ISSUER")[0], "https://login.example");
    assert!(!end.out.concat().contains(SECRET), "{end:?}");
}

#[test]
fn token_new_prints_a_token_that_a_server_accepts() {
    let token = new_token(&[
        "--sub",
        "ann",
        "--publish",
        "orders",
        "--subscribe",
        "shop.*",
        "--subscribe",
        "orders",
        "--admin",
        "--audience",
        "here",
        "--issuer",
        "me",
        "--ttl",
        "5m",
    ]);
    let claims = claims_of(&token);
    let left = claims["exp"].as_u64().unwrap() - now();
    assert!((290..=300).contains(&left), "{left}");
    let rights = json!({"publish": ["orders"], "subscribe": ["shop.*", "orders"], "admin": true});
    assert_eq!(claims["threadcast"], rights);
    assert_eq!(
        [&claims["sub"], &claims["aud"], &claims["iss"]],
        ["ann", "here", "me"]
    );
    let (program, address) = Program::serve(
        threadcast(&[
            "--port",
            "0",
            "--jwt-audience",
            "here",
            "--jwt-issuer",
            "me",
        ])
        .env("PUBSUB_JWT_SECRET", SECRET),
    );
    get(&address, "/health", &token).expect(200);
    let _ws = Dial::to(address.parse().unwrap())
        .field("X-API-Key", &token)
        .connect();
    program.logged(r#"user="ann""#);
}

#[test]
fn token_new_has_a_default_of_one_hour_and_no_rights() {
    let claims = claims_of(&new_token(&[]));
    let left = claims["exp"].as_u64().unwrap() - now();
    assert!((3590..=3600).contains(&left), "{left}");
    assert_eq!(claims["sub"], Value::Null);
    let none = json!({"publish": [], "subscribe": [], "admin": false});
    assert_eq!(claims["threadcast"], none);
}

#[test]
fn token_new_takes_the_secret_of_a_file() {
    let file = TextFile::new(&format!("{SECRET}\n"));
    let path = file.path().to_str().unwrap();
    let end = run(&mut threadcast(&[
        "token",
        "new",
        "--secret-file",
        path,
        "--admin",
    ]));
    let (_program, address) =
        Program::serve(threadcast(&["--port", "0"]).env("PUBSUB_JWT_SECRET", SECRET));
    get(&address, "/health", &end.out[0]).expect(200);
}

#[test]
fn token_new_refuses_what_no_server_accepts() {
    let long = "x".repeat(129);
    let short = TextFile::new("too short");
    let short = short.path().to_str().unwrap();
    for (arguments, expected) in [
        (
            &["--sub", ""][..],
            "--sub: '' is not allowed: a user is 1 to 128 characters without control characters",
        ),
        (
            &["--sub", &long],
            "a user is 1 to 128 characters without control characters",
        ),
        (
            &["--publish", "a b"],
            "--publish, --subscribe: a topic is a name, or a pattern with one to four *",
        ),
        (
            &["--subscribe", "*****"],
            "--publish, --subscribe: a topic is a name, or a pattern with one to four *",
        ),
        (
            &["--ttl", "0"],
            "--ttl: '0' is not allowed: a time up to 365 days, such as 90s, 30m, 1h or 7d",
        ),
        (&["--ttl", "366d"], "--ttl: '366d' is not allowed"),
        (
            &["--secret-file", "/nowhere/secret"],
            "--secret-file /nowhere/secret: No such file",
        ),
        (
            &["--secret-file", short],
            "the value (not shown) is not allowed: a secret of 32 to 1024 bytes",
        ),
        (&["ann"], "unexpected argument 'ann' found"),
    ] {
        let all = [&["token", "new"], arguments].concat();
        let end = run(threadcast(&all).env("PUBSUB_JWT_SECRET", SECRET));
        assert!(refused(&end).contains(expected), "{end:?}");
    }
    let end = run(&mut threadcast(&["token", "new"]));
    assert!(refused(&end).contains("a secret is needed"), "{end:?}");
    assert!(refused(&run(&mut threadcast(&["token"]))).contains("subcommand"));
}

#[test]
fn sighup_reads_the_public_keys_again_and_a_wrong_file_changes_nothing() {
    let public = include_str!("../../keys/rsa.pub.pem");
    let file = TextFile::new(public);
    let path = file.path().to_str().unwrap().to_owned();
    let (program, address) = Program::serve(
        threadcast(&["--port", "0"])
            .env("PUBSUB_JWT_KEYS", &path)
            .env("PUBSUB_JWT_SECRET", SECRET),
    );
    let rsa = jsonwebtoken::EncodingKey::from_rsa_pem(include_bytes!("../../keys/rsa.pem"));
    let claims = json!({"exp": now() + 60, "threadcast": {"admin": true}});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    let token = jsonwebtoken::encode(&header, &claims, &rsa.unwrap()).unwrap();
    get(&address, "/health", &token).expect(200);
    file.write("broken");
    program.signal(Signal::SIGHUP);
    let line = program.logged("the keys were not reloaded");
    assert!(line.contains("WARN") && line.contains(&path), "{line}");
    get(&address, "/health", &token).expect(200);
    file.write(include_str!("../../keys/other_rsa.pub.pem"));
    program.signal(Signal::SIGHUP);
    let line = program.logged("keys reloaded");
    assert!(line.contains("keys=2"), "{line}");
    get(&address, "/health", &token).expect_problem(401, "UNAUTHORIZED");
    let line = program.logged("a token was refused");
    assert!(line.contains("reason=\"signature\""), "{line}");
}

#[test]
fn listening_beyond_loopback_with_tokens_logs_no_warning() {
    let (program, _) = Program::serve(
        threadcast(&["--port", "0", "--host", "0.0.0.0"]).env("PUBSUB_JWT_SECRET", SECRET),
    );
    program.signal(Signal::SIGTERM);
    let end = program.end();
    assert!(!end.err.iter().any(|line| line.contains("WARN")), "{end:?}");
}

#[test]
fn tokens_and_their_secret_are_never_shown() {
    let rights = json!({"publish": ["*"], "subscribe": ["*"], "admin": true});
    let with = |claims: Value| {
        let mut all = json!({"sub": "ann", "exp": now() + 60, "threadcast": rights});
        all.as_object_mut()
            .unwrap()
            .extend(claims.as_object().unwrap().clone());
        signed(&all)
    };
    let good = with(json!({}));
    let short = with(json!({"exp": now() + 3, "jti": "short"}));
    let renewed = with(json!({"exp": now() + 90, "jti": "renewed"}));
    let of_bob = with(json!({"sub": "bob"}));
    let expired = with(json!({"exp": now() - 9}));
    let wrong = with(json!({"threadcast": ["misplaced-secret"]}));
    let forged = format!("{}x", &good[..good.len() - 1]);
    let tokens = [&good, &short, &renewed, &of_bob, &expired, &wrong, &forged];
    let mut command = threadcast(&["--port", "0", "--log-level", "trace"]);
    let (program, address) = Program::serve(command.env("PUBSUB_JWT_SECRET", SECRET));
    let server: SocketAddr = address.parse().unwrap();
    let mut said = String::new();
    for token in tokens {
        for (method, path, body) in [
            ("POST", "/topics", r#"{"name":"orders"}"#),
            ("GET", "/config", ""),
            ("GET", "/connections", ""),
            ("GET", "/metrics", ""),
            ("GET", "/topics/orders/events?client_id=", ""),
        ] {
            let bearer = format!("Bearer {token}");
            let fields = [("Authorization", bearer.as_str())];
            said += &HttpClient::connect(server)
                .request(method, path, &fields, body)
                .to_string();
        }
        let dial = Dial::to(server).target(&format!("/ws?token={token}"));
        let mut http = HttpClient::connect(server);
        http.send_raw(dial.request().as_bytes());
        said += &http.read_reply().to_string();
    }
    let mut client = Dial::to(server).field("X-API-Key", &short).connect();
    said += &client.next_json().to_string();
    for token in [&of_bob, &expired, &wrong, &forged, &renewed] {
        let request = json!({"type": "authenticate", "token": token});
        said += &client.ask(request).to_string();
        // A request that is refused before its token is looked at.
        let text = format!(r#"{{"type":"authenticate","token":"{token}","token":1}}"#);
        client.send_text(&text);
        said += &client.next_text();
    }
    let mut stream = StreamClient::open(server, &format!("/topics/orders/events?token={good}"));
    said += &stream.expect("ack").text;
    program.signal(Signal::SIGTERM);
    let End { code, out, err } = program.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("101 ") && said.contains("UNAUTHORIZED") && said.contains("BAD_REQUEST"));
    said += &[out, err].concat().join("\n");
    assert!(said.contains("a token was refused") && said.contains("a token of another user"));
    for token in tokens {
        let parts = token.split('.').skip(1).map(str::to_owned);
        let encoded = BASE64URL_NOPAD.encode(token.as_bytes());
        for trace in parts.chain([token.clone(), encoded]) {
            assert!(!said.contains(&trace), "{trace} is in: {said}");
        }
    }
    for secret in [SECRET, "misplaced-secret"] {
        assert!(!said.contains(secret), "{secret} is in: {said}");
    }
}
