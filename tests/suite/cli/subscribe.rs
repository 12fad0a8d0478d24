//! `threadcast sub`: its output, when it ends, and its exit codes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::{Program, run, threadcast};
use super::pty::OnTerminal;
use crate::harness::{TestServer, epoch_of, eventually, publish_text};

fn subscribe(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = threadcast(&["sub"]);
    command
        .args(arguments)
        .env("PUBSUB_URL", format!("ws://{}/ws", server.addr()));
    command
}

fn with_events(count: u64) -> TestServer {
    let server = TestServer::with_topic("orders");
    server.ws().publish_many("orders", 1, count);
    server
}

fn seqs(lines: &[String]) -> Vec<u64> {
    let seq = |line: &String| {
        let event: Value = serde_json::from_str(line).expect("JSON on each line");
        assert_eq!(event["type"], "event");
        event["seq"].as_u64().expect("a number")
    };
    lines.iter().map(seq).collect()
}

#[test]
fn events_are_printed_one_json_text_per_line_up_to_the_count() {
    let server = with_events(5);
    let end = run(&mut subscribe(
        &server,
        &["orders", "--last", "3", "-n", "2"],
    ));
    assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![3, 4]), "{end:?}");
    assert!(end.err.is_empty(), "{end:?}");
}

#[test]
fn resumes_after_a_position_and_reports_a_foreign_epoch() {
    let server = with_events(5);
    let epoch = epoch_of(&server.topic("orders")).to_owned();
    for arguments in [
        &["orders", "-n", "2", "--after", "3"][..],
        &["orders", "-n", "2", "--after", &format!("3@{epoch}")],
        &["orders", "-n", "2", "--after", "3", "--epoch", &epoch],
    ] {
        let end = run(&mut subscribe(&server, arguments));
        assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![4, 5]), "{end:?}");
        assert!(end.err.is_empty(), "{end:?}");
    }
    let end = run(&mut subscribe(
        &server,
        &["orders", "-n", "5", "--after", "3@another"],
    ));
    assert_eq!(
        (end.code, seqs(&end.out)),
        (Some(0), vec![1, 2, 3, 4, 5]),
        "{end:?}"
    );
    assert_eq!(
        end.err,
        ["gap in orders: events were missed (epoch_changed)"]
    );
}

#[test]
fn pattern_follows_topics_that_come_and_go() {
    let server = TestServer::with_topic("shop.eu");
    server.create_topic("other");
    server.ws().publish_many("shop.eu", 1, 3);
    let arguments = ["shop.*", "--last", "1", "-n", "3"];
    let program = Program::start(&mut subscribe(&server, &arguments));
    server.await_subscribers("shop.eu", 1);
    server.create_topic("shop.us");
    server.ws().publish_many("shop.us", 1, 1);
    server.ws().publish_many("other", 1, 1);
    // Only then its last event is published.
    server.delete_topic("shop.us");
    server.ws().publish_many("shop.eu", 4, 4);
    let end = program.end();
    let topics_and_seqs: Vec<_> = end
        .out
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| (event["topic"].clone(), event["seq"].clone()))
        .collect();
    let expected = [("shop.eu", 3), ("shop.us", 1), ("shop.eu", 4)];
    let expected = expected.map(|(topic, seq)| (json!(topic), json!(seq)));
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(topics_and_seqs, expected);
    assert_eq!(
        end.err,
        [
            "'shop.eu' has joined",
            "'shop.us' has joined",
            "'shop.us' was deleted"
        ]
    );
}

#[test]
fn pattern_excludes_another_topic_and_a_position() {
    let server = with_events(0);
    for (arguments, text) in [
        (&["a.*", "orders"][..], "a pattern: without another topic"),
        (&["a.*", "--after", "3"], "--after: only for a single topic"),
        (
            &["a.*", "--after", "3", "--epoch", "e"],
            "--after: only for a single topic",
        ),
        (&["a/*"], "a pattern must be 1 to 128 characters"),
    ] {
        let end = run(&mut subscribe(&server, arguments));
        assert!(end.err[0].contains(text), "{end:?}");
        assert_eq!(end.code, Some(2), "{end:?}");
    }
}

#[test]
fn several_topics_are_followed_and_the_end_of_each_is_reported() {
    let server = with_events(0);
    server.create_topic("payments");
    let program = Program::start(&mut subscribe(&server, &["orders", "payments"]));
    server.await_subscribers("orders", 1);
    server.await_subscribers("payments", 1);
    server.ws().publish_many("payments", 1, 1);
    server.delete_topic("orders");
    server.ws().publish_many("payments", 2, 2);
    server.delete_topic("payments");
    let end = program.end();
    assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![1, 2]), "{end:?}");
    let ended = |topic| format!("the subscription of '{topic}' has ended: the topic was deleted");
    assert_eq!(end.err, [ended("orders"), ended("payments")]);
}

#[test]
fn timeout_is_success_unless_a_count_was_given() {
    let server = with_events(1);
    let before = Instant::now();
    let end = run(&mut subscribe(
        &server,
        &["orders", "-W", "0.2", "--last", "1"],
    ));
    assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![1]), "{end:?}");
    assert!(before.elapsed() >= Duration::from_millis(200));
    let end = run(&mut subscribe(
        &server,
        &["orders", "-W", "0.2", "-n", "2", "--last", "1"],
    ));
    assert_eq!((end.code, end.err.len()), (Some(3), 1), "{end:?}");
    assert!(end.err[0].contains("1 events are missing"), "{end:?}");
}

/// `threadcast sub orders | head -n 1`. Prints the exit code of `sub` to standard error.
fn until_the_first_line(server: &TestServer, flags: &str) -> Command {
    let (program, addr) = (env!("CARGO_BIN_EXE_threadcast"), server.addr());
    let sub = format!("{program} sub orders {flags} --url ws://{addr}/ws");
    let script = format!("({sub}; echo ended with $? >&2) | head -n 1");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[test]
fn closed_stdout_is_success() {
    let server = with_events(0);
    let shell = Program::start(&mut until_the_first_line(&server, ""));
    server.await_subscribers("orders", 1);
    let mut publisher = server.ws();
    let mut number = 0;
    eventually("the subscriber has noticed", || {
        number += 1;
        publisher.publish_many("orders", number, number);
        server.topic("orders")["subscribers"] == 0
    });
    let end = shell.end();
    assert_eq!(
        (seqs(&end.out), end.err),
        (vec![1], vec!["ended with 0".to_owned()])
    );
}

#[test]
fn closed_stdout_is_detected_without_events() {
    let server = with_events(3);
    let end = run(&mut until_the_first_line(&server, "--last 3"));
    assert_eq!(
        (seqs(&end.out), end.err),
        (vec![1], vec!["ended with 0".to_owned()])
    );
}

#[test]
fn lost_connection_and_reconnect_are_reported() {
    let server = with_events(0);
    let addr = server.addr();
    let program = Program::start(&mut subscribe(&server, &["orders", "-n", "1"]));
    server.await_subscribers("orders", 1);
    server.shutdown();
    program.logged("connection lost; reconnecting");
    let server = TestServer::with(|config| config.port = addr.port());
    server.create_topic("orders");
    program.logged("reconnected");
    server.await_subscribers("orders", 1);
    server.ws().publish_many("orders", 1, 1);
    let end = program.end();
    assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![1]), "{end:?}");
}

#[test]
fn timeout_without_a_connection_is_exit_code_1() {
    let server = with_events(0);
    let program = Program::start(&mut subscribe(&server, &["orders", "-W", "3"]));
    server.await_subscribers("orders", 1);
    server.shutdown();
    let end = program.end();
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        end.err.last().unwrap().contains("there is no connection"),
        "{end:?}"
    );
}

#[test]
fn ended_topics_before_the_count_are_exit_code_1() {
    let server = with_events(0);
    let program = Program::start(&mut subscribe(&server, &["orders", "-n", "2"]));
    server.await_subscribers("orders", 1);
    server.ws().publish_many("orders", 1, 1);
    server.delete_topic("orders");
    let end = program.end();
    assert_eq!((end.code, seqs(&end.out)), (Some(1), vec![1]), "{end:?}");
    assert!(end.err[1].contains("1 events are missing"), "{end:?}");
}

#[test]
fn line_break_inside_an_event_is_printed_as_a_space() {
    let server = with_events(0);
    let body = json!({"payload": {"a": "x\ny"}});
    server
        .http()
        .post("/topics/orders/messages", &body)
        .expect(201);
    let mut client = server.ws();
    client.send_text("{\"type\":\"publish\",\"topic\":\"orders\",\"message\":{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"payload\":[1,\r\n2]}}");
    client.next_text();
    let end = run(&mut subscribe(
        &server,
        &["orders", "--last", "2", "-n", "2"],
    ));
    assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![1, 2]), "{end:?}");
}

/// A JSON string with control characters, escaped only where JSON requires it.
const CONTROL_CHARACTERS: &str =
    "\"csi \u{9b}31m nel \u{85} del \u{7f} bidi \u{202e}\u{2066} é 日\"";

fn with_control_characters() -> TestServer {
    let server = with_events(0);
    let mut client = server.ws();
    client.send_text(&publish_text("orders", CONTROL_CHARACTERS, "p"));
    client.expect_ack("p");
    server
}

#[test]
fn control_characters_are_escaped_on_a_terminal() {
    let server = with_control_characters();
    let arguments = ["orders", "--last", "1", "-n", "1"];
    let terminal = OnTerminal::start(&mut subscribe(&server, &arguments), (24, 80));
    let end = terminal.program.end();
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    eventually("the event is printed", || terminal.drawn().ends_with('\n'));
    let drawn = terminal.drawn();
    let line = drawn.trim_end();
    let raw =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!line.contains(raw), "{line:?}");
    assert!(
        line.contains("\\u009b31m") && line.contains("é 日"),
        "{line:?}"
    );
    let event: Value = serde_json::from_str(line).expect("still JSON");
    let payload: Value = serde_json::from_str(CONTROL_CHARACTERS).expect("JSON");
    assert_eq!(event["message"]["payload"], payload);
}

#[test]
fn events_in_a_pipe_are_unchanged() {
    let server = with_control_characters();
    let end = run(&mut subscribe(
        &server,
        &["orders", "--last", "1", "-n", "1"],
    ));
    assert!(end.out[0].contains(CONTROL_CHARACTERS), "{end:?}");
}

#[test]
fn missing_topic_is_exit_code_1_and_invalid_argument_is_2() {
    let server = with_events(0);
    let end = run(&mut subscribe(&server, &["nowhere"]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains("TOPIC_NOT_FOUND"), "{end:?}");
    let wrong: [&[&str]; 9] = [
        &[],
        &["not a name"],
        &["orders", "orders"],
        &["orders", "payments", "--after", "1"],
        &["orders", "--after", "x"],
        &["orders", "--after", "1@a", "--epoch", "a"],
        &["orders", "--epoch", "a"],
        &["orders", "--last", "1", "--after", "1"],
        &["orders", "-n", "0"],
    ];
    for arguments in wrong {
        let end = run(&mut subscribe(&server, arguments));
        assert_eq!(
            (end.code, end.err.len()),
            (Some(2), 1),
            "{arguments:?}: {end:?}"
        );
    }
}

#[test]
fn presence_is_reported_on_standard_error() {
    let server = with_events(0);
    let arguments = ["orders", "--presence", "--client-id", "me", "-n", "1"];
    let program = Program::start(&mut subscribe(&server, &arguments));
    let line = program.logged("subscribed");
    assert_eq!(line, "1 subscribed to 'orders': me");
    let mut other = server.ws();
    other.subscribe("orders", "on\u{1b}e");
    let line = program.logged("joined");
    assert_eq!(line, "2 subscribed to 'orders'; joined: on\\u{1b}e");
    other.close();
    let line = program.logged("left");
    assert_eq!(line, "1 subscribed to 'orders'; left: on\\u{1b}e");
    server.ws().publish_many("orders", 1, 1);
    let end = program.end();
    assert_eq!((end.code, seqs(&end.out)), (Some(0), vec![1]), "{end:?}");
    assert!(end.err.is_empty(), "{end:?}");
}
