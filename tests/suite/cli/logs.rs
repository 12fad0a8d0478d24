//! Rate limit of log lines that clients provoke: one per second and kind, and all are counted.

use std::net::SocketAddr;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::program::{Program, threadcast};
use crate::harness::{HttpClient, eventually};

/// How many bytes a flood may add to the log.
const BOUND: usize = 16 << 10;

fn serve(arguments: &[&str]) -> (Program, SocketAddr) {
    let mut command = threadcast(&["--port", "0"]);
    let (program, address) = Program::serve(command.args(arguments));
    (program, address.parse().expect("an address"))
}

/// Sends a request `count` times in batches, and expects the same status each time.
fn pipeline(http: &mut HttpClient, request: &str, count: usize, status: u16) {
    const AT_ONCE: usize = 250;
    for _ in 0..count / AT_ONCE {
        http.send_raw(request.repeat(AT_ONCE).as_bytes());
        for _ in 0..AT_ONCE {
            assert_eq!(http.read_reply().status, status);
        }
    }
}

/// The lines of one kind in the log, and the suppressed lines that they report.
struct Kind {
    lines: usize,
    held_back: usize,
}

impl Kind {
    fn of(log: &[String], line: &str, kind: &str) -> Kind {
        let counts = |text: &str| -> Vec<usize> {
            let lines = log.iter().filter(|one| one.contains(text));
            lines.map(|one| held_back(one)).collect()
        };
        let (lines, rest) = (
            counts(line),
            counts(&format!("log lines held back kind=\"{kind}\"")),
        );
        Kind {
            lines: lines.len(),
            held_back: lines.iter().chain(&rest).sum(),
        }
    }

    /// All lines are counted, and at most one per second was written.
    fn expect(&self, count: usize, since: Instant) {
        assert_eq!(self.lines + self.held_back, count);
        let allowed = usize::try_from(since.elapsed().as_secs()).expect("few") + 1;
        assert!((1..=allowed).contains(&self.lines), "{} lines", self.lines);
    }
}

fn held_back(line: &str) -> usize {
    let number = line.split("held_back=").nth(1).expect("a count");
    let digits = number.split_whitespace().next().expect("a number");
    digits.parse().expect("a number")
}

fn log_of(program: &Program) -> Vec<String> {
    program.signal(Signal::SIGTERM);
    let end = program.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let bytes: usize = end.err.iter().map(String::len).sum();
    assert!(bytes < BOUND, "{bytes} bytes of log");
    let last = end.err.last().expect("a last line");
    assert!(last.contains("connections_closed="), "{last}");
    end.err
}

#[test]
fn unauthorized_requests_do_not_flood_the_log_and_are_counted() {
    let (program, addr) = serve(&["--api-key", "s3cret"]);
    let since = Instant::now();
    let mut http = HttpClient::connect(addr);
    pipeline(
        &mut http,
        "GET /topics HTTP/1.1\r\nHost: x\r\n\r\n",
        5_000,
        401,
    );
    let log = log_of(&program);
    let line = "a request without a valid credential was refused";
    Kind::of(&log, line, "requests without a valid credential").expect(5_000, since);
}

#[test]
fn refused_handshakes_and_short_connections_do_not_flood_the_log_and_are_counted() {
    let (program, addr) = serve(&["--api-key", "s3cret"]);
    let since = Instant::now();
    for _ in 0..300 {
        for path in ["/ws", "/livez"] {
            let mut http = HttpClient::connect(addr);
            http.request("GET", path, &[("Connection", "close")], "");
            http.expect_end();
        }
    }
    let log = log_of(&program);
    Kind::of(&log, "websocket refused", "refused handshakes").expect(300, since);
    Kind::of(&log, "connection closed", "closed connections").expect(300, since);
}

/// One line for each second, with the origin as the client sent it, escaped and bounded, and what would allow it.
#[test]
fn refused_origins_are_logged_with_the_setting_that_allows_them() {
    let (program, addr) = serve(&["--allowed-origins", "https://shop.example"]);
    let since = Instant::now();
    let mut http = HttpClient::connect(addr);
    let evil = "http://evil.example/\x1b[31m\"level=error";
    let request = |method: &str, fields: &str| {
        format!("{method} /topics HTTP/1.1\r\nHost: x\r\nOrigin: {evil}{fields}\r\n\r\n")
            .replace('\x1b', "\u{e9}")
    };
    pipeline(
        &mut http,
        &request("POST", "\r\nContent-Length: 0"),
        250,
        403,
    );
    let preflight = request("OPTIONS", "\r\nAccess-Control-Request-Method: GET");
    pipeline(&mut http, &preflight, 250, 403);
    let long = "x".repeat(5_000);
    let handshake = crate::harness::Dial::request_fields(addr);
    let mut foreign = HttpClient::connect(addr);
    foreign.send_raw(format!("{handshake}Origin: http://{long}\r\n\r\n").as_bytes());
    foreign.read_reply().expect_problem(403, "FORBIDDEN");
    let log = log_of(&program);
    let line = "a request of a foreign origin was refused; PUBSUB_ALLOWED_ORIGINS";
    Kind::of(&log, line, "requests of foreign origins").expect(501, since);
    let first = log.iter().find(|one| one.contains(line)).expect("a line");
    assert!(first.contains("WARN") && first.len() < 700, "{first}");
    assert!(first.contains(r#"origin="http://evil.example/"#), "{first}");
    assert!(first.contains(r#"\"level=error"#), "{first}");
}

#[test]
fn creating_and_deleting_topics_does_not_flood_the_log_and_is_counted() {
    let (program, addr) = serve(&[]);
    let since = Instant::now();
    let mut http = HttpClient::connect(addr);
    let body = r#"{"name":"orders"}"#;
    let length = body.len();
    for _ in 0..500 {
        http.send_raw(
            format!("POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}DELETE /topics/orders HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        );
        assert_eq!(
            [http.read_reply().status, http.read_reply().status],
            [201, 200]
        );
    }
    let log = log_of(&program);
    Kind::of(&log, "topic created", "created topics").expect(500, since);
    Kind::of(&log, "topic deleted", "deleted topics").expect(500, since);
}

#[test]
fn refusal_is_logged_again_after_a_second_with_the_suppressed_count() {
    let (program, addr) = serve(&["--api-key", "s3cret"]);
    let mut http = HttpClient::connect(addr);
    let mut refused = 0;
    let line = "a request without a valid credential was refused";
    http.get("/topics");
    assert_eq!(held_back(&program.logged(line)), 0);
    let since = Instant::now();
    eventually("more than a second has passed", || {
        refused += 1;
        http.get("/topics");
        since.elapsed().as_millis() > 1_200
    });
    let suppressed = held_back(&program.logged(line));
    assert!(
        (1..refused).contains(&suppressed),
        "{suppressed} of {refused}"
    );
}
