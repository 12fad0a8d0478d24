//! `threadcast pub`: what is published, what is printed, and the exit codes.

use std::io::{Write, pipe};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::{End, Program, run, threadcast};
use crate::harness::{TestServer, eventually};

/// `threadcast pub` with this server.
pub(super) fn publish(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = threadcast(&["pub"]);
    command
        .args(arguments)
        .env("PUBSUB_URL", format!("ws://{}/ws", server.addr()));
    command
}

fn fed(mut command: Command, input: &str) -> End {
    let (reader, mut writer) = pipe().expect("a pipe");
    let program = Program::start(command.stdin(reader));
    drop(command);
    // A command that fails early does not read everything.
    let _broken = writer.write_all(input.as_bytes());
    drop(writer);
    program.end()
}

fn payloads(server: &TestServer) -> Vec<Value> {
    let page = server.http().get("/topics/orders/messages").expect(200);
    let events = page["events"].as_array().expect("events").clone();
    events
        .into_iter()
        .map(|event| event["message"]["payload"].clone())
        .collect()
}

#[test]
fn one_message_is_published_without_output() {
    let server = TestServer::with_topic("orders");
    for payload in [r#"{"a":1.50}"#, "-1", "null", "\"text\""] {
        let end = run(&mut publish(&server, &["orders", payload]));
        assert_eq!(
            (end.code, end.out.len(), end.err.len()),
            (Some(0), 0, 0),
            "{end:?}"
        );
    }
    let end = run(&mut publish(&server, &["orders", "--text", "not {JSON"]));
    assert_eq!(end.code, Some(0), "{end:?}");
    let expected: Value =
        serde_json::from_str(r#"[{"a":1.50},-1,null,"text","not {JSON"]"#).unwrap();
    assert_eq!(Value::from(payloads(&server)), expected);
}

#[test]
fn each_stdin_line_is_a_message_and_verbose_prints_its_seq() {
    let server = TestServer::with_topic("orders");
    let end = fed(
        publish(&server, &["orders", "--verbose"]),
        "1\n\n  \n[2]\r\n\"three\"",
    );
    assert_eq!(
        (end.code, end.out.as_slice()),
        (Some(0), &["1", "2", "3"].map(String::from)[..]),
        "{end:?}"
    );
    let end = fed(
        publish(&server, &["orders", "-", "--text", "--json"]),
        "a b\n",
    );
    assert_eq!(end.code, Some(0), "{end:?}");
    let receipt: Value = serde_json::from_str(&end.out[0]).unwrap();
    assert_eq!(
        (&receipt["topic"], &receipt["seq"]),
        (&"orders".into(), &4.into())
    );
    assert!(receipt["id"].is_string() && receipt["ts"].is_string());
    let expected: Value = serde_json::from_str(r#"[1,[2],"three","a b"]"#).unwrap();
    assert_eq!(Value::from(payloads(&server)), expected);
}

#[test]
fn slow_input_is_published_line_by_line() {
    let server = TestServer::with_topic("orders");
    let (reader, mut writer) = pipe().expect("a pipe");
    let mut command = publish(&server, &["orders"]);
    let program = Program::start(command.stdin(reader));
    drop(command);
    for seq in 1..=3 {
        writer.write_all(b"1\n").unwrap();
        eventually("the line is in the topic", || {
            server.topic("orders")["seq"] == seq
        });
    }
    drop(writer);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn invalid_line_stops_after_publishing_the_lines_before_it() {
    let server = TestServer::with_topic("orders");
    let end = fed(publish(&server, &["orders"]), "1\nnonsense\n3\n");
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains("line 2"), "{end:?}");
    assert_eq!(server.topic("orders")["seq"], 1);
}

#[test]
fn message_is_repeated_at_a_rate() {
    let server = TestServer::with_topic("orders");
    let before = Instant::now();
    let end = run(&mut publish(
        &server,
        &["orders", "7", "--count", "11", "--rate", "50"],
    ));
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(before.elapsed() >= Duration::from_millis(200));
    assert_eq!(payloads(&server), vec![Value::from(7); 11]);
}

#[test]
fn refusal_is_exit_code_1_with_a_hint() {
    let server = TestServer::with_topic("orders");
    let end = run(&mut publish(&server, &["nowhere", "1"]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains("TOPIC_NOT_FOUND"), "{end:?}");
    let port = server.addr().port().to_string();
    server.shutdown();
    let end = run(&mut threadcast(&["pub", "orders", "1", "--port", &port]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(
        end.err[0].contains("is the server running there?"),
        "{end:?}"
    );
}

#[test]
fn invalid_command_line_is_exit_code_2() {
    let server = TestServer::with_topic("orders");
    let wrong: [&[&str]; 10] = [
        &[],
        &["orders", "nonsense"],
        &["not a name", "1"],
        &["orders", "1", "--rate", "0"],
        &["orders", "1", "--count", "0"],
        &["orders", "--count", "2"],
        &["orders", "1", "--url", "ftp://example.org"],
        &["orders", "1", "--url", "ws://example.org/ws?token=s3cret"],
        &["orders", "1", "--key", "s3cret\n"],
        &["orders", "1", "--key", ""],
    ];
    for arguments in wrong {
        let end = run(&mut publish(&server, arguments));
        assert_eq!(
            (end.code, end.err.len()),
            (Some(2), 1),
            "{arguments:?}: {end:?}"
        );
        assert!(!end.err[0].contains("s3cret"), "{end:?}");
    }
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn key_comes_from_the_flag_or_either_variable() {
    let server = TestServer::with(|config| config.api_key = threadcast::ApiKey::new("s3cret").ok());
    let list = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = threadcast(&["topics"]);
        command
            .args(arguments)
            .env("PUBSUB_URL", format!("http://{}", server.addr()))
            .envs(variables.iter().copied());
        run(&mut command)
    };
    let key = ["--key", "s3cret"];
    for (arguments, variables) in [
        (&key[..], &[][..]),
        (&["list", key[0], key[1]], &[]),
        (&[], &[("PUBSUB_KEY", key[1]), ("PUBSUB_API_KEY", "other")]),
        (&[], &[("PUBSUB_KEY", ""), ("PUBSUB_API_KEY", key[1])]),
    ] {
        let end = list(arguments, variables);
        assert_eq!(end.code, Some(0), "{end:?}");
    }
    for variables in [&[][..], &[("PUBSUB_KEY", "wr0ng")]] {
        let end = list(&[], variables);
        assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
        let line = &end.err[0];
        assert!(
            line.contains("UNAUTHORIZED") && !line.contains("wr0ng"),
            "{line}"
        );
    }
}

#[test]
fn lines_before_an_invalid_one_are_published_with_receipts() {
    let server = TestServer::with_topic("orders");
    let good: String = (1..=5).map(|number| format!("{number}\n")).collect();
    for wrong in ["{bad\n", "\u{fffd}".repeat(3).as_str()] {
        let before = payloads(&server).len();
        let end = fed(
            publish(&server, &["orders", "--verbose"]),
            &format!("{good}\n{wrong}"),
        );
        assert_eq!(
            (end.code, end.out.len(), end.err.len()),
            (Some(1), 5, 1),
            "{end:?}"
        );
        assert!(end.err[0].starts_with("threadcast: line 7: "), "{end:?}");
        assert_eq!(payloads(&server).len() - before, 5);
    }
}

#[test]
fn refused_lines_are_reported_by_line_number() {
    let server = TestServer::with(|config| config.max_publish_rate = 3);
    server.create_topic("orders");
    let lines: String = (1..=20).map(|number| format!("{number}\n\n")).collect();
    let end = fed(publish(&server, &["orders"]), &lines);
    let published = payloads(&server);
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(
        !end.err.is_empty() && published.len() + end.err.len() <= 20,
        "{end:?}"
    );
    // On a slow machine the rate may allow another message while others are in flight.
    let refused = (1..=20_u64).find(|number| !published.contains(&Value::from(*number)));
    let line = 2 * refused.expect("a message that was refused") - 1;
    let first = format!("threadcast: line {line}: RATE_LIMITED: ");
    assert!(end.err[0].starts_with(&first), "{first}: {end:?}");
    let numbers = end.err.iter().map(|line| {
        let number = line.strip_prefix("threadcast: line ").expect("a line");
        number.split(':').next().unwrap().parse::<u32>().unwrap()
    });
    assert!(numbers.is_sorted(), "{end:?}");
}

#[test]
fn refused_single_message_is_reported_without_a_number() {
    let server = TestServer::with_topic("orders");
    let end = run(&mut publish(&server, &["nowhere", "1"]));
    let expected =
        "threadcast: TOPIC_NOT_FOUND: Topic 'nowhere' does not exist; create the topic first";
    assert_eq!((end.code, end.err), (Some(1), vec![expected.to_owned()]));
}

#[test]
fn host_flag_takes_precedence_over_the_url_variable() {
    let (meant, other) = (
        TestServer::with_topic("orders"),
        TestServer::with_topic("orders"),
    );
    let port = meant.addr().port().to_string();
    for flags in [&["--port", &port][..], &[&format!("--port={port}")]] {
        let mut command = publish(&other, &["orders", "1"]);
        let end = run(command.args(flags));
        assert_eq!(end.code, Some(0), "{end:?}");
    }
    assert_eq!((payloads(&meant).len(), payloads(&other).len()), (2, 0));
    let url = format!("ws://{}/ws", meant.addr());
    let end = run(publish(&other, &["orders", "1"]).args(["--url", &url, "--port", &port]));
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    let end = run(&mut threadcast(&["topics", "--url", "bogus://x"]));
    assert_eq!(end.code, Some(2), "{end:?}");
    assert!(
        end.err[0].starts_with("threadcast: --url (PUBSUB_URL): "),
        "{end:?}"
    );
}

#[test]
fn unprintable_receipt_is_reported_and_everything_is_published() {
    let server = TestServer::with_topic("orders");
    for flag in ["--json", "--verbose"] {
        let mut command = publish(&server, &["orders", "1", "--count", "3", flag]);
        let full = std::fs::File::options().write(true).open("/dev/full");
        let end = Program::start(command.stdout(full.expect("/dev/full"))).end();
        assert_eq!(end.code, Some(1), "{end:?}");
        let [line] = &end.err[..] else {
            panic!("{end:?}");
        };
        assert!(line.starts_with("threadcast: standard output: "), "{line}");
    }
    assert_eq!(payloads(&server).len(), 6);
}

#[test]
fn messages_are_sent_again_when_connections_are_killed() {
    const MESSAGES: usize = 2_000;
    let server = TestServer::with(|config| config.history_size = MESSAGES);
    server.create_topic("orders");
    let is_over = AtomicBool::new(false);
    let (end, kills) = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut http = server.http();
            let mut kills = 0;
            while !is_over.load(Ordering::SeqCst) {
                let list = http.get("/connections").expect(200);
                for connection in list["connections"].as_array().unwrap() {
                    if connection["protocol"] == "websocket" {
                        let path = format!("/connections/{}", connection["id"]);
                        kills += u32::from(http.delete(&path).status == 200);
                    }
                }
                thread::park_timeout(Duration::from_millis(50));
            }
            kills
        });
        let count = MESSAGES.to_string();
        let end = run(&mut publish(
            &server,
            &["orders", "1", "--count", &count, "--rate", "2000", "--json"],
        ));
        is_over.store(true, Ordering::SeqCst);
        (end, killer.join().unwrap())
    });
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert!(kills > 3, "{kills} kills");
    let page = server.http().get("/topics/orders/messages").expect(200);
    let kept = page["events"].as_array().unwrap();
    assert_eq!((kept.len(), end.out.len()), (MESSAGES, MESSAGES));
    for (event, line) in kept.iter().zip(&end.out) {
        let receipt: Value = serde_json::from_str(line).unwrap();
        assert_eq!(receipt["seq"], event["seq"]);
        assert_eq!(receipt["id"], event["message"]["id"]);
    }
}
