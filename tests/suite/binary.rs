//! The binary: exit codes, error messages about settings, and signals.

use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::thread;

use serde_json::json;

use crate::harness::{ChildServer, Dial, HttpClient, WsClient, in_time};

/// Runs the binary until it exits by itself.
fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = ChildServer::command(variables);
    command.args(arguments).stdin(Stdio::null());
    in_time("a failed start", || command.output().unwrap())
}

/// Asserts this exit code and an error message of one line that contains each of `words`.
fn expect_error(output: &Output, exit_code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_code), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "no {word} in {message}");
    }
}

fn subscribers(server: &ChildServer, count: usize) -> Vec<WsClient> {
    HttpClient::connect(server.addr())
        .post("/topics", &json!({"name": "orders"}))
        .expect(201);
    let dial = || Dial::to(server.addr()).receive_buffer(4 << 10).connect();
    let mut clients: Vec<_> = (0..count).map(|_| dial()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("orders", &format!("c{n}"));
    }
    clients
}

#[test]
fn invalid_value_prints_one_line_and_exits_with_2() {
    for (variable, value) in [
        ("PUBSUB_PORT", "70000"),
        ("PUBSUB_MAX_QUEUE_SIZE", "0"),
        ("PUBSUB_MAX_QUEUE_SIZE", "many"),
        ("PUBSUB_HISTORY_SIZE", "-1"),
        ("PUBSUB_OVERFLOW", "explode"),
        ("PUBSUB_LOG_LEVEL", "LOUD"),
        ("PUBSUB_LOG_FORMAT", "xml"),
        ("PUBSUB_HEARTBEAT_JSON", "perhaps"),
        ("PUBSUB_HEARTBEAT_SECS", "soon"),
        ("PUBSUB_REST_WORKERS", "0"),
        ("PUBSUB_MAX_CONNECTIONS", "0"),
    ] {
        let output = run(&[("PUBSUB_PORT", "0"), (variable, value)], &[]);
        expect_error(&output, 2, &[variable, value]);
    }
}

#[test]
fn invalid_flag_prints_one_line_and_exits_with_2() {
    let output = run(&[("PUBSUB_PORT", "0")], &["--max-queue-size", "none"]);
    expect_error(&output, 2, &["none"]);
}

#[test]
fn port_in_use_prints_one_line_and_exits_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&[("PUBSUB_PORT", &port)], &[]);
    expect_error(&output, 1, &[&port]);
}

#[test]
fn flag_takes_precedence_over_environment_variable() {
    let server = ChildServer::start(&[("PUBSUB_HISTORY_SIZE", "7"), ("PUBSUB_OVERFLOW", "block")]);
    let mut http = HttpClient::connect(server.addr());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    let topic = http.get("/topics/orders").expect(200);
    assert_eq!(topic["limits"]["history_size"], 7);
    assert_eq!(topic["overflow"], "block");
    let output = run(
        &[("PUBSUB_PORT", "0"), ("PUBSUB_HISTORY_SIZE", "7")],
        &["--history-size", "x"],
    );
    assert_eq!(output.status.code(), Some(2), "the flag takes precedence");
}

#[test]
fn sigterm_and_sigint_shut_down_gracefully_and_exit_with_0() {
    for signal in ["TERM", "INT"] {
        let mut server = ChildServer::start(&[]);
        let mut clients = subscribers(&server, 3);
        server.signal(signal);
        for client in &mut clients {
            client.next_info("server_shutdown");
            assert_eq!(client.close_code(), Some(1001));
        }
        assert_eq!(server.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn clients_that_do_not_read_do_not_delay_shutdown() {
    let mut server = ChildServer::start(&[
        ("PUBSUB_DRAIN_TIMEOUT_SECS", "1"),
        ("PUBSUB_SEND_BUFFER_BYTES", "8192"),
        ("PUBSUB_MAX_QUEUE_SIZE", "1000"),
    ]);
    let mut clients = subscribers(&server, 200);
    clients[0].publish_padded("orders", 1, 60, 4 << 10);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn second_signal_exits_at_once_with_130() {
    let mut server = ChildServer::start(&[
        ("PUBSUB_DRAIN_TIMEOUT_SECS", "60"),
        ("PUBSUB_WRITE_TIMEOUT_SECS", "60"),
        ("PUBSUB_SEND_BUFFER_BYTES", "8192"),
        ("PUBSUB_MAX_QUEUE_SIZE", "1000"),
    ]);
    let mut stalled = subscribers(&server, 2);
    stalled[0].publish_padded("orders", 1, 200, 4 << 10);
    let mut open = HttpClient::connect(server.addr());
    assert_eq!(open.get("/readyz").status, 200);
    server.signal("TERM");
    while open.get("/readyz").status != 503 {
        thread::yield_now();
    }
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
}
