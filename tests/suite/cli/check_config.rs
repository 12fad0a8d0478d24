//! `threadcast check-config`: everything that is wrong, or what would be in force.

use std::io::pipe;
use std::process::Stdio;

use serde_json::Value;

use super::program::{Program, run, threadcast};
use crate::harness::{HttpClient, TextFile, entry};

#[test]
fn it_tells_what_the_server_tells() {
    let arguments = [
        "--history-size",
        "7",
        "--api-key",
        "the-api-key",
        "--port",
        "0",
    ];
    let variables = [
        ("PUBSUB_MAX_TOPICS", "5"),
        ("PUBSUB_HISTORY_BYTES", "2 MiB"),
        // What is computed may change from one moment to the next.
        ("PUBSUB_MAX_CONNECTIONS", "50"),
    ];
    let mut command = threadcast(&["check-config", "--json"]);
    let end = run(command.args(arguments).envs(variables));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let text = end.out.join("\n");
    assert!(!text.contains("the-api-key"), "{text}");
    let checked: Value = serde_json::from_str(&text).expect("JSON");

    let (_server, address) = Program::serve(threadcast(&arguments).envs(variables));
    let mut http = HttpClient::connect(address.parse().expect("an address"));
    let shown = http.request("GET", "/config", &[("X-API-Key", "the-api-key")], "");
    assert_eq!(checked, shown.expect(200));
}

#[test]
fn it_prints_a_line_for_each_setting() {
    let mut command = threadcast(&["check-config", "--max-queue-size", "9"]);
    let end = run(command.env("PUBSUB_API_KEY", "the-api-key"));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let line = |name: &str| {
        let found = end.out.iter().find(|line| line.starts_with(name));
        let words = found
            .unwrap_or_else(|| panic!("no {name}: {end:?}"))
            .split_whitespace();
        words.skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("PUBSUB_MAX_QUEUE_SIZE "), "9 --max-queue-size");
    assert_eq!(line("PUBSUB_API_KEY "), "*** environment");
    assert_eq!(line("PUBSUB_PORT "), "8080 default");
    assert!(line("PUBSUB_MAX_CONNECTIONS ").ends_with(" computed"));
    let json = run(&mut threadcast(&["check-config", "--json"]))
        .out
        .join("\n");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let settings = json["settings"].as_array().expect("a list");
    assert_eq!(end.out.len(), settings.len(), "{end:?}");
}

#[test]
fn a_variable_that_no_setting_has_is_named_in_a_warning() {
    let mut command = threadcast(&["check-config"]);
    command.env("PUBSUB_HISTROY_SIZE", "7");
    command.env("PUBSUB_TOPIC_IDLE", "7");
    // Variables of the other commands.
    command.env("PUBSUB_URL", "ws://127.0.0.1:1/ws");
    command.env("PUBSUB_KEY", "key");
    let end = run(&mut command);
    let warnings = [
        "warning: PUBSUB_HISTROY_SIZE is no setting, and is ignored; is PUBSUB_HISTORY_SIZE meant?",
        "warning: PUBSUB_TOPIC_IDLE is no setting, and is ignored; is PUBSUB_TOPIC_IDLE_SECS meant?",
    ];
    assert_eq!(
        (end.code, &end.err[..]),
        (Some(0), &warnings.map(str::to_owned)[..])
    );

    let mut server = threadcast(&["--port", "0"]);
    let (program, _) = Program::serve(server.env("PUBSUB_FOO", "secret"));
    let line = program.logged("PUBSUB_FOO");
    assert!(line.contains("WARN"), "{line}");
    assert!(
        line.ends_with("PUBSUB_FOO is no setting, and is ignored"),
        "{line}"
    );
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn wrong_topics_and_times_are_refused() {
    for (name, value, part) in [
        ("PUBSUB_TOPICS", "orders,a b", "names of topics"),
        ("PUBSUB_TOPICS", "orders,,x", "names of topics"),
        ("PUBSUB_TOPICS", ".a", "names of topics"),
        (
            "PUBSUB_TOPIC_IDLE_SECS",
            "-1",
            "seconds from 0 to 315360000",
        ),
        (
            "PUBSUB_HISTORY_TTL_SECS",
            "1h",
            "seconds from 0 to 315360000",
        ),
        ("PUBSUB_AUTO_CREATE_TOPICS", "maybe", "true, false"),
    ] {
        let end = run(threadcast(&["check-config"]).env(name, value));
        assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
        let start = format!("threadcast: {name}: '{value}' is not allowed: ");
        assert!(end.err[0].starts_with(&start), "{end:?}");
        assert!(end.err[0].contains(part), "{end:?}");
    }
    let mut many = threadcast(&["check-config", "--max-topics", "1"]);
    let end = run(many.env("PUBSUB_TOPICS", "a, b"));
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    assert!(
        end.err[0].contains("at most 1 of them (max_topics)"),
        "{end:?}"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_exit_code_2() {
    let mut command = threadcast(&["check-config", "--history-size=-1", "--log-level", "loud"]);
    let end = run(command
        .env("PUBSUB_PORT", "99999")
        .env("PUBSUB_API_KEY", "not a key")
        .env("PUBSUB_HISTORY_SIZE", "nonsense that a flag wins over"));
    assert_eq!((end.code, end.out.len()), (Some(2), 0), "{end:?}");
    let starts = [
        "threadcast: PUBSUB_PORT: '99999' is not allowed: ",
        "threadcast: PUBSUB_API_KEY: the value (not shown) is not allowed: ",
        "threadcast: --history-size (PUBSUB_HISTORY_SIZE): '-1' is not allowed: ",
        "threadcast: --log-level (PUBSUB_LOG_LEVEL): 'loud' is not allowed: ",
    ];
    assert_eq!(end.err.len(), starts.len(), "{end:?}");
    for start in starts {
        assert!(
            end.err.iter().any(|line| line.starts_with(start)),
            "{start}: {end:?}"
        );
    }
}

#[test]
fn the_keys_file_and_the_host_are_looked_at() {
    let file = TextFile::new("[[key]]\nname = \"a\"\n");
    let path = file.path().to_str().expect("a path");
    // 192.0.2.0/24 is reserved for documentation: no machine has it.
    let wrong = ["check-config", "--keys-file", path, "--host", "192.0.2.1"];
    let end = run(&mut threadcast(&wrong));
    assert_eq!((end.code, end.err.len()), (Some(2), 2), "{end:?}");
    assert!(
        end.err[0].contains("--keys-file (PUBSUB_KEYS_FILE)"),
        "{end:?}"
    );
    assert!(end.err[1].contains("--host (PUBSUB_HOST)"), "{end:?}");
    file.write(&entry("a", "secret", "admin = true"));
    let end = run(&mut threadcast(&wrong[..3]));
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn nothing_listens_and_a_port_in_use_does_not_matter() {
    let (_server, address) = Program::serve(&mut threadcast(&["--port", "0"]));
    let port = address.rsplit_once(':').expect("a port").1;
    let end = run(&mut threadcast(&["check-config", "--port", port]));
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn an_unknown_flag_is_told_and_a_closed_output_is_no_failure() {
    let end = run(&mut threadcast(&["check-config", "--prot", "1"]));
    assert_eq!((end.code, end.err.len()), (Some(2), 1), "{end:?}");
    assert!(end.err[0].contains("did you mean '--port'"), "{end:?}");
    let closed = Stdio::from(pipe().expect("a pipe").1);
    let end = run(threadcast(&["check-config"]).stdout(closed));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
}
