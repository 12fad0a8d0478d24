//! `threadcast topics`, and the help that every command has.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use super::program::{End, run, threadcast};
use super::pty::OnTerminal;
use crate::harness::{TestServer, eventually};

fn topics(server: &TestServer, arguments: &[&str]) -> End {
    let port = server.addr().port().to_string();
    let mut command = threadcast(&["topics"]);
    // The address comes from the variables of the server.
    command
        .args(arguments)
        .env("PUBSUB_HOST", "0.0.0.0")
        .env("PUBSUB_PORT", port);
    run(&mut command)
}

#[test]
fn topics_are_created_listed_shown_and_deleted() {
    let server = TestServer::start();
    let made = [
        "create",
        "orders",
        "--history-size",
        "7",
        "--overflow",
        "block",
    ];
    for arguments in [&made[..], &["create", "payments"]] {
        let end = topics(&server, arguments);
        assert_eq!(
            (end.code, end.out.len(), end.err.len()),
            (Some(0), 0, 0),
            "{end:?}"
        );
    }
    let _subscription = {
        let mut client = server.ws();
        client.subscribe("orders", "c");
        client
    };
    for arguments in [&[][..], &["list"]] {
        let end = topics(&server, arguments);
        assert_eq!(
            (end.code, end.out),
            (
                Some(0),
                vec!["orders\t1".to_owned(), "payments\t0".to_owned()]
            )
        );
    }
    let listed = topics(&server, &["list", "o*"]).out;
    assert_eq!(listed, ["orders\t1"]);
    assert_eq!(topics(&server, &["list", "o/*"]).code, Some(2));
    let listed = topics(&server, &["list", "--json"]).out;
    assert_eq!(listed[1], r#"{"name":"payments","subscribers":0}"#);
    let shown: Value =
        serde_json::from_str(&topics(&server, &["show", "orders"]).out.join("\n")).unwrap();
    assert_eq!(
        (&shown["limits"]["history_size"], &shown["overflow"]),
        (&7.into(), &"block".into())
    );
    assert_eq!(
        shown,
        server.topic("orders"),
        "the whole response of the server"
    );
    assert_eq!(topics(&server, &["delete", "payments"]).code, Some(0));
    assert_eq!(topics(&server, &[]).out, ["orders\t1"]);
}

#[test]
fn a_topic_is_created_only_if_it_is_missing_and_set_afterwards() {
    let server = TestServer::start();
    let create = ["create", "orders", "--if-missing", "--history-size", "7"];
    for _ in 0..2 {
        let end = topics(&server, &create);
        assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    }
    let other = ["create", "orders", "--if-missing", "--history-size", "8"];
    assert_eq!(topics(&server, &other).code, Some(0));
    assert_eq!(server.topic("orders")["limits"]["history_size"], 7);

    let set = [
        "set",
        "orders",
        "--history-ttl-secs",
        "3600",
        "--idle-secs",
        "86400.5",
        "--overflow",
        "block",
    ];
    let end = topics(&server, &set);
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let shown: Value = serde_json::from_str(&end.out.join("\n")).unwrap();
    assert_eq!(shown, server.topic("orders"));
    let limits = &shown["limits"];
    assert_eq!(
        (&limits["history_ttl_secs"], &limits["idle_secs"]),
        (&3600.into(), &86400.5.into())
    );
    assert_eq!(
        (&limits["history_size"], &shown["overflow"]),
        (&7.into(), &"block".into())
    );
    let nothing = topics(&server, &["set", "orders"]);
    assert_eq!(
        (nothing.code, nothing.err.len()),
        (Some(2), 1),
        "{nothing:?}"
    );
    let negative = topics(&server, &["set", "orders", "--idle-secs", "-1"]);
    assert_eq!(negative.code, Some(2), "{negative:?}");
}

#[test]
fn subscribers_of_a_topic_are_listed() {
    let server = TestServer::with_topic("orders");
    let end = topics(&server, &["subscribers", "orders"]);
    let lines = (end.out.len(), end.err.len());
    assert_eq!((end.code, lines), (Some(0), (0, 0)), "{end:?}");
    let mut client = server.ws();
    for client_id in ["s2", "tab\t\u{9b}", "s1"] {
        client.subscribe("orders", client_id);
    }
    server.await_subscribers("orders", 3);
    let list = server.http().get("/topics/orders/subscribers").expect(200);
    let since = |at: usize| list["subscribers"][at]["since"].as_str().unwrap();
    let lines = [
        format!("s1\t{}", since(0)),
        format!("s2\t{}", since(1)),
        format!("tab\\t\\u{{9b}}\t{}", since(2)),
    ];
    let end = topics(&server, &["subscribers", "orders"]);
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    assert_eq!(end.out, lines);
    let end = topics(&server, &["subscribers", "orders", "--limit", "1"]);
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(end.out, lines[..1]);
    let more = "… and 2 more: --limit prints up to 100000";
    assert_eq!(end.err, [more]);
    let end = topics(&server, &["subscribers", "orders", "--json"]);
    let printed = end.out.iter().map(|line| serde_json::from_str(line));
    let printed: Vec<Value> = printed.collect::<Result<_, _>>().expect("JSON");
    assert_eq!(Value::from(printed), list["subscribers"]);
    for limit in ["0", "100001", "x"] {
        let end = topics(&server, &["subscribers", "orders", "--limit", limit]);
        assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    }
}

#[test]
fn refusal_is_one_line_and_exit_code_1() {
    let server = TestServer::with_topic("orders");
    for (arguments, code) in [
        (["create", "orders"], "TOPIC_EXISTS"),
        (["delete", "nowhere"], "TOPIC_NOT_FOUND"),
        (["show", "nowhere"], "TOPIC_NOT_FOUND"),
        (["subscribers", "nowhere"], "TOPIC_NOT_FOUND"),
    ]
    .iter()
    .map(|(arguments, code)| (&arguments[..], *code))
    .chain([(
        &["set", "nowhere", "--history-size", "1"][..],
        "TOPIC_NOT_FOUND",
    )]) {
        let end = topics(&server, arguments);
        assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
        assert!(end.err[0].contains(code), "{end:?}");
    }
    for arguments in [
        &["create"][..],
        &["create", "a b"],
        &["make"],
        &["--port", "0"],
    ] {
        let end = topics(&server, arguments);
        assert_eq!(
            (end.code, end.err.len()),
            (Some(2), 1),
            "{arguments:?}: {end:?}"
        );
    }
}

#[test]
fn every_command_has_help_with_examples_and_without_the_environment() {
    for name in ["pub", "sub", "topics", "nodes"] {
        let mut command = threadcast(&[name, "--help"]);
        let end = run(command
            .env("PUBSUB_KEY", "s3cret")
            .env("PUBSUB_HOST", "elsewhere"));
        let help = end.out.join("\n");
        assert_eq!((end.code, end.err.len()), (Some(0), 0));
        for expected in ["Examples:", "Exit codes:", "--key", "(ps)", "PUBSUB_URL"] {
            assert!(help.contains(expected), "{name}: {expected}\n{help}");
        }
        for hidden in ["s3cret", "elsewhere"] {
            assert!(!help.contains(hidden), "{name}: {help}");
        }
    }
}

/// A text with control characters, which is no valid topic name.
const CONTROL_CHARACTERS: &str = "a\u{9b}31m\u{7f}\u{202e}b";

/// A fake server with one topic of that name, which refuses everything else with that text.
fn hostile() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    // Not joined: it ends with the test process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(&stream));
        }
    });
    addr
}

fn answer(stream: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let (status, body) = match request.split(' ').nth(1)? {
            "/health" => (
                200,
                r#"{"status":"ok","uptime_sec":1,"topics":1,"subscribers":0}"#.to_owned(),
            ),
            "/topics" => (
                200,
                format!(r#"{{"topics":[{{"name":"{CONTROL_CHARACTERS}","subscribers":0}}]}}"#),
            ),
            _ => (
                409,
                format!(
                    r#"{{"type":"about:blank","title":"Conflict","status":409,"detail":"{CONTROL_CHARACTERS}","code":"TOPIC_EXISTS"}}"#
                ),
            ),
        };
        let kind = if status == 200 {
            "json"
        } else {
            "problem+json"
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: application/{kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut to = stream;
        to.write_all((head + &body).as_bytes()).ok()?;
    }
}

#[test]
fn control_characters_of_a_hostile_server_are_escaped() {
    let url = format!("ws://{}/ws", hostile());
    let topics = |arguments: &[&str]| {
        let mut command = threadcast(&["topics"]);
        command.args(arguments).env("PUBSUB_URL", &url);
        command
    };
    let escaped = "a\\u{9b}31m\\u{7f}\\u{202e}b";
    let end = run(&mut topics(&["list"]));
    assert_eq!(end.out, [format!("{escaped}\t0")]);
    let end = run(&mut topics(&["delete", "b"]));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains(escaped), "{end:?}");

    let terminal = OnTerminal::start(&mut topics(&["list", "--json"]), (24, 80));
    assert_eq!(terminal.program.end().code, Some(0));
    eventually("the line is printed", || terminal.drawn().ends_with('\n'));
    let drawn = terminal.drawn();
    assert!(drawn.contains("a\\u009b31m\\u007f\\u202eb"), "{drawn:?}");
    let listed: Value = serde_json::from_str(drawn.trim_end()).expect("JSON");
    assert_eq!(listed["name"], CONTROL_CHARACTERS);
    let end = run(&mut topics(&["list", "--json"]));
    let listed: Value = serde_json::from_str(&end.out[0]).expect("JSON");
    assert_eq!(listed["name"], CONTROL_CHARACTERS);
}
