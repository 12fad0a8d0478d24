use super::*;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(60);

const LIMITS: RequestLimits = RequestLimits {
    request_timeout: LONG,
    keep_alive: LONG,
    max_body_bytes: 1000,
};

fn pair(limits: RequestLimits) -> (RequestStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let (server, _) = listener.accept().unwrap();
    let first_head = Deadline::after(limits.request_timeout);
    let transport = Transport::tcp(server);
    let stream = RequestStream::new(transport, limits, first_head, Arc::default());
    (stream, client)
}

/// What becomes of a request whose client sends `bytes` and then nothing.
fn request(bytes: &[u8]) -> Result<(Head, Vec<u8>), End> {
    let (mut stream, mut client) = pair(LIMITS);
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let head = stream.read_head()?;
    let body = stream.read_body(&head)?;
    Ok((head, body))
}

fn refusal(bytes: &[u8]) -> u16 {
    match request(bytes) {
        Err(End::Refused(problem)) => problem.status,
        other => panic!("{other:?}"),
    }
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}").into_bytes()
}

#[test]
fn pipelined_requests_are_read_in_order_and_the_rest_is_handed_over() {
    let (mut stream, mut client) = pair(LIMITS);
    let mut bytes = post("Content-Length: 2", "ab");
    bytes.extend(post("Transfer-Encoding: chunked", "1\r\nc\r\n0\r\n\r\n"));
    bytes.extend(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\nframes");
    client.write_all(&bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    for expected in [&b"ab"[..], b"c", b""] {
        let head = stream.read_head().unwrap();
        assert_eq!(stream.read_body(&head).unwrap(), expected);
    }
    assert_eq!(stream.into_received(), b"frames");
}

#[test]
fn one_empty_line_before_a_request_is_skipped_and_no_more() {
    assert!(request(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
    assert_eq!(refusal(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(refusal(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(request(b"\r\n"), Err(End::Closed("closed by the client")));
}

#[test]
fn huge_announced_lengths_are_413_without_a_byte_of_body() {
    for length in [
        "1001",
        "100000000000000",
        "4611686018427387904",
        "18446744073709551615",
        "18446744073709551616",
    ] {
        assert_eq!(
            refusal(&post(&format!("Content-Length: {length}"), "")),
            413,
            "{length}"
        );
    }
    assert_eq!(refusal(&post("Transfer-Encoding: chunked", "3e9\r\n")), 413);
    assert_eq!(refusal(&post("Transfer-Encoding: chunked", "zz\r\n")), 400);
}

#[test]
fn a_body_of_exactly_the_limit_passes() {
    let (_, body) = request(&post("Content-Length: 1000", &"x".repeat(1000))).unwrap();
    assert_eq!(body.len(), 1000);
}

#[test]
fn a_client_that_leaves_gets_no_answer() {
    assert_eq!(request(b""), Err(End::Closed("closed by the client")));
    for bytes in [
        &b"GET / HT"[..],
        &post("Content-Length: 5", "abc"),
        &post("Transfer-Encoding: chunked", "5\r\nab"),
    ] {
        assert_eq!(
            request(bytes),
            Err(End::Closed("closed in the middle of a request"))
        );
    }
}

#[test]
fn a_connection_that_rests_too_long_ends_silently() {
    let limits = RequestLimits {
        keep_alive: SHORT,
        ..LIMITS
    };
    let (mut stream, mut client) = pair(limits);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    stream.read_head().unwrap();
    assert_eq!(stream.read_head(), Err(End::Closed("idle")));
}

#[test]
fn the_first_head_has_the_time_that_is_left_since_accept() {
    let limits = RequestLimits {
        request_timeout: SHORT,
        ..LIMITS
    };
    for sent in ["", "\r\n"] {
        let (mut stream, mut client) = pair(limits);
        client.write_all(sent.as_bytes()).unwrap();
        let silent = stream.read_head();
        assert_eq!(silent, Err(End::Closed("no request in time")), "{sent:?}");
    }
    let (mut stream, mut client) = pair(LIMITS);
    client.write_all(b"GET /").unwrap();
    stream.first_head = Some(Deadline::after(SHORT));
    let late = Err(End::Refused(Problem::request_timeout()));
    assert_eq!(stream.read_head(), late);
}

#[test]
fn a_head_that_drips_in_is_408_at_the_deadline() {
    let limits = RequestLimits {
        request_timeout: SHORT,
        ..LIMITS
    };
    let (mut stream, mut client) = pair(limits);
    client.write_all(b"GET /").unwrap();
    let dripper = thread::spawn(move || {
        while client.write_all(b"a").is_ok() {
            // Slow enough to stay within the size limits until the deadline.
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(
        stream.read_head(),
        Err(End::Refused(Problem::request_timeout()))
    );
    drop(stream);
    dripper.join().unwrap();
}

#[test]
fn head_and_body_share_one_deadline() {
    let limits = RequestLimits {
        request_timeout: SHORT,
        ..LIMITS
    };
    for fields in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let (mut stream, mut client) = pair(limits);
        client.write_all(&post(fields, "1")).unwrap();
        let head = stream.read_head().unwrap();
        assert_eq!(
            stream.read_body(&head),
            Err(End::Refused(Problem::request_timeout()))
        );
    }
}

#[test]
fn continue_is_sent_before_a_body_is_waited_for() {
    let (mut stream, mut client) = pair(LIMITS);
    client
        .write_all(&post("Content-Length: 2\r\nExpect: 100-continue", ""))
        .unwrap();
    let patient = thread::spawn(move || {
        let mut told = [0; CONTINUE.len()];
        client.read_exact(&mut told).unwrap();
        assert_eq!(told, CONTINUE);
        client.write_all(b"ok").unwrap();
        client
    });
    let head = stream.read_head().unwrap();
    assert_eq!(stream.read_body(&head).unwrap(), b"ok");
    patient.join().unwrap();
}

#[test]
fn continue_is_not_sent_for_a_body_that_is_refused_or_already_there() {
    for (fields, body) in [
        ("Content-Length: 5000", ""),
        ("Content-Length: 2", "ok"),
        ("Accept: a", ""),
    ] {
        let (mut stream, mut client) = pair(LIMITS);
        client
            .write_all(&post(&format!("{fields}\r\nExpect: 100-continue"), body))
            .unwrap();
        let head = stream.read_head().unwrap();
        let _ = stream.read_body(&head);
        drop(stream);
        let mut told = Vec::new();
        client.read_to_end(&mut told).unwrap();
        assert_eq!(told, b"");
    }
}

#[test]
fn an_announced_length_reserves_nothing() {
    let limits = RequestLimits {
        request_timeout: SHORT,
        max_body_bytes: 1 << 40,
        ..LIMITS
    };
    let (mut stream, mut client) = pair(limits);
    client
        .write_all(&post("Content-Length: 1000000000000", "x"))
        .unwrap();
    let head = stream.read_head().unwrap();
    assert!(stream.read_body(&head).is_err());
    assert!(
        stream.received.capacity() <= 16 * 1024,
        "{}",
        stream.received.capacity()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_split_of_a_request_is_the_same_request(cuts in prop::collection::vec(1usize..30, 0..12)) {
        let mut bytes = post("Transfer-Encoding: chunked", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
        bytes.extend(post("Content-Length: 3", "def"));
        let (mut stream, mut client) = pair(LIMITS);
        client.set_nodelay(true).unwrap();
        let sender = thread::spawn(move || {
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                client.write_all(piece).unwrap();
                thread::yield_now();
                rest = behind;
            }
            client.write_all(rest).unwrap();
        });
        for expected in [b"abc", b"def"] {
            let head = stream.read_head().unwrap();
            prop_assert_eq!(stream.read_body(&head).unwrap(), expected);
        }
        sender.join().unwrap();
    }
}
