//! Handshakes, good and bad, and what follows them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use serde_json::json;

use super::{TlsServer, get, read_to_end};
use crate::harness::{
    DEADLINE, Dial, HttpClient, SequenceChecker, StreamClient, connect_tls, event_seqs, eventually,
};

const HANDSHAKE_FAILURE_ALERTS: [u8; 2] = [40, 70];

#[test]
fn rest_websocket_and_event_streams_share_the_port() {
    let server = TlsServer::start();
    let relay = server.relay();
    HttpClient::connect(relay.addr())
        .post("/topics", &json!({"name": "orders"}))
        .expect(201);
    let mut subscriber = Dial::to(relay.addr()).connect();
    subscriber.subscribe("orders", "c");
    let mut stream = StreamClient::open(relay.addr(), "/topics/orders/events");
    stream.expect("ack");
    Dial::to(relay.addr())
        .connect()
        .publish_many("orders", 1, 3);
    assert_eq!(event_seqs(&subscriber.next_events(3)), [1, 2, 3]);
    let events = stream.next_events(3).into_iter().map(|event| event.data);
    assert_eq!(event_seqs(&events.collect::<Vec<_>>()), [1, 2, 3]);
}

#[test]
fn versions_1_2_and_1_3_are_spoken_and_end_with_a_notice() {
    let server = TlsServer::start();
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = server.authority.client_config_of(&[version]);
        let mut client = connect_tls(server.addr(), &config);
        // An end without the notice would be an error here.
        let response = get(&mut client, "/livez");
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert_eq!(client.conn.protocol_version(), Some(expected));
    }
}

/// The first bytes of TLS 1.1 and older: their record, and a hello that offers no newer version.
#[test]
fn older_versions_are_refused_with_an_alert() {
    let server = TlsServer::start();
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut body = version.to_vec();
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
        let mut hello = vec![1, 0, 0, body.len() as u8];
        hello.extend(body);
        let mut record = vec![22, 3, 1, 0, hello.len() as u8];
        record.extend(hello);
        let mut client = TcpStream::connect(server.addr()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(&record).unwrap();
        let answer = read_to_end(&mut client);
        let [21, _, _, 0, 2, 2, alert] = answer[..] else {
            panic!("no fatal alert: {answer:?}")
        };
        assert!(HANDSHAKE_FAILURE_ALERTS.contains(&alert), "alert {alert}");
    }
}

#[test]
fn plain_http_gets_an_answer_in_plain_text() {
    let server = TlsServer::start();
    for request in [
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /topics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
        "G",
    ] {
        let mut client = TcpStream::connect(server.addr()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = String::from_utf8(read_to_end(&mut client)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(head.contains("Content-Type: text/plain"), "{head}");
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{head}"
        );
        assert!(body.contains("https://"), "{body}");
    }
    assert!(get(&mut server.connect(), "/metrics").contains("{result=\"plain_http\"} 3\n"));
}

#[test]
fn what_is_no_tls_ends_its_connection_and_harms_nobody_else() {
    let server = TlsServer::start();
    let mut hello_and_noise = vec![22, 3, 1, 0x40, 0];
    hello_and_noise.extend([0xff; 0x4000]);
    for bytes in [
        &b"\x00"[..],
        b"\xff\xff\xff\xff",
        b"\x80\x2e\x01\x03\x01",
        &hello_and_noise,
    ] {
        let mut client = TcpStream::connect(server.addr()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        read_to_end(&mut client);
    }
    let page = get(&mut server.connect(), "/metrics");
    assert!(
        page.contains("pubsub_tls_handshakes_total{result=\"failed\"} 4\n"),
        "{page}"
    );
    assert_eq!(server.server.panics(), 0);
}

#[test]
fn noise_after_the_handshake_ends_the_connection() {
    let server = TlsServer::start();
    let mut client = server.connect();
    client.conn.complete_io(&mut client.sock).unwrap();
    client.sock.write_all(&[23, 3, 3, 0, 32]).unwrap();
    client.sock.write_all(&[0; 32]).unwrap();
    let mut rest = Vec::new();
    let ended = client.read_to_end(&mut rest);
    assert!(ended.is_err(), "a fatal alert");
    eventually("the connection is gone", || {
        let page = get(&mut server.connect(), "/health");
        page.contains("\"connections\":1")
    });
}

#[test]
fn whoever_does_not_finish_the_handshake_is_cut_at_the_request_timeout() {
    let timeout = Duration::from_millis(300);
    let server = TlsServer::with(|config| config.request_timeout = timeout);
    let began = Instant::now();
    let mut silent = TcpStream::connect(server.addr()).unwrap();
    let mut half = TcpStream::connect(server.addr()).unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
    for client in [&mut silent, &mut half] {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        // While they are waited for, others are served.
        assert!(get(&mut server.connect(), "/livez").starts_with("HTTP/1.1 200 "));
        read_to_end(client);
        assert!(began.elapsed() >= timeout);
    }
}

/// A peer that sends a record byte by byte is silent for the heartbeat.
#[test]
fn record_that_never_ends_is_no_sign_of_life() {
    let server = TlsServer::with(|config| config.heartbeat = Duration::from_millis(200));
    let mut client = server.connect();
    let mut request = Dial::request_fields(server.addr());
    request.push_str("\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    client.sock.write_all(&[23, 3, 3, 0x40, 0]).unwrap();
    let (mut writer, mut rest) = (client.sock.try_clone().unwrap(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while writer.write_all(&[0]).is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let _ended = client.read_to_end(&mut rest);
    });
    let close = [0x88];
    assert!(
        rest.windows(1).any(|bytes| bytes == close),
        "a close frame: {rest:?}"
    );
}

#[test]
fn client_that_comes_back_resumes_its_session() {
    let server = TlsServer::start();
    let config = server.authority.client_config();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = connect_tls(server.addr(), &config);
        get(&mut client, "/livez");
        assert_eq!(client.conn.handshake_kind(), Some(expected));
    }
}

#[test]
fn only_http_1_1_is_agreed_on() {
    let server = TlsServer::start();
    let offering = |protocols: &[&[u8]]| {
        let mut config = (*server.authority.client_config()).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        connect_tls(server.addr(), &Arc::new(config))
    };
    let mut both = offering(&[b"h2", b"http/1.1"]);
    assert!(get(&mut both, "/livez").starts_with("HTTP/1.1 200 "));
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut only_h2 = offering(&[b"h2"]);
    assert!(only_h2.conn.complete_io(&mut only_h2.sock).is_err());
}

#[test]
fn full_server_answers_503() {
    let server = TlsServer::with(|config| config.max_connections = Some(1));
    let mut only = server.connect();
    only.conn.complete_io(&mut only.sock).unwrap();
    let mut other = server.connect();
    let mut response = String::new();
    other.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("\r\nRetry-After: "), "{response}");
}

/// New keys in the middle of the events, from the side of the client.
#[test]
fn new_keys_lose_and_repeat_nothing() {
    let server = TlsServer::with(|config| config.max_queue_size = 10_000);
    let relay = server.relay();
    HttpClient::connect(relay.addr())
        .post("/topics", &json!({"name": "orders"}))
        .expect(201);
    let refreshing = server.relay_with_new_keys();
    let mut subscriber = Dial::to(refreshing.addr()).connect();
    subscriber.subscribe("orders", "c");
    Dial::to(relay.addr())
        .connect()
        .publish_many("orders", 1, 2000);
    SequenceChecker::starting_after("orders", 0).read_until(&mut subscriber, 2000);
}
