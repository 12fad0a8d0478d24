//! Keys: invalid ones, new ones, reload by a signal, and that no secret is ever shown.

use std::net::SocketAddr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use nix::sys::signal::Signal;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::program::{End, Program, run, threadcast};
use crate::harness::{Dial, HttpClient, Reply, TextFile, entry, uuid_of};

const SERVE: [&str; 2] = ["--port", "0"];
const WRONG_API_KEYS: [&str; 3] = ["two words", "sécret", " "];

fn refused(end: &End) -> &str {
    assert_eq!((end.code, end.out.len()), (Some(2), 0), "{end:?}");
    assert_eq!(end.err.len(), 1, "{end:?}");
    &end.err[0]
}

fn get(address: &str, path: &str, secret: &str) -> Reply {
    let mut http = HttpClient::connect(address.parse().unwrap());
    http.request("GET", path, &[("X-API-Key", secret)], "")
}

/// The secret and the entry that `key new` printed.
fn new_key(name: &str) -> (String, String) {
    let end = run(&mut threadcast(&["key", "new", name]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let is_secret = |line: &&String| line.starts_with("tc_");
    let secrets: Vec<&String> = end.out.iter().filter(is_secret).collect();
    assert_eq!(secrets.len(), 1, "{end:?}");
    let begin = end.out.iter().position(|line| line == "[[key]]");
    let entry = end.out[begin.expect("an entry")..].join("\n");
    (secrets[0].clone(), entry)
}

#[test]
fn invalid_api_key_fails_the_start_and_is_not_shown() {
    let allowed =
        "the value (not shown) is not allowed: an API key is 1 to 1024 visible ASCII characters";
    for value in WRONG_API_KEYS {
        let end = run(threadcast(&[]).env("PUBSUB_API_KEY", value));
        let line = format!("threadcast: PUBSUB_API_KEY: {allowed}");
        assert_eq!(refused(&end), line);
        let end = run(&mut threadcast(&["serve", "--api-key", value]));
        let line = format!("threadcast: --api-key (PUBSUB_API_KEY): {allowed}");
        assert_eq!(refused(&end), line);
    }
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let end = run(threadcast(&[]).env("PUBSUB_API_KEY", OsStr::from_bytes(b"x\xff")));
    assert!(refused(&end).ends_with(allowed), "{end:?}");
}

#[test]
fn invalid_keys_file_fails_the_start_with_file_and_key_named() {
    for (text, reason) in [
        (String::new(), "there is no [[key]] in it"),
        (
            "[[key]]\nname = \"a\"\nsha256 = \"s3cret\"".to_owned(),
            "key 'a': sha256 must be 64 hex digits",
        ),
        (
            entry("a", "s", "publsh = []"),
            "line 4: unknown field `publsh`, expected one of `name`, `sha256`, `publish`, `subscribe`, `admin`",
        ),
    ] {
        let file = TextFile::new(&text);
        let end = run(threadcast(&SERVE).env("PUBSUB_KEYS_FILE", file.path()));
        let path = file.path().display();
        let line = format!("threadcast: PUBSUB_KEYS_FILE: '{path}' is not allowed: {reason}");
        assert_eq!(refused(&end), line);
    }
}

#[test]
fn empty_key_flag_is_an_error() {
    let mut command = threadcast(&["--port", "0", "--api-key", "", "--keys-file", ""]);
    let (_program, address) = Program::serve(command.env("PUBSUB_API_KEY", "k"));
    get(&address, "/health", "whatever").expect(200);
}

#[test]
fn listening_beyond_loopback_with_a_key_logs_no_warning() {
    let (program, _) = Program::serve(
        threadcast(&SERVE)
            .env("PUBSUB_HOST", "0.0.0.0")
            .env("PUBSUB_API_KEY", "k"),
    );
    program.signal(Signal::SIGTERM);
    let end = program.end();
    assert!(!end.err.iter().any(|line| line.contains("WARN")), "{end:?}");
}

#[test]
fn generated_key_is_accepted_by_a_server_with_its_entry() {
    let (secret, entry) = new_key("the \"new\" one");
    assert!(!entry.contains(&secret), "{entry}");
    let file = TextFile::new(&entry.replace("admin = false", "admin = true"));
    let (program, address) =
        Program::serve(threadcast(&SERVE).env("PUBSUB_KEYS_FILE", file.path()));
    get(&address, "/health", &secret).expect(200);
    let unknown = new_key("the \"new\" one").0;
    get(&address, "/health", &unknown).expect_problem(401, "UNAUTHORIZED");
    let line = program.logged("without a valid credential");
    assert!(
        line.contains("peer=127.0.0.1:") && !line.contains(&unknown),
        "{line}"
    );
    let _ws = Dial::to(address.parse().unwrap())
        .field("X-API-Key", &secret)
        .connect();
    program.logged(r#"key="the \"new\" one""#);
}

#[test]
fn key_new_requires_a_valid_name() {
    for (arguments, expected) in [
        (
            &["key", "new", ""][..],
            "NAME: '' is not allowed: 1 to 128 printable ASCII characters",
        ),
        (
            &["key", "new", "a\nb"],
            "NAME: 'a\\nb' is not allowed: 1 to 128 printable ASCII characters",
        ),
        (
            &["key", "new"],
            "the following required arguments were not provided: <NAME>",
        ),
        (&["key", "new", "a", "b"], "unexpected argument 'b' found"),
    ] {
        let end = run(&mut threadcast(arguments));
        assert_eq!(refused(&end), format!("threadcast: {expected}"));
    }
    assert!(refused(&run(&mut threadcast(&["key"]))).contains("subcommand"));
}

#[test]
fn sighup_reloads_the_keys_and_an_invalid_file_changes_nothing() {
    let file = TextFile::new(&entry("one", "secret-1", "admin = true"));
    let (program, address) =
        Program::serve(threadcast(&SERVE).env("PUBSUB_KEYS_FILE", file.path()));
    get(&address, "/health", "secret-1").expect(200);
    file.write("[[key]]\nname = \"one\"\nsha256 = \"secret-2\"");
    program.signal(Signal::SIGHUP);
    let line = program.logged("the keys were not reloaded");
    assert!(line.contains("WARN"), "{line}");
    assert!(
        line.contains("key 'one': sha256 must be 64 hex digits"),
        "{line}"
    );
    assert!(line.contains(file.path().to_str().unwrap()), "{line}");
    get(&address, "/health", "secret-1").expect(200);
    file.write(&entry("two", "secret-2", "admin = true"));
    program.signal(Signal::SIGHUP);
    let line = program.logged("keys reloaded");
    assert!(line.contains("keys=1"), "{line}");
    get(&address, "/health", "secret-1").expect_problem(401, "UNAUTHORIZED");
    get(&address, "/health", "secret-2").expect(200);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn secrets_are_never_shown() {
    let secrets = [
        "the-api-secret",
        "named-secret",
        "wrong-secret",
        "misplaced-secret",
    ];
    let [api, named, wrong, misplaced] = secrets;
    let keys = entry("named", named, "publish = [\"orders\"]");
    let file = TextFile::new(&keys);
    let mut command = threadcast(&["--port", "0", "--api-key", api, "--log-level", "trace"]);
    let (program, address) = Program::serve(command.env("PUBSUB_KEYS_FILE", file.path()));
    let mut said = String::new();
    for secret in [api, named, wrong] {
        said += &everything_said_to(address.parse().unwrap(), secret);
    }
    file.write(&format!(
        "{keys}\n[[key]]\nname = \"x\"\nsha256 = \"{misplaced}\""
    ));
    program.signal(Signal::SIGHUP);
    said += &program.logged("not reloaded");
    file.write(&format!("{keys}\nadmin = \"{misplaced}\""));
    program.signal(Signal::SIGHUP);
    said += &program.logged("not reloaded");
    program.signal(Signal::SIGTERM);
    let End { code, out, err } = program.end();
    assert_eq!(code, Some(0));
    assert!(said.contains("101 ") && said.contains("\"ack\"") && said.contains("FORBIDDEN"));
    said += &[out, err].concat().join("\n");
    for secret in secrets {
        let encoded = BASE64URL_NOPAD.encode(secret.as_bytes());
        let digest = HEXLOWER.encode(&Sha256::digest(secret));
        for trace in [secret, &encoded, &digest] {
            assert!(!said.contains(trace), "{trace} is in: {said}");
        }
    }
}

/// All responses to requests that present a secret in every form.
fn everything_said_to(server: SocketAddr, secret: &str) -> String {
    let mut said = String::new();
    let bearer = format!("Bearer {secret}");
    for field in [("Authorization", bearer.as_str()), ("X-API-Key", secret)] {
        for (method, path, body) in [
            ("POST", "/topics", r#"{"name":"orders"}"#),
            ("POST", "/topics/orders/messages", r#"{"payload":1}"#),
            ("GET", "/topics/orders/messages", ""),
            ("GET", "/health", ""),
            ("GET", "/stats", ""),
            ("GET", "/metrics", ""),
            ("GET", "/nowhere", ""),
        ] {
            let reply = HttpClient::connect(server).request(method, path, &[field], body);
            said += &reply.to_string();
        }
    }
    let encoded = BASE64URL_NOPAD.encode(secret.as_bytes());
    let pair = format!("threadcast.v1, bearer.{encoded}");
    let ways = || {
        [
            Dial::to(server).field("Sec-WebSocket-Protocol", &pair),
            Dial::to(server).target(&format!("/ws?token={secret}")),
            Dial::to(server).field("Authorization", &bearer),
        ]
    };
    for way in ways() {
        let mut http = HttpClient::connect(server);
        http.send_raw(way.request().as_bytes());
        let reply = http.read_reply();
        said += &reply.to_string();
        if reply.status != 101 {
            return said;
        }
    }
    for way in ways() {
        let mut client = way.connect();
        let message = json!({"id": uuid_of(1), "payload": 1});
        for request in [
            json!({"type": "publish", "topic": "orders", "message": message}),
            json!({"type": "publish", "topic": "nothing", "message": message}),
            json!({"type": "subscribe", "topic": "orders", "client_id": "c"}),
            json!({"type": "nonsense"}),
        ] {
            said += &client.ask(request).to_string();
        }
    }
    said
}
