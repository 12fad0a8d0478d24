//! `threadcast top`: the plain table, and the live view on a terminal.

use std::ffi::OsStr;
use std::io::pipe;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::program::{End, Program, run, threadcast};
use super::pty::OnTerminal;
use crate::harness::{TestServer, eventually};

const SIZE: (u16, u16) = (24, 120);

fn top(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = threadcast(&["top", "--interval", "0.1"]);
    command
        .args(arguments)
        .env("PUBSUB_URL", format!("ws://{}/ws", server.addr()));
    command
}

/// The words of the only line that contains this text.
fn words<'a>(end: &'a End, text: &str) -> Vec<&'a str> {
    let mut lines = end.out.iter().filter(|line| line.contains(text));
    let (line, another) = (lines.next(), lines.next());
    assert_eq!(another, None, "{text}: {end:?}");
    let line = line.unwrap_or_else(|| panic!("no {text}: {end:?}"));
    line.split_whitespace().collect()
}

#[test]
fn plain_table_lists_topics_and_lagging_subscriptions() {
    let server = TestServer::with(|config| config.max_queue_size = 1000);
    server.create_topic("orders");
    server.create_topic("payments");
    let mut publisher = server.ws();
    let mut quick = server.ws();
    quick.subscribe("payments", "quick \u{1b}[2J");
    // It reads nothing, so events beyond the socket buffers stay queued.
    let mut slow = server.small_buffer_ws();
    slow.subscribe("orders", "slow");
    let padding = "x".repeat(60_000);
    for _ in 0..100 {
        publisher.publish("orders", &padding.as_str().into());
    }
    let end = run(&mut top(&server, &["--once", "--sort", "name"]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert!(end.out[0].starts_with(&format!(
        "threadcast {} at ws://{}/ws: up ",
        env!("CARGO_PKG_VERSION"),
        server.addr()
    )));
    assert!(
        end.out[0].contains(" 2 topics, 2 subscriptions, "),
        "{end:?}"
    );
    let heading = end.out.iter().position(|line| line.starts_with("TOPIC "));
    let heading = heading.expect("a heading");
    assert!(end.out[heading + 1].starts_with("orders "), "{end:?}");
    assert!(end.out[heading + 2].starts_with("payments "), "{end:?}");
    let orders: Vec<_> = end.out[heading + 1].split_whitespace().collect();
    // Name, subscriptions, rate, head, history.
    assert_eq!(orders[..5], ["orders", "1", "0", "100", "100"], "{end:?}");
    let slow = words(&end, "slow");
    let lag: u64 = slow[0].parse().expect("a number");
    assert!((1..=100).contains(&lag), "{slow:?}");
    assert_eq!(slow[1..4], ["0", "orders", "slow"]);
    assert!(slow[4].starts_with("127.0.0.1:"), "{slow:?}");
    let quick = words(&end, "quick");
    assert_eq!(quick[..5], ["0", "0", "payments", "quick", "\\u{1b}[2J"]);
    let place = |name| end.out.iter().position(|line| line.contains(name));
    assert!(
        place("slow") < place("quick"),
        "who lags most is first: {end:?}"
    );
    assert!(!end.out.concat().contains('\u{1b}'), "{end:?}");
}

#[test]
fn output_other_than_a_terminal_gets_the_plain_table() {
    let server = TestServer::with_topic("a");
    for topic in ["b", "c", "d"] {
        server.create_topic(topic);
    }
    let end = run(&mut top(&server, &["--rows", "3", "--sort", "name"]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert!(end.out.contains(&"… and 1 more".to_owned()), "{end:?}");
    assert!(
        !end.out.iter().any(|line| line.starts_with("d ")),
        "{end:?}"
    );
    let closed = Stdio::from(pipe().expect("a pipe").1);
    let end = run(top(&server, &["--once"]).stdout(closed));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
}

#[test]
fn unreachable_server_or_missing_right_fails_at_the_start() {
    let server = TestServer::with(|config| {
        config.api_key = Some(threadcast::ApiKey::new("s3cret").expect("a key"));
    });
    let end = run(&mut top(&server, &["--once"]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    let end = run(top(&server, &["--once"]).env("PUBSUB_KEY", "s3cret"));
    assert_eq!(end.code, Some(0), "{end:?}");
    for (arguments, code) in [
        (["--url", "ws://127.0.0.1:1/ws"], 1),
        (["--sort", "colour"], 2),
    ] {
        let end = run(threadcast(&["top", "--once"]).args(arguments));
        assert_eq!((end.code, end.err.len()), (Some(code), 1), "{end:?}");
    }
}

#[test]
fn live_view_updates_and_reacts_to_keys() {
    let server = TestServer::with_topic("orders");
    let mut top = OnTerminal::start(&mut top(&server, &[]), SIZE);
    top.shows("orders");
    top.assert_taken();
    assert!(top.screen().contains("\x1b[1mr rate\x1b[0m"));
    server.create_topic("created-meanwhile");
    top.shows("created-meanwhile");
    top.press("n");
    top.shows("\x1b[1mn name\x1b[0m");
    top.press("q");
    let end = top.program.end();
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    top.assert_restored();
}

#[test]
fn subscribers_of_the_selected_topic_are_shown() {
    let server = TestServer::with_topic("orders");
    server.create_topic("payments");
    let mut client = server.ws();
    client.subscribe("payments", "of-payments\u{1b}[2J");
    let mut top = OnTerminal::start(&mut top(&server, &["--sort", "name"]), SIZE);
    top.shows("orders");
    // Nothing is selected, so there is nothing to show.
    top.press("\r");
    top.shows("LAG");
    top.press("j\x1b[B");
    top.shows("\x1b[7mpayments");
    top.press("\r");
    top.shows("1 subscribed to payments");
    top.shows("of-payments\\u{1b}[2J");
    let since = server
        .http()
        .get("/topics/payments/subscribers")
        .expect(200);
    top.shows(since["subscribers"][0]["since"].as_str().unwrap());
    client.subscribe("payments", "comes-later");
    top.shows("2 subscribed to payments");
    top.shows("comes-later");
    top.press("\x1b[A");
    top.shows("0 subscribed to orders");
    assert!(!top.screen().contains("comes-later"));
    top.press("\x1b");
    top.shows("LAG");
    top.press("\r");
    top.shows("0 subscribed to orders");
    server.delete_topic("orders");
    top.shows("TOPIC_NOT_FOUND: Topic 'orders' not found");
    top.press("q");
    assert_eq!(top.program.end().code, Some(0));
    top.assert_restored();
}

#[test]
fn given_topic_is_shown_with_its_subscribers() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for client_id in ["s1", "s2", "s3"] {
        client.subscribe("orders", client_id);
    }
    server.await_subscribers("orders", 3);
    let end = run(&mut top(&server, &["--topic", "orders", "--rows", "2"]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let heading = end.out.iter().position(|line| line.starts_with("CLIENT "));
    let table = &end.out[heading.expect("a heading")..];
    assert!(table[0].ends_with("3 subscribed to orders"), "{end:?}");
    assert!(table[1].starts_with("s1 ") && table[2].starts_with("s2 "));
    assert_eq!(table[3..], ["… and 1 more"]);
    let end = run(&mut top(&server, &["--topic", "absent"]));
    assert_eq!(end.code, Some(0), "{end:?}");
    words(&end, "TOPIC_NOT_FOUND");
    let top = OnTerminal::start(&mut top(&server, &["--topic", "orders"]), SIZE);
    top.shows("3 subscribed to orders");
}

#[test]
fn signal_ends_it_and_restores_the_terminal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let server = TestServer::with_topic("orders");
        let top = OnTerminal::start(&mut top(&server, &[]), SIZE);
        top.shows("orders");
        top.program.signal(signal);
        let end = top.program.end();
        assert_eq!((end.code, end.err.len()), (Some(0), 0), "{signal}: {end:?}");
        top.assert_restored();
    }
}

#[test]
fn ctrl_c_ends_it() {
    let server = TestServer::with_topic("orders");
    let plain = top(&server, &[]);
    // Makes it the controlling terminal, whose keys send signals, as in a shell.
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(plain.get_program())
        .args(plain.get_args());
    let set = |(name, value): (&OsStr, Option<&OsStr>)| Some((name.to_owned(), value?.to_owned()));
    command.envs(plain.get_envs().filter_map(set));
    let mut top = OnTerminal::start(command.stderr(Stdio::piped()), SIZE);
    top.shows("orders");
    top.press("\x03");
    let end = top.program.end();
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    top.assert_restored();
}

#[test]
fn live_view_fits_a_resized_terminal() {
    let server = TestServer::start();
    for number in 0..50 {
        server.create_topic(&format!("topic-{number}"));
    }
    let mut top = OnTerminal::start(&mut top(&server, &[]), SIZE);
    for rows in [24, 9, 3, 1, 40] {
        top.resize(rows, 60);
        eventually(&format!("it fills {rows} lines"), || {
            top.screen().lines().count() == usize::from(rows)
        });
    }
    top.press("q");
    assert_eq!(top.program.end().code, Some(0));
    top.assert_restored();
}

#[test]
fn live_view_survives_a_restart_of_the_server() {
    let (server, address) = Program::serve(&mut threadcast(&["--port", "0"]));
    let port = address.rsplit_once(':').expect("a port").1;
    let create = |name: &str| {
        let end = run(&mut threadcast(&["topics", "create", name, "--port", port]));
        assert_eq!(end.code, Some(0), "{end:?}");
    };
    create("before");
    let mut command = threadcast(&["top", "--interval", "0.1", "--port", port]);
    let mut top = OnTerminal::start(&mut command, SIZE);
    top.shows("before");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().code, Some(0));
    top.shows("disconnected");
    let (_again, _) = Program::serve(&mut threadcast(&["--port", port]));
    create("after");
    top.shows("after");
    assert!(!top.screen().contains("disconnected"));
    assert!(!top.screen().contains("before"));
    top.press("q");
    assert_eq!(top.program.end().code, Some(0));
    top.assert_restored();
}
