//! The Rust client and the commands over TLS.

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use threadcast::client::{Client, ClientBuilder, Delivery, Error, Start, Subscription};

use super::TlsServer;
use crate::harness::{Authority, ChildServer, DEADLINE, TestServer, TextFile};

const MESSAGES: u64 = 300;

impl TlsServer {
    /// A file with the certificate of its authority.
    fn ca(&self) -> TextFile {
        TextFile::new(&self.authority.pem())
    }

    fn client(&self) -> ClientBuilder {
        Client::builder(&format!("wss://localhost:{}/ws", self.addr().port()))
            .request_timeout(DEADLINE)
            .reconnect_pauses(Duration::from_millis(1), Duration::from_millis(20))
    }
}

fn next_seq(subscription: &mut Subscription) -> u64 {
    match subscription.recv_timeout(DEADLINE) {
        Ok(Some(Delivery::Event(event))) => event.seq(),
        other => panic!("expected an event, got {other:?}"),
    }
}

#[test]
fn client_publishes_subscribes_and_asks_over_tls() {
    let server = TlsServer::with(|config| config.max_queue_size = 1000);
    let ca = server.ca();
    let client = server.client().ca_file(ca.path()).connect().unwrap();
    client.create_topic("orders").unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    let mut pipeline = client.pipeline("orders", 64);
    // More than the kernel holds, in both directions at once.
    let payload = "x".repeat(20_000);
    for _ in 0..MESSAGES {
        pipeline.send(&payload).unwrap();
    }
    pipeline.finish().unwrap();
    for seq in 1..=MESSAGES {
        assert_eq!(next_seq(&mut subscription), seq);
    }
    assert_eq!(client.topic("orders").unwrap().seq, MESSAGES);
}

#[test]
fn client_comes_back_over_tls_without_a_hole() {
    let server = TlsServer::start();
    let ca = server.ca();
    let client = server.client().ca_file(ca.path()).connect().unwrap();
    client.create_topic("orders").unwrap();
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_seq(&mut subscription), 1);
    let http = super::get(&mut server.connect(), "/connections");
    for id in websocket_ids(&http) {
        let request = format!(
            "DELETE /connections/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        super::ask(&mut server.connect(), &request);
    }
    client.publish("orders", &2).unwrap();
    assert_eq!(next_seq(&mut subscription), 2);
}

/// The ids of the WebSockets in a response with the list of connections.
fn websocket_ids(response: &str) -> Vec<u64> {
    let (_, body) = response.split_once("\r\n\r\n").expect("a response");
    let list: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let all = list["connections"].as_array().expect("a list");
    let websockets = all.iter().filter(|one| one["protocol"] == "websocket");
    let ids = websockets.map(|one| one["id"].as_u64().expect("an id"));
    let ids: Vec<_> = ids.collect();
    assert!(!ids.is_empty(), "{body}");
    ids
}

/// The text of the refusal by a client that connects with these settings.
fn refusal(builder: ClientBuilder) -> String {
    match builder.connect() {
        Err(error @ Error::Tls { .. }) => error.to_string(),
        other => panic!("expected an error of TLS, got {other:?}"),
    }
}

#[test]
fn certificate_that_is_not_accepted_is_one_clear_sentence() {
    let server = TlsServer::start();
    let ca = server.ca();
    let other = TextFile::new(&Authority::new().pem());
    let text = refusal(server.client().ca_file(other.path()));
    assert!(
        text.contains("has signed its certificate; give the file"),
        "{text}"
    );
    let elsewhere = format!("wss://127.0.0.2:{}/ws", server.addr().port());
    let any = TlsServer::with(|config| config.host = "0.0.0.0".to_owned());
    let elsewhere = elsewhere.replace(
        &server.addr().port().to_string(),
        &any.addr().port().to_string(),
    );
    let text = refusal(Client::builder(&elsewhere).ca_file(any.ca().path()));
    assert!(
        text.contains("its certificate is for another name"),
        "{text}"
    );
    server.files.write(&server.authority.own());
    server.server.embedded().reload_certificate().unwrap();
    let text = refusal(server.client().ca_file(ca.path()));
    assert!(text.contains("that of an authority (CA:TRUE)"), "{text}");
    let expired = server.authority.issue_expired();
    server.files.write(&expired);
    server.server.embedded().reload_certificate().unwrap();
    let text = refusal(server.client().ca_file(ca.path()));
    assert!(text.contains("its certificate has expired"), "{text}");
}

#[test]
fn scheme_that_does_not_fit_is_one_clear_sentence() {
    let server = TlsServer::start();
    let ca = server.ca();
    let plain = TestServer::start();
    let to_plain = format!("wss://localhost:{}/ws", plain.addr().port());
    let text = refusal(Client::builder(&to_plain).ca_file(ca.path()));
    assert!(
        text.contains("does not speak TLS there; use ws://"),
        "{text}"
    );
    let to_tls = Client::builder(&format!("ws://{}/ws", server.addr()));
    let error = to_tls.connect().unwrap_err().to_string();
    assert!(error.contains("speaks TLS there; use wss://"), "{error}");
}

#[test]
fn server_that_never_answers_the_handshake_is_left_at_the_timeout() {
    let ca = TextFile::new(&Authority::new().pem());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::builder(&format!(
        "wss://localhost:{}",
        silent.local_addr().unwrap().port()
    ))
    .ca_file(ca.path())
    .connect_timeout(Duration::from_millis(100))
    .request_timeout(Duration::from_millis(300));
    let refused = client.connect();
    assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
}

#[test]
fn ca_file_without_certificates_is_refused_before_anything_is_sent() {
    let missing = Client::builder("wss://localhost:1").ca_file("/nowhere/ca.pem");
    let error = missing.connect().unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

fn command(server: &TlsServer, arguments: &[&str]) -> Command {
    let mut command = ChildServer::command(&[]);
    command
        .args(arguments)
        .env(
            "PUBSUB_URL",
            format!("https://localhost:{}", server.addr().port()),
        )
        .stdin(Stdio::null());
    command
}

fn run(server: &TlsServer, arguments: &[&str]) -> Output {
    command(server, arguments)
        .output()
        .expect("the program runs")
}

#[test]
fn every_command_takes_a_url_with_tls_and_an_authority() {
    let server = TlsServer::start();
    let ca = server.ca();
    for arguments in [
        &["topics", "create", "orders"][..],
        &["pub", "orders", "1"],
        &["topics", "list"],
        &["sub", "orders", "--last", "1", "--count", "1"],
        &["nodes"],
        &["healthcheck"],
    ] {
        let output = run(&server, &[arguments, &["--ca", ca.name()]].concat());
        assert!(
            output.status.success() || arguments == ["nodes"],
            "{arguments:?}: {output:?}"
        );
    }
    let by_variable = command(&server, &["healthcheck"])
        .env("PUBSUB_CA_FILE", ca.name())
        .output();
    assert!(by_variable.unwrap().status.success());
}

/// As in a container: with the variables of the server, and whatever its certificate is.
#[test]
fn health_check_needs_no_url_and_no_authority() {
    let server = TlsServer::start();
    let alive = || {
        let mut command = ChildServer::command(&[]);
        command
            .arg("healthcheck")
            .env("PUBSUB_HOST", "0.0.0.0")
            .env("PUBSUB_PORT", server.addr().port().to_string())
            .env("PUBSUB_TLS_CERT", server.files.cert.path())
            .stdin(Stdio::null());
        command.output().expect("the program runs")
    };
    assert!(alive().status.success(), "{:?}", alive());
    server.files.write(&server.authority.issue_expired());
    server.server.embedded().reload_certificate().unwrap();
    assert!(alive().status.success(), "{:?}", alive());
}

#[test]
fn commands_say_in_one_line_what_is_wrong_with_the_certificate() {
    let server = TlsServer::start();
    let output = run(
        &server,
        &[
            "topics",
            "list",
            "--ca",
            TextFile::new(&Authority::new().pem()).name(),
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("has signed its certificate"), "{text}");
    let output = run(&server, &["topics", "list", "--ca", "/nowhere/ca.pem"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("--ca (PUBSUB_CA_FILE): /nowhere/ca.pem"),
        "{text}"
    );
}
