use super::*;
use crate::access::Guard;
use crate::broker::Broker;
use crate::config::Config;
use crate::server::http::gateway::{GatewayOptions, Handler};
use crate::server::http::media::BODY_TYPE_HEADER;
use crate::server::http::message::Response;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

const LONG: Duration = Duration::from_secs(10);

fn echo(request: &Request) -> Response {
    let asked = (
        &request.method,
        &request.path,
        &request.query,
        request.header(BODY_TYPE_HEADER),
        String::from_utf8_lossy(&request.body),
    );
    Response::json(200, &asked)
}

/// Who calls himself a stranger is one.
fn permit(head: &Head, _: &ConnectionInfo) -> Result<(), Problem> {
    match head.header("x-who") {
        Some("stranger") => Err(Problem::unauthorized()),
        Some("guest") => Err(Problem::forbidden("no")),
        _ => Ok(()),
    }
}

fn edge() -> Edge {
    let handler: Arc<Handler> = Arc::new(echo);
    let options = GatewayOptions {
        workers: 1,
        queue_timeout: LONG,
        answer_timeout: LONG,
    };
    Edge {
        gateway: Gateway::start(options, &handler, &Panics::default()).unwrap(),
        limits: RequestLimits {
            request_timeout: LONG,
            idle_timeout: LONG,
            max_body_bytes: 10_000,
        },
        write_timeout: LONG,
        large_answers: LargeAnswers::new(1, LONG),
        permit: Box::new(permit),
        allowed_origins: vec!["https://app.example.com".to_owned()],
        broker: Arc::new(Broker::new(&Config::default())),
        guard: Arc::new(Guard::new(None, None).unwrap()),
        is_publish: |_| false,
        max_publish_rate: 0,
        draining: Arc::default(),
        panics: Panics::default(),
        metrics: Arc::default(),
    }
}

fn connect(edge: Edge) -> (TcpStream, JoinHandle<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let (server, peer) = listener.accept().unwrap();
    let (server, info) = (Arc::new(server), ConnectionInfo::new(1, peer));
    (client, thread::spawn(move || serve(&server, &info, &edge)))
}

/// Everything the server says to `bytes` until it closes.
fn talk(bytes: &[u8]) -> (String, Ended) {
    let (mut client, serving) = connect(edge());
    client.write_all(bytes).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    drop(client);
    (said, serving.join().unwrap())
}

fn statuses(said: &str) -> Vec<u16> {
    let lines = said.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let mut bytes = Vec::new();
    for number in 0..20 {
        bytes.extend(
            format!("POST /{number}?q HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").bytes(),
        );
    }
    bytes.extend(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nleft over");
    let (said, ended) = talk(&bytes);
    assert_eq!(statuses(&said), [200; 21]);
    let places: Vec<_> = (0..20)
        .map(|number| said.find(&format!("\"/{number}\"")).unwrap())
        .collect();
    assert!(places.is_sorted());
    assert!(said.contains("Connection: close\r\n"));
    assert!(
        matches!(ended, Ended::Closed { requests: 21, .. }),
        "{ended:?}"
    );
}

#[test]
fn a_head_request_gets_the_length_of_get_and_no_body() {
    let (said, _) = talk(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let lengths: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("Content-Length"))
        .collect();
    assert_eq!(lengths.len(), 2);
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(said.matches("\"GET\"").count(), 1);
}

#[test]
fn http_1_0_gets_its_answer_and_the_end() {
    let (said, _) = talk(b"GET /a HTTP/1.0\r\n\r\n");
    assert_eq!(statuses(&said), [200]);
    assert!(said.contains("Connection: close\r\n"));
}

#[test]
fn a_refusal_is_a_problem_and_the_end_of_the_connection() {
    for (bytes, status, code) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 400, "BAD_REQUEST"),
        (b"\x16\x03\x01\0\0", 400, "BAD_REQUEST"),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n",
            413,
            "PAYLOAD_TOO_LARGE",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
            417,
            "EXPECTATION_FAILED",
        ),
    ] {
        let mut bytes = bytes.to_vec();
        bytes.extend(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let (said, ended) = talk(&bytes);
        assert_eq!(statuses(&said), [status], "{said}");
        assert!(said.contains("Content-Type: application/problem+json\r\n"));
        assert!(said.contains(&format!("\"code\":\"{code}\"")));
        assert!(
            matches!(ended, Ended::Closed { reason, .. } if reason == code),
            "{ended:?}"
        );
    }
}

#[test]
fn a_refusal_arrives_although_the_client_is_still_sending() {
    let mut bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    bytes.resize(1_000_000, b'x');
    let (said, _) = talk(&bytes);
    assert_eq!(statuses(&said), [413]);
}

#[test]
fn a_foreign_origin_may_read_and_not_write() {
    let ask = |method: &str, origin: &str| {
        let head = format!(
            "{method} / HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\nOrigin: {origin}\r\n\r\n"
        );
        statuses(&talk(head.as_bytes()).0)
    };
    assert_eq!(ask("GET", "http://evil.com"), [200]);
    for method in ["POST", "DELETE", "OPTIONS", "get"] {
        assert_eq!(ask(method, "http://evil.com"), [403], "{method}");
    }
    assert_eq!(ask("POST", "http://a:1"), [200]);
    assert_eq!(ask("POST", "https://app.example.com"), [200]);
}

#[test]
fn a_stranger_is_told_so_and_his_body_is_not_read() {
    let ask = |who: &str, method: &str, length: &str| {
        let one = format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Who: {who}\r\n{length}\r\n");
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        talk((one + last).as_bytes()).0
    };
    assert_eq!(statuses(&ask("stranger", "GET", "")), [401, 200]);
    for length in [
        "Content-Length: 99999\r\n",
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let said = ask("stranger", "POST", length);
        assert_eq!(statuses(&said), [401], "{said}");
        assert!(said.contains("Connection: close\r\n"));
    }
    let origin = "Origin: http://evil.com\r\n";
    assert_eq!(statuses(&ask("stranger", "POST", origin)), [401, 200]);
    assert_eq!(
        statuses(&ask("guest", "POST", "Content-Length: 0\r\n")),
        [403, 200]
    );
}

#[test]
fn a_websocket_request_is_handed_over_with_the_bytes_behind_it() {
    let (mut client, serving) = connect(edge());
    client
        .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /ws?token=x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\x81\x80")
        .unwrap();
    match serving.join().unwrap() {
        Ended::Upgrade { head, received } => {
            assert_eq!(head.header("upgrade"), Some("websocket"));
            assert_eq!(received, b"\x81\x80");
        }
        closed => panic!("{closed:?}"),
    }
}

#[test]
fn a_client_that_never_reads_is_given_up_after_the_write_timeout() {
    let mut edge = edge();
    edge.write_timeout = Duration::from_millis(50);
    let (mut client, serving) = connect(edge);
    let flooding = thread::spawn(move || {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{}",
            "x".repeat(9000)
        );
        while client.write_all(request.as_bytes()).is_ok() {}
    });
    let ended = serving.join().unwrap();
    assert!(
        matches!(
            ended,
            Ended::Closed {
                reason: "an answer was not taken in time",
                ..
            }
        ),
        "{ended:?}"
    );
    flooding.join().unwrap();
}

#[test]
fn a_broken_escape_is_for_the_router_to_judge() {
    let (said, _) = talk(b"GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(said.contains("\"/%zz\""), "{said}");
}
