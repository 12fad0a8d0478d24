//! Every setting as a flag and a variable, and what is told when it is wrong.

use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::harness::HttpClient;

use super::program::{End, Program, run, threadcast};

/// A wrong value for each setting.
const WRONG: [(&str, &str); 48] = [
    ("PUBSUB_HOST", "http://localhost"),
    ("PUBSUB_PORT", "99999"),
    ("PUBSUB_KEYS_FILE", "/nowhere/keys.toml"),
    ("PUBSUB_JWT_KEYS", "http://login.example/jwks.json"),
    ("PUBSUB_JWT_KEYS_CA_FILE", "/nowhere/ca.pem"),
    ("PUBSUB_JWT_AUDIENCE", "nobody may sign tokens"),
    ("PUBSUB_JWT_ISSUER", "nobody may sign tokens"),
    ("PUBSUB_MAX_CONNECTIONS_PER_USER", "-1"),
    ("PUBSUB_LOG_LEVEL", "loud"),
    ("PUBSUB_LOG_FORMAT", "xml"),
    ("PUBSUB_MAX_QUEUE_SIZE", "0"),
    ("PUBSUB_METRICS_TOPICS", "-1"),
    ("PUBSUB_HISTORY_SIZE", "-1"),
    ("PUBSUB_HISTORY_BYTES", "8MB"),
    ("PUBSUB_MAX_MEMORY_BYTES", "0"),
    ("PUBSUB_OVERFLOW", "drop_newest"),
    ("PUBSUB_HISTORY_TTL_SECS", "1h"),
    ("PUBSUB_IDEMPOTENCY_WINDOW_SECS", "0"),
    ("PUBSUB_TOPICS", "orders,a b"),
    ("PUBSUB_AUTO_CREATE_TOPICS", "maybe"),
    ("PUBSUB_TOPIC_IDLE_SECS", "-1"),
    ("PUBSUB_BLOCK_TIMEOUT_SECS", "-1"),
    ("PUBSUB_MAX_MESSAGE_BYTES", "0"),
    ("PUBSUB_MAX_CONNECTIONS", "0"),
    ("PUBSUB_MAX_CONNECTIONS_PER_IP", "-1"),
    ("PUBSUB_MAX_REQUEST_RATE", "fast"),
    ("PUBSUB_TRUSTED_PROXIES", "10.0.0.0/8,localhost"),
    ("PUBSUB_PROXY_PROTOCOL", "v2"),
    ("PUBSUB_MAX_TOPICS", "many"),
    ("PUBSUB_MAX_SUBSCRIPTIONS", "1.5"),
    ("PUBSUB_MAX_PUBLISH_RATE", "+1"),
    ("PUBSUB_HEARTBEAT_SECS", "30s"),
    ("PUBSUB_HEARTBEAT_JSON", "maybe"),
    ("PUBSUB_REQUEST_TIMEOUT_SECS", "inf"),
    ("PUBSUB_WRITE_TIMEOUT_SECS", "1e3"),
    ("PUBSUB_KEEP_ALIVE_SECS", "0"),
    ("PUBSUB_DRAIN_TIMEOUT_SECS", "99999"),
    ("PUBSUB_SEND_BUFFER_BYTES", "0"),
    ("PUBSUB_REST_WORKERS", "257"),
    ("PUBSUB_ALLOWED_ORIGINS", "https://a.example,b.example"),
    ("PUBSUB_REDIS_URL", "redis://a,http://b"),
    ("PUBSUB_REDIS_PREFIX", "a b"),
    ("PUBSUB_ADVERTISED_ADDRESS", "0.0.0.0:8080"),
    ("PUBSUB_REDIS_CA_FILE", "/nowhere/ca.pem"),
    ("PUBSUB_REDIS_CERT_FILE", "/nowhere/node.pem"),
    ("PUBSUB_REDIS_KEY_FILE", "/nowhere/node.key"),
    ("PUBSUB_TLS_CERT", "/nowhere/cert.pem"),
    ("PUBSUB_TLS_KEY", "/nowhere/key.pem"),
];

fn flag(variable: &str) -> String {
    variable
        .replace("PUBSUB_", "--")
        .replace('_', "-")
        .to_lowercase()
}

/// The one line of a start that was refused.
fn refused(end: &End) -> &str {
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(end.out.is_empty(), "{end:?}");
    assert_eq!(end.err.len(), 1, "{end:?}");
    &end.err[0]
}

#[test]
fn a_wrong_variable_stops_the_start_with_one_line_that_names_it() {
    for (variable, value) in WRONG {
        let end = run(threadcast(&[]).env(variable, value));
        let start = format!("threadcast: {variable}: '{value}' is not allowed: ");
        assert!(refused(&end).starts_with(&start), "{end:?}");
        assert!(
            refused(&end).len() > start.len(),
            "what is allowed must be told: {end:?}"
        );
    }
}

#[test]
fn a_wrong_flag_stops_the_start_with_one_line_that_names_it() {
    for (variable, value) in WRONG {
        let flag = flag(variable);
        let end = run(&mut threadcast(&["serve", &flag, value]));
        let start = format!("threadcast: {flag} ({variable}): '{value}' is not allowed: ");
        assert!(refused(&end).starts_with(&start), "{end:?}");
    }
}

#[test]
fn a_variable_that_is_no_utf8_is_a_wrong_value() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let value = OsStr::from_bytes(b"12\xff\n");
    for (variable, _) in WRONG {
        let end = run(threadcast(&[]).env(variable, value));
        let start = format!("threadcast: {variable}: '12\\xff\\n' is not allowed: ");
        assert!(refused(&end).starts_with(&start), "{end:?}");
    }
}

/// The header of the PROXY protocol is believed of trusted proxies alone.
#[test]
fn the_proxy_protocol_needs_trusted_proxies() {
    let end = run(threadcast(&[]).env("PUBSUB_PROXY_PROTOCOL", "true"));
    let start = "threadcast: PUBSUB_PROXY_PROTOCOL: 'true' is not allowed: false without ";
    assert!(refused(&end).starts_with(start), "{end:?}");
}

#[test]
fn an_unknown_flag_stops_the_start_with_one_line() {
    let end = run(&mut threadcast(&["--max-queue", "7"]));
    assert!(refused(&end).contains("--max-queue"), "{end:?}");
}

#[test]
fn a_host_without_an_address_here_is_a_wrong_value() {
    // 192.0.2.0/24 is reserved for documentation: no machine has it.
    let end = run(threadcast(&["--port", "0"]).env("PUBSUB_HOST", "192.0.2.1"));
    assert!(refused(&end).starts_with("threadcast: PUBSUB_HOST: '192.0.2.1' is not allowed: "));
}

#[test]
fn a_port_in_use_is_told_in_one_line_with_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let end = run(threadcast(&[]).env("PUBSUB_PORT", &port));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains(&port), "{end:?}");
}

#[test]
fn a_flag_wins_over_its_variable() {
    let mut command = threadcast(&["--port", "0", "--history-size", "9"]);
    command
        .env("PUBSUB_PORT", "nonsense")
        .env("PUBSUB_HISTORY_SIZE", "7");
    let (program, _) = Program::serve(command.env("PUBSUB_MAX_TOPICS", "5"));
    let line = program.logged("settings");
    assert!(line.contains(r#"flags="port=0 history_size=9""#), "{line}");
    assert!(line.contains(r#"environment="max_topics=5""#), "{line}");
    assert!(line.contains("max_queue_size=100"), "{line}");
    let line = program.logged("max_connections=");
    assert!(!line.contains("configured"), "{line}");
}

#[test]
fn config_tells_every_setting_and_where_it_came_from() {
    let mut command = threadcast(&["--port", "0", "--api-key", "the-api-key"]);
    command
        .env("PUBSUB_HISTORY_SIZE", "7")
        .env("PUBSUB_HISTORY_BYTES", "2 MiB")
        .env("PUBSUB_API_KEY", "another-one")
        .env("PUBSUB_MAX_CONNECTIONS", "50");
    let (_program, address) = Program::serve(&mut command);
    let mut http = HttpClient::connect(address.parse().expect("an address"));
    let fields = [("X-API-Key", "the-api-key")];
    let reply = http.request("GET", "/config", &fields, "");
    let shown = reply.expect(200);
    let settings = shown["settings"].as_array().expect("a list");
    let mut names: Vec<_> = settings.iter().map(|s| s["name"].as_str()).collect();
    names.sort_unstable();
    let known = WRONG.iter().map(|(variable, _)| *variable);
    let mut expected: Vec<_> = known
        .chain(["PUBSUB_API_KEY", "PUBSUB_JWT_SECRET"])
        .map(Some)
        .collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for setting in settings {
        let name = setting["name"].as_str().expect("a name");
        assert_eq!(setting["flag"], flag(name));
        let source = match name {
            "PUBSUB_PORT" | "PUBSUB_API_KEY" => "flag",
            "PUBSUB_HISTORY_SIZE" | "PUBSUB_HISTORY_BYTES" | "PUBSUB_MAX_CONNECTIONS" => {
                "environment"
            }
            _ => "default",
        };
        assert_eq!(setting["source"], source, "{setting}");
        if source == "default" {
            assert_eq!(setting.get("value"), setting.get("default"), "{setting}");
        }
        match name {
            "PUBSUB_HISTORY_BYTES" => assert_eq!(setting["value"], 2 << 20),
            "PUBSUB_API_KEY" => assert_eq!(setting["value"], "***"),
            "PUBSUB_LOG_LEVEL" => assert_eq!(setting["value"], "INFO"),
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(&reply.body);
    assert!(
        !text.contains("the-api-key") && !text.contains("another-one"),
        "{text}"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let mut command = threadcast(&["--port", "0"]);
    command.envs(WRONG.map(|(variable, _)| (variable, "")));
    let (program, address) = Program::serve(&mut command);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn help_names_every_setting_and_succeeds() {
    for arguments in [&["--help"], &["-h"]] {
        let end = run(threadcast(arguments).env("PUBSUB_PORT", "nonsense"));
        assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
        let help = end.out.join("\n");
        for (variable, _) in WRONG {
            assert!(help.contains(&format!("[env: {variable}]")), "{variable}");
            assert!(
                help.contains(&format!("{} <", flag(variable))),
                "{variable}"
            );
        }
    }
}

#[test]
fn version_is_one_line_on_standard_output() {
    let end = run(&mut threadcast(&["--version"]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert_eq!(
        end.out,
        [format!("threadcast {}", env!("CARGO_PKG_VERSION"))]
    );
}
