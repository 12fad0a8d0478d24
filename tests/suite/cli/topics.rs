//! `threadcast topics`, and the help that every command has.

use serde_json::Value;

use super::program::{End, run, threadcast};
use crate::harness::TestServer;

fn topics(server: &TestServer, arguments: &[&str]) -> End {
    let port = server.addr().port().to_string();
    let mut command = threadcast(&["topics"]);
    // Where it is comes from the same variables that a server is started with.
    command
        .args(arguments)
        .env("PUBSUB_HOST", "0.0.0.0")
        .env("PUBSUB_PORT", port);
    run(&mut command)
}

#[test]
fn topics_are_made_listed_shown_and_deleted() {
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
    let listed = topics(&server, &["list", "--json"]).out;
    assert_eq!(listed[1], r#"{"name":"payments","subscribers":0}"#);
    let shown: Value =
        serde_json::from_str(&topics(&server, &["show", "orders"]).out.join("\n")).unwrap();
    assert_eq!(
        (&shown["limits"]["history_size"], &shown["overflow"]),
        (&7.into(), &"block".into())
    );
    assert_eq!(shown, server.topic("orders"), "all that the server says");
    assert_eq!(topics(&server, &["delete", "payments"]).code, Some(0));
    assert_eq!(topics(&server, &[]).out, ["orders\t1"]);
}

#[test]
fn the_servers_no_is_one_line_and_exit_code_1() {
    let server = TestServer::with_topic("orders");
    for (arguments, code) in [
        (["create", "orders"], "TOPIC_EXISTS"),
        (["delete", "nowhere"], "TOPIC_NOT_FOUND"),
        (["show", "nowhere"], "TOPIC_NOT_FOUND"),
    ] {
        let end = topics(&server, &arguments);
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
    for name in ["pub", "sub", "topics"] {
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
