//! `threadcast bench`: what it measures, that it finds out a server that lies, and that it leaves nothing behind.

use std::fs;
use std::io::pipe;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::liar::{Liar, Lie};
use super::program::{End, Program, run, threadcast};
use crate::harness::{Config, TestServer, eventually};

const SMALL: [&str; 7] = [
    "bench",
    "--subscribers",
    "3",
    "--topics",
    "4",
    "--connections",
    "5",
];
/// A measurement of this length ends by itself.
const SHORT: &str = "0.2";
/// One of this length ends before its time, or the test fails.
const LONG: &str = "600";

fn bench(seconds: &str, arguments: &[&str]) -> Command {
    let mut command = threadcast(&SMALL);
    command.args(["--json", "--duration", seconds]);
    command.args(arguments);
    command
}

fn url(server: &TestServer) -> String {
    format!("ws://{}/ws", server.addr())
}

fn report(end: &End) -> Value {
    serde_json::from_str(&end.out.join("\n")).unwrap_or_else(|error| panic!("{error}: {end:?}"))
}

fn topics(server: &TestServer) -> Value {
    server.health()["topics"].clone()
}

/// Of another process; none if there is no such process.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn every_scene_is_measured_on_a_server_of_its_own() {
    // What a server here would be started with is not for this one, and nothing is sent to it.
    let mut command = bench(SHORT, &[]);
    command
        .env("PUBSUB_URL", "ws://127.0.0.1:1/ws")
        .env("PUBSUB_API_KEY", "none-of-its-business")
        .env("PUBSUB_MAX_TOPICS", "nonsense");
    let end = run(&mut command);
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let report = report(&end);
    assert_eq!(report["ok"], true);
    assert_eq!(report["server"]["started"], true);
    let scenes = report["scenes"].as_array().expect("scenes");
    let shape = |scene: &Value| {
        let size = |field: &str| scene[field].as_u64().expect("a number");
        (
            scene["scene"].as_str().expect("a name").to_owned(),
            size("topics"),
            size("subscribers"),
        )
    };
    let expected = [
        ("fan-out".to_owned(), 1, 3),
        ("latency".to_owned(), 1, 1),
        ("many-topics".to_owned(), 4, 4),
        ("connections".to_owned(), 1, 5),
    ];
    assert_eq!(scenes.iter().map(shape).collect::<Vec<_>>(), expected);
    for (scene, (_, topics, subscribers)) in scenes.iter().zip(expected) {
        let followers = if topics == 1 { subscribers } else { 1 };
        let published = scene["published"].as_u64().expect("a number");
        assert!(published > 0, "{scene}");
        assert_eq!(scene["deliveries"], published * followers, "{scene}");
        assert_eq!(
            (&scene["told_as_gaps"], &scene["broken"]),
            (&0.into(), &Value::Array(Vec::new()))
        );
        let latency = |share: &str| scene["latency_us"][share].as_f64().expect("a number");
        let ascending = ["p50", "p90", "p99", "p999", "max"].map(latency);
        assert!(ascending[0] > 0.0 && ascending.is_sorted(), "{scene}");
        for figure in [
            "seconds",
            "published_per_second",
            "deliveries_per_second",
            "server_cpu_us_per_delivery",
            "server_cpu_percent",
            "bench_cpu_percent",
        ] {
            assert!(
                scene[figure].as_f64().is_some_and(|figure| figure >= 0.0),
                "{figure}: {scene}"
            );
        }
    }
    assert_eq!(scenes[3]["connections"]["opened"], 5);
    assert!(scenes[3]["connections"]["server_bytes_each"].is_u64());
}

#[test]
fn a_given_server_keeps_its_topics_and_gets_no_others() {
    let server = TestServer::with_topic("orders");
    let mut command = threadcast(&SMALL);
    let end = run(command.args(["--duration", SHORT, "--url", &url(&server)]));
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
    let table = end.out.join("\n");
    for expected in [
        "fan-out 1 → 3",
        "latency 1 → 1",
        "many-topics 4",
        "connections 1 → 5",
        "5 connections opened",
        "deliveries/s",
        "Every event was delivered",
    ] {
        assert!(table.contains(expected), "{expected}\n{table}");
    }
    assert!(
        !table.contains("server's memory"),
        "it is not ours: {table}"
    );
    assert_eq!(server.health()["topics"], 1);
    assert_eq!(server.topic("orders")["messages"], 0);
}

#[test]
fn a_key_is_presented_to_a_given_server() {
    let server = TestServer::with(|config: &mut Config| {
        config.api_key = Some(threadcast::ApiKey::new("s3cret").expect("a key"));
    });
    let url = url(&server);
    let arguments = ["--scene", "latency", "--url", &url];
    let end = run(bench(SHORT, &arguments).env("PUBSUB_KEY", "s3cret"));
    assert_eq!(end.code, Some(0), "{end:?}");
    let end = run(&mut bench(SHORT, &arguments));
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
    assert!(end.err[0].contains("UNAUTHORIZED"), "{end:?}");
}

#[test]
fn events_dropped_by_the_policy_are_told_and_no_fault() {
    let server = TestServer::start();
    let end = run(&mut bench(
        SHORT,
        &[
            "--url",
            &url(&server),
            "--scene",
            "fan-out",
            "--overflow",
            "drop_oldest",
            "--window",
            "10000",
        ],
    ));
    assert_eq!(end.code, Some(0), "{end:?}");
    let scene = &report(&end)["scenes"][0];
    let number = |field: &str| scene[field].as_u64().expect("a number");
    // The one message to each subscriber before the clock ran is in neither figure.
    let told = number("deliveries") + number("told_as_gaps");
    assert_eq!(told, number("published") * 3, "{scene}");
}

#[test]
fn a_server_that_lies_is_found_out_with_exit_code_4() {
    for (lie, scene, told) in [
        (Lie::Drop, "fan-out", "6 arrived, expected 5"),
        (Lie::Double, "latency", "5 arrived, expected 6"),
        (Lie::Swap, "many-topics", "6 arrived, expected 5"),
        (Lie::Hide, "fan-out", "event 6 is after a hole: 5 was next"),
        (Lie::Drop, "connections", "6 arrived, expected 5"),
    ] {
        let server = TestServer::start();
        let liar = Liar::before(server.addr(), lie);
        let mut command = bench(LONG, &["--scene", scene, "--url", &liar.url()]);
        let end = run(command.args(["--rate", "50"]));
        assert_eq!((end.code, end.err.len()), (Some(4), 1), "{lie:?}: {end:?}");
        let expected = format!("threadcast: {scene}: ");
        assert!(end.err[0].starts_with(&expected), "{lie:?}: {end:?}");
        assert!(end.err[0].contains(told), "{lie:?}: {end:?}");
        let report = report(&end);
        assert_eq!(report["ok"], false, "{report}");
        assert!(
            !report["scenes"][0]["broken"]
                .as_array()
                .expect("a list")
                .is_empty()
        );
        assert_eq!(topics(&server), 0, "{lie:?}");
    }
}

#[test]
fn what_is_lost_at_the_end_is_found_out_too() {
    let server = TestServer::start();
    let liar = Liar::before(server.addr(), Lie::Stop);
    let mut command = bench(SHORT, &["--scene", "latency", "--url", &liar.url()]);
    let end = run(command.args(["--rate", "50"]));
    assert_eq!((end.code, end.err.len()), (Some(4), 1), "{end:?}");
    assert!(
        end.err[0].contains("were neither delivered nor reported as a gap"),
        "{end:?}"
    );
    assert_eq!(topics(&server), 0);
}

#[test]
fn the_proxy_of_these_tests_does_no_harm_by_itself() {
    let server = TestServer::start();
    let liar = Liar::before(server.addr(), Lie::None);
    let end = run(&mut bench(SHORT, &["--url", &liar.url()]));
    assert_eq!(end.code, Some(0), "{end:?}");
}

#[test]
fn an_interrupted_measurement_deletes_its_topics() {
    for scene in ["fan-out", "latency", "many-topics"] {
        let server = TestServer::with_topic("orders");
        let url = url(&server);
        let mut command = bench(LONG, &["--scene", scene, "--url", &url]);
        let program = Program::start(&mut command);
        let published = |server: &TestServer| {
            let mut http = server.http();
            let stats = http.request("GET", "/stats", &[], "").expect(200);
            let topics = stats["topics"].as_object().expect("topics");
            topics
                .values()
                .any(|topic| topic["messages"].as_u64() > Some(3))
        };
        eventually("it publishes", || published(&server));
        program.signal(Signal::SIGINT);
        let end = program.end();
        assert_eq!(end.code, Some(130), "{end:?}");
        assert_eq!(end.err, ["threadcast: interrupted"]);
        assert!(end.out.is_empty(), "{end:?}");
        assert_eq!(topics(&server), 1, "{scene}");
    }
}

/// A measurement that runs on a server of its own, whose process id this is.
fn with_its_own_server() -> (Program, u32) {
    let program = Program::start(&mut bench(LONG, &["--scene", "latency"]));
    let mut server = None;
    eventually("it has started a server", || {
        server = program.children().first().copied();
        server.is_some_and(|pid| descriptors(pid) > 0)
    });
    (program, server.expect("a server"))
}

#[test]
fn an_interrupted_measurement_takes_its_own_server_along() {
    let (program, server) = with_its_own_server();
    program.signal(Signal::SIGTERM);
    let end = program.end();
    assert_eq!((end.code, end.err.len()), (Some(130), 1), "{end:?}");
    assert_eq!(descriptors(server), 0, "it is gone");
}

#[test]
fn a_killed_measurement_takes_its_own_server_along() {
    let (program, server) = with_its_own_server();
    program.signal(Signal::SIGKILL);
    assert_eq!(program.end().code, None);
    eventually("the server is gone", || descriptors(server) == 0);
}

#[test]
fn a_server_that_ends_in_between_is_a_failure_and_no_broken_promise() {
    let (server, address) = Program::serve(&mut threadcast(&["--port", "0"]));
    let url = format!("ws://{address}/ws");
    let mut command = bench(LONG, &["--scene", "latency", "--url", &url]);
    let program = Program::start(&mut command);
    let is_published = || {
        let end = run(&mut threadcast(&["topics", "--url", &url]));
        end.out.iter().any(|line| line.ends_with("\t1"))
    };
    eventually("it subscribes", is_published);
    server.signal(Signal::SIGKILL);
    let end = program.end();
    assert_eq!((end.code, end.err.len()), (Some(1), 1), "{end:?}");
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_in_one_line() {
    for (arguments, code) in [
        (&["--scene", "nonsense"][..], 2),
        (&["--rate", "0"], 2),
        (&["--url", "ftp://example.org"], 2),
        (&["--url", "ws://127.0.0.1:1/ws"], 1),
    ] {
        let end = run(&mut bench(SHORT, arguments));
        assert_eq!(
            (end.code, end.err.len()),
            (Some(code), 1),
            "{arguments:?}: {end:?}"
        );
    }
}

#[test]
fn a_report_that_nobody_reads_is_no_failure() {
    let closed = Stdio::from(pipe().expect("a pipe").1);
    let program = Program::start(bench(SHORT, &["--scene", "latency"]).stdout(closed));
    let end = program.end();
    assert_eq!((end.code, end.err.len()), (Some(0), 0), "{end:?}");
}
