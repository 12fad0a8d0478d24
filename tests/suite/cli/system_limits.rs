//! The server under system limits: `ulimit -f`, `ulimit -v`.

use std::env::temp_dir;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio, id};

use nix::sys::signal::Signal;
use serde_json::json;

use super::program::{Program, threadcast};
use crate::harness::{Dial, HttpClient, WsClient, eventually};

/// The block size of `ulimit -f` in POSIX.
const BLOCK_BYTES: u64 = 512;

/// The server on a free port under a `ulimit`.
fn under(limit: &str, arguments: &[&str]) -> Command {
    let server = threadcast(&[&["--port", "0"], arguments].concat());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]);
    command.arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A log file, removed on drop.
struct LogFile(PathBuf);

impl LogFile {
    fn new() -> LogFile {
        LogFile(temp_dir().join(format!("threadcast-limited-{}.log", id())))
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |file| file.len())
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[test]
fn log_file_at_its_size_limit_does_not_end_the_server() {
    const BLOCKS: u64 = 16;
    let log = LogFile::new();
    let file = fs::File::create(&log.0).unwrap();
    let mut command = under(&format!("-f {BLOCKS}"), &["--log-level", "TRACE"]);
    let (program, address) = Program::serve(command.stderr(file));
    let address = address.parse().unwrap();
    eventually("the log is as large as it may be", || {
        HttpClient::connect(address).get("/livez").expect(200);
        log.bytes() == BLOCKS * BLOCK_BYTES
    });
    for _ in 0..100 {
        HttpClient::connect(address).get("/livez").expect(200);
    }
    assert_eq!(log.bytes(), BLOCKS * BLOCK_BYTES);
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}

/// A WebSocket that subscribes, or the status of the refusal.
fn subscriber(address: &str, number: usize) -> Result<WsClient, u16> {
    let address = address.parse().unwrap();
    let mut http = HttpClient::connect(address);
    http.try_send_raw(Dial::to(address).request().as_bytes());
    let reply = http.read_reply();
    if reply.status != 101 {
        reply.expect_problem(503, "UNAVAILABLE");
        assert!(reply.header("Retry-After").is_some(), "{reply}");
        return Err(reply.status);
    }
    let mut client = http.into_websocket();
    client.subscribe("orders", &format!("c{number}"));
    Ok(client)
}

#[test]
fn address_space_limit_refuses_connections_beyond_what_fits() {
    let (program, address) =
        Program::serve(&mut under("-v 400000", &["--write-timeout-secs", "60"]));
    let line = program.logged("connection cap");
    assert!(line.contains("bound_by=\"RLIMIT_AS\""), "{line}");
    let mut http = HttpClient::connect(address.parse().unwrap());
    http.post("/topics", &json!({"name": "orders"})).expect(201);
    let mut clients = Vec::new();
    while let Ok(client) = subscriber(&address, clients.len()) {
        clients.push(client);
    }
    println!("{} fit; {line}", clients.len());
    assert!(clients.len() >= 200, "only {} fit", clients.len());
    for _ in 0..50 {
        assert!(subscriber(&address, 0).is_err(), "one more fits");
    }
    // All of them are served, also with events larger than the free heap.
    let mut publisher = clients.pop().unwrap();
    publisher.publish_padded("orders", 1, 2, 200_000);
    for client in &mut clients {
        client.next_events(2);
    }
    http.get("/health").expect(200);
    let leaving = clients.split_off(clients.len() / 2);
    drop(leaving);
    eventually("a new connection is accepted", || {
        subscriber(&address, 0).is_ok()
    });
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}
