//! `--url` with several addresses: which server a command uses, and what it says when it goes to another one.

use std::io::{Write, pipe};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::Value;

use super::program::{End, Program, run, threadcast};
use crate::harness::{TestServer, eventually};

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/ws")
}

/// The URL of an address where nothing listens.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    url(listener.local_addr().expect("an address"))
}

/// A command with these servers, in this order.
fn with(servers: &[&TestServer], arguments: &[&str]) -> Command {
    let urls = servers.iter().map(|server| url(server.addr()));
    let mut command = threadcast(arguments);
    command.args(["--url", &urls.collect::<Vec<_>>().join(",")]);
    command
}

fn assert_usage_error(end: &End, expected: &str) {
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    assert!(end.err[0].contains(expected), "{expected}: {end:?}");
}

#[test]
fn each_way_to_give_several_addresses_is_the_same() {
    let server = TestServer::with_topic("orders");
    let (dead, live) = (closed(), url(server.addr()));
    let both = format!("{dead},{live}");
    let list = |arguments: &[&str], variable: &str| {
        let mut command = threadcast(&["topics"]);
        run(command.args(arguments).env("PUBSUB_URL", variable))
    };
    for end in [
        list(&["--url", &both], ""),
        list(&["--url", &dead, "--url", &live], &closed()),
        list(&["list", "--url", &dead, "--url", &live], ""),
        list(&[], &both),
        list(&[], &format!("{live},{dead}")),
    ] {
        assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
        assert_eq!(end.out, ["orders\t0"]);
    }
}

#[test]
fn first_server_that_answers_is_used() {
    let servers = [TestServer::start(), TestServer::start()];
    let [first, second] = &servers;
    let end = run(&mut with(&[second, first], &["topics", "create", "orders"]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert_eq!(
        (&first.health()["topics"], &second.health()["topics"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn wrong_one_among_right_addresses_is_named() {
    let server = TestServer::start();
    let live = url(server.addr());
    for (wrong, reason) in [
        ("ftp://example.org", "expected something like"),
        ("ws://example.org/ws?token=s3cret", "must not contain a key"),
        ("", "expected something like"),
    ] {
        for (urls, number) in [
            (format!("{live},{wrong}"), 2),
            (format!("{wrong},{live}"), 1),
        ] {
            let end = run(threadcast(&["topics"]).env("PUBSUB_URL", &urls));
            assert_usage_error(
                &end,
                &format!("--url (PUBSUB_URL): address {number} of 2: "),
            );
            assert!(end.err[0].contains(reason), "{end:?}");
            assert!(!end.err[0].contains("s3cret"), "{end:?}");
        }
    }
}

#[test]
fn unreachable_servers_are_reported_in_one_line() {
    let (one, other) = (closed(), closed());
    for arguments in [
        &["topics"][..],
        &["sub", "orders"],
        &["pub", "orders", "1"],
        &["top", "--once"],
    ] {
        let end = run(threadcast(arguments).args(["--url", &one, "--url", &other]));
        assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
        for url in [&one, &other] {
            let address = url.trim_start_matches("ws://").trim_end_matches("/ws");
            assert!(end.err[0].contains(address), "{address}: {end:?}");
        }
    }
}

#[test]
fn commands_about_one_server_refuse_several_addresses() {
    let urls = format!("{},{}", closed(), closed());
    for command in ["healthcheck", "bench"] {
        let end = run(&mut threadcast(&[command, "--url", &urls]));
        assert_usage_error(
            &end,
            &format!(": {command} takes the address of one server, not 2"),
        );
    }
    let end = run(threadcast(&["healthcheck"]).env("PUBSUB_URL", &urls));
    assert_usage_error(&end, "--url (PUBSUB_URL): healthcheck takes");
}

#[test]
fn sub_reports_that_it_continues_at_another_server() {
    let first = TestServer::with_topic("orders");
    let second = TestServer::with_topic("orders");
    let program = Program::start(&mut with(&[&first, &second], &["sub", "orders", "-n", "2"]));
    first.await_subscribers("orders", 1);
    first.ws().publish_many("orders", 1, 1);
    first.shutdown();
    program.logged(&format!("reconnected to {}", second.addr()));
    second.await_subscribers("orders", 1);
    second.ws().publish_many("orders", 1, 1);
    let end = program.end();
    assert_eq!((end.code, end.out.len()), (Some(0), 2), "{end:?}");
    assert_eq!(
        end.err,
        ["gap in orders: events were missed (epoch_changed)"]
    );
}

#[test]
fn pub_reports_that_it_continues_at_another_server() {
    let first = TestServer::with_topic("orders");
    let second = TestServer::with_topic("orders");
    let (reader, mut writer) = pipe().expect("a pipe");
    let mut command = with(&[&first, &second], &["pub", "orders", "--json"]);
    let program = Program::start(command.stdin(reader));
    drop(command);
    writer.write_all(b"1\n").unwrap();
    eventually("the line is in the topic", || {
        first.topic("orders")["seq"] == 1
    });
    first.shutdown();
    eventually("it has noticed the end of its connection", || {
        program.threads() == 1
    });
    writer.write_all(b"2\n3\n").unwrap();
    drop(writer);
    let end = program.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(end.err, [format!("reconnected to {}", second.addr())]);
    let seq = |line: &String| {
        let receipt: Value = serde_json::from_str(line).expect("JSON on each line");
        receipt["seq"].as_u64()
    };
    assert_eq!(
        end.out.iter().map(seq).collect::<Vec<_>>(),
        [Some(1), Some(1), Some(2)]
    );
}

#[test]
fn top_shows_the_server_that_answers() {
    let server = TestServer::with_topic("orders");
    let mut command = threadcast(&["top", "--once", "--interval", "0.1"]);
    let end = run(command.args(["--url", &closed(), "--url", &url(server.addr())]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let heading = format!(" at ws://{}/ws: up ", server.addr());
    assert!(end.out[0].contains(&heading), "{end:?}");
}
