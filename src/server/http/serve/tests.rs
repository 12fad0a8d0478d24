use super::*;
use crate::access::{ApiKey, Guard};
use crate::config::Config;
use crate::server::http::gateway::GatewayOptions;
use crate::server::rest::fixture::api;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

const LONG: Duration = Duration::from_secs(10);

/// An edge before an API with the topic `t`, which finds every connection that it is to close.
fn edge_with(guard: Guard) -> Edge {
    let options = GatewayOptions {
        workers: 1,
        queue_timeout: LONG,
        answer_timeout: LONG,
    };
    let broker = Arc::new(Broker::new(&Config::default()));
    let name = crate::protocol::TopicName::new("t").unwrap();
    broker.create_here(name, &Default::default()).unwrap();
    let api = api(&broker, |_| true);
    Edge {
        gateway: Gateway::start(options, &api, &Panics::default()).unwrap(),
        limits: RequestLimits {
            request_timeout: LONG,
            keep_alive: LONG,
            max_body_bytes: 10_000,
        },
        write_timeout: LONG,
        large_responses: LargeResponses::new(1, LONG),
        authorization: Arc::new(Authorization::new(Arc::new(guard), Arc::default())),
        origins: OriginPolicy::new(vec!["https://app.example.com".to_owned()]),
        addresses: AddressLimits::new(0, 0, Arc::default()),
        trusted_proxies: TrustedProxies::default(),
        broker,
        max_publish_rate: 0,
        draining: Arc::default(),
        panics: Panics::default(),
        metrics: Arc::default(),
    }
}

fn edge() -> Edge {
    edge_with(Guard::new(None, None, None).unwrap())
}

/// How a connection ended, how many requests were answered, and the bytes behind the last one.
type Ended = (End, u64, Vec<u8>);

fn connect(edge: Edge) -> (TcpStream, JoinHandle<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let (server, peer) = listener.accept().unwrap();
    let (server, info) = (Transport::tcp(server), ConnectionInfo::new(1, peer));
    let serving = thread::spawn(move || {
        let mut connection = HttpConnection::new(&server, &info, &edge);
        let end = connection.run();
        let answered = connection.answered;
        (end, answered, connection.into_received().0)
    });
    (client, serving)
}

/// Everything that an edge sends in response to `bytes` until it closes.
fn talk_to(edge: Edge, bytes: &[u8]) -> (String, Ended) {
    let (mut client, serving) = connect(edge);
    client.write_all(bytes).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    drop(client);
    (said, serving.join().unwrap())
}

fn talk(bytes: &[u8]) -> (String, Ended) {
    talk_to(edge(), bytes)
}

fn statuses(said: &str) -> Vec<u16> {
    let lines = said.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let mut bytes = Vec::new();
    for number in 0..20 {
        let body =
            format!(r#"{{"id":"00000000-0000-4000-8000-0000000000{number:02}","payload":1}}"#);
        let head = format!(
            "POST /topics/t/messages?q HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        bytes.extend((head + &body).bytes());
    }
    bytes.extend(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nleft over");
    let (said, ended) = talk(&bytes);
    let (last, published) = statuses(&said)
        .split_last()
        .map(|(a, b)| (*a, b.to_vec()))
        .unwrap();
    assert_eq!((published, last), (vec![201; 20], 200));
    let places: Vec<_> = (0..20)
        .map(|number| said.find(&format!("-0000000000{number:02}\"")).unwrap())
        .collect();
    assert!(places.is_sorted());
    assert!(said.contains("Connection: close\r\n"));
    let (end, answered, _) = ended;
    assert_eq!((end, answered), (End::Closed("closed as asked"), 21));
}

#[test]
fn a_head_request_gets_the_length_of_get_and_no_body() {
    let (said, _) = talk(b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let lengths: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("Content-Length"))
        .collect();
    assert_eq!(lengths.len(), 2);
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(said.matches("\"status\"").count(), 1);
}

#[test]
fn http_1_0_gets_its_answer_and_the_end() {
    let (said, _) = talk(b"GET /livez HTTP/1.0\r\n\r\n");
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
        assert_eq!((ended.0, ended.1), (End::Closed(code), 1));
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
    let ask = |method: &str, path: &str, origin: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\nOrigin: {origin}\r\n\r\n"
        );
        statuses(&talk(head.as_bytes()).0)
    };
    assert_eq!(ask("GET", "/livez", "http://evil.com"), [200]);
    for method in ["POST", "DELETE", "OPTIONS", "get"] {
        let status = ask(method, "/connections/7", "http://evil.com");
        assert_eq!(status, [403], "{method}");
    }
    for origin in ["http://a:1", "https://app.example.com"] {
        assert_eq!(ask("DELETE", "/connections/7", origin), [200], "{origin}");
    }
}

/// A guard with the API key `admin` and the key `guest`, which may only publish to `t`.
fn guard() -> Guard {
    // printf guest | sha256sum
    let file = "[[key]]\nname = \"guest\"\npublish = [\"t\"]\nsha256 = \"84983c60f7daadc1cb8698621f802c0d9f9a3c3c295c810748fb048115c186ec\"\n";
    let path: PathBuf =
        std::env::temp_dir().join(format!("threadcast-{}-edge", uuid::Uuid::new_v4()));
    std::fs::write(&path, file).unwrap();
    let guard = Guard::new(
        Some(ApiKey::new("admin").unwrap()),
        Some(path.clone()),
        None,
    );
    std::fs::remove_file(&path).unwrap();
    guard.unwrap()
}

#[test]
fn a_stranger_is_told_so_and_his_body_is_not_read() {
    let ask = |key: &str, method: &str, length: &str| {
        let one =
            format!("{method} /topics HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n{length}\r\n");
        let last = "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        talk_to(edge_with(guard()), (one + last).as_bytes()).0
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
    assert_eq!(statuses(&ask("admin", "GET", "")), [200, 200]);
}

#[test]
fn a_websocket_request_is_handed_over_with_the_bytes_behind_it() {
    let (mut client, serving) = connect(edge());
    client
        .write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /ws?token=x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\x81\x80")
        .unwrap();
    match serving.join().unwrap() {
        (End::Upgrade(head), answered, received) => {
            assert_eq!(head.header("upgrade"), Some("websocket"));
            assert_eq!((answered, received), (1, b"\x81\x80".to_vec()));
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
        let request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n";
        while client.write_all(request).is_ok() {}
    });
    let (end, ..) = serving.join().unwrap();
    assert_eq!(end, End::Closed("an answer was not taken in time"));
    flooding.join().unwrap();
}

#[test]
fn a_broken_escape_is_answered_and_the_connection_goes_on() {
    let (said, _) = talk(
        b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(statuses(&said), [400, 200]);
    assert!(said.contains("broken percent-encoding"), "{said}");
}
