//! The life of a server process: output, signals, exit codes.

use std::io::{Read, Write, pipe};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::program::{DEADLINE, Program, run, threadcast};

const SERVE: [&str; 2] = ["--port", "0"];

#[test]
fn sigterm_and_sigint_shut_down_with_exit_code_0_and_a_summary() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (program, _) = Program::serve(&mut threadcast(&SERVE));
        program.signal(signal);
        let end = program.end();
        assert_eq!(end.code, Some(0), "{end:?}");
        let last = end.err.last().expect("a last line");
        for figure in [
            "connections_closed=",
            "events_flushed=",
            "events_undelivered=",
        ] {
            assert!(last.contains(figure), "{last}");
        }
    }
}

#[test]
fn second_signal_exits_at_once_with_code_130() {
    let patient = ["--drain-timeout-secs", "600", "--write-timeout-secs", "600"];
    let large = ["--history-bytes", "64MiB"];
    let (program, address) =
        Program::serve(&mut threadcast(&[&SERVE[..], &patient, &large].concat()));
    let _stuck = stuck_subscriber(&address);
    program.signal(Signal::SIGTERM);
    program.logged("shutting down");
    program.signal(Signal::SIGINT);
    assert_eq!(program.end().code, Some(130));
}

#[test]
fn sighup_neither_stops_it_nor_counts_as_a_signal_to_stop() {
    let (program, _) = Program::serve(&mut threadcast(&SERVE));
    program.signal(Signal::SIGHUP);
    program.logged("nothing to reload");
    program.signal(Signal::SIGHUP);
    program.logged("nothing to reload");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn address_is_printed_and_logged_once() {
    let (program, address) = Program::serve(&mut threadcast(&SERVE));
    program.logged(&format!("listening on http://{address}"));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().out, [""; 0]);
}

#[test]
fn listening_beyond_loopback_without_a_key_logs_a_warning() {
    let (program, _) = Program::serve(threadcast(&SERVE).env("PUBSUB_HOST", "0.0.0.0"));
    assert!(program.logged("beyond loopback").contains("WARN"));
}

#[test]
fn json_log_is_one_object_per_line() {
    let json = ["--log-format", "json", "--host", "0.0.0.0"];
    let (program, _) = Program::serve(&mut threadcast(&[&SERVE[..], &json].concat()));
    program.signal(Signal::SIGTERM);
    let end = program.end();
    let parse = |line: &String| serde_json::from_str(line).expect("JSON");
    let lines: Vec<Value> = end.err.iter().map(parse).collect();
    assert!(
        lines
            .iter()
            .all(|line| line["level"].is_string() && line["timestamp"].is_string())
    );
    assert_eq!(lines.last().expect("a last line")["connections_closed"], 0);
}

#[test]
fn log_level_hides_less_severe_lines() {
    let (program, _) = Program::serve(threadcast(&SERVE).env("PUBSUB_LOG_LEVEL", "warning"));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().err, [""; 0]);
}

#[test]
fn unread_log_blocks_neither_the_server_nor_its_shutdown() {
    let (_unread, full) = full_pipe();
    let (program, address) = Program::serve(threadcast(&SERVE).stderr(full));
    let port = address.rsplit_once(':').expect("a port").1;
    assert_eq!(
        run(&mut threadcast(&["healthcheck", "--port", port])).code,
        Some(0)
    );
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}

#[test]
fn closed_outputs_do_not_stop_the_server() {
    let closed = || Stdio::from(pipe().expect("a pipe").1);
    let mut command = threadcast(&SERVE);
    let program = Program::start(command.stdout(closed()).stderr(Stdio::piped()));
    program.logged("listening on");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
    let (program, _) = Program::serve(threadcast(&SERVE).stderr(closed()));
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().code, Some(0));
}

/// A full pipe. Its reading end must stay open.
fn full_pipe() -> (impl Sized, Stdio) {
    let (reader, writer) = pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a second end");
    let (done, filled) = channel();
    // The usual capacity. If it is smaller, the write blocks, and the pipe is full as well.
    thread::spawn(move || done.send(filler.write_all(&[b'\n'; 64 << 10])));
    let _ = filled.recv_timeout(Duration::from_secs(1));
    (reader, Stdio::from(writer))
}

/// A subscriber that stops reading after its ack, with enough events to fill every buffer.
fn stuck_subscriber(address: &str) -> TcpStream {
    post(address, "/topics", r#"{"name":"stuck"}"#);
    let mut subscriber = connect(address);
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    write!(
        subscriber,
        "GET /ws HTTP/1.1\r\nHost: {address}\r\n{handshake}\r\n"
    )
    .expect("sent");
    subscriber
        .write_all(&masked(
            r#"{"type":"subscribe","topic":"stuck","client_id":"s"}"#,
        ))
        .expect("sent");
    read_until(&mut subscriber, r#""type":"ack""#);
    let payload = "x".repeat(900 << 10);
    for _ in 0..24 {
        post(
            address,
            "/topics/stuck/messages",
            &format!(r#"{{"payload":"{payload}"}}"#),
        );
    }
    subscriber
}

/// A short text frame, masked with zeros.
fn masked(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|length| *length < 126)
        .expect("short");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn post(address: &str, path: &str, body: &str) {
    let mut stream = connect(address);
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    read_until(&mut stream, "HTTP/1.1 201 ");
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}

fn read_until(stream: &mut TcpStream, text: &str) {
    let (mut seen, mut chunk) = (String::new(), [0; 1024]);
    while !seen.contains(text) {
        let count = stream.read(&mut chunk).expect("an answer");
        assert!(count > 0, "'{text}' is missing in: {seen}");
        seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
}
