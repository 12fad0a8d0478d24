//! The PROXY protocol: whom the header of a trusted proxy names, and what becomes of a connection without a valid one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, HttpClient, TestServer, eventually};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE: &str = "PROXY TCP4 203.0.113.5 10.0.0.1 51234 8080\r\n";
const WHO: &str = "GET /connections HTTP/1.1\r\nHost: x\r\n";

fn expecting_headers(change: impl FnOnce(&mut crate::harness::Config)) -> TestServer {
    // The harness itself speaks no PROXY protocol, and comes from another address than the proxies of these tests.
    TestServer::with(|config| {
        config.host = "127.0.0.1".to_owned();
        config.trusted_proxies = vec!["127.0.0.2".to_owned(), "10.0.0.0/8".to_owned()];
        config.proxy_protocol = true;
        change(config);
    })
}

/// A connection from the address of the trusted proxy.
fn proxy(server: &TestServer) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let own: SocketAddr = "127.0.0.2:0".parse().unwrap();
    socket.bind(&own.into()).unwrap();
    socket.connect(&server.addr().into()).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends these pieces and a request for the connections; returns the address that the server shows for this one, and whether
/// the connection goes on.
fn shown(server: &TestServer, pieces: &[&[u8]], fields: &str) -> String {
    let mut stream = proxy(server);
    for piece in pieces {
        stream.write_all(piece).unwrap();
    }
    let request = format!("{WHO}{fields}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    let (_, body) = reply.split_once("\r\n\r\n").unwrap();
    let list: serde_json::Value = serde_json::from_str(body).unwrap();
    let own = list["connections"].as_array().unwrap().last().unwrap();
    own["address"].as_str().unwrap().to_owned()
}

fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn ipv4_block() -> Vec<u8> {
    let addresses = [203, 0, 113, 5, 10, 0, 0, 1, 0xc8, 0x22, 0x1f, 0x90];
    let tlvs = [0x04, 0, 3, 1, 2, 3, 0x05, 0, 1, 9];
    block(0x21, 0x11, &[&addresses[..], &tlvs].concat())
}

fn ipv6_block() -> Vec<u8> {
    let mut rest = [0; 36];
    rest[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    rest[15] = 5;
    rest[32..34].copy_from_slice(&[0xc8, 0x22]);
    block(0x21, 0x21, &rest)
}

#[test]
fn header_of_either_version_names_the_client() {
    let server = expecting_headers(|_| {});
    let line6 = "PROXY TCP6 2001:db8::5 ::1 51234 8080\r\n";
    for (header, expected) in [
        (LINE.as_bytes().to_vec(), "203.0.113.5:51234"),
        (line6.as_bytes().to_vec(), "[2001:db8::5]:51234"),
        (ipv4_block(), "203.0.113.5:51234"),
        (ipv6_block(), "[2001:db8::5]:51234"),
    ] {
        assert_eq!(shown(&server, &[&header], ""), expected);
    }
}

#[test]
fn header_may_arrive_in_two_pieces_cut_anywhere_and_with_the_request() {
    let server = expecting_headers(|_| {});
    for header in [LINE.as_bytes().to_vec(), ipv4_block()] {
        for cut in 0..=header.len() {
            let (first, second) = header.split_at(cut);
            let address = shown(&server, &[first, second], "");
            assert_eq!(address, "203.0.113.5:51234", "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = header.chunks(1).collect();
        assert_eq!(shown(&server, &bytes, ""), "203.0.113.5:51234");
        let both = [&header[..], b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let mut stream = proxy(&server);
        stream.write_all(&both).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
    }
}

#[test]
fn header_that_names_nobody_keeps_the_address_of_the_peer() {
    let server = expecting_headers(|_| {});
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 203.0.113.5 10.0.0.1 1 2\r\n".to_vec(),
        block(0x20, 0x00, &[]),
        block(0x20, 0x11, &ipv4_block()[16..]),
        block(0x21, 0x00, &[]),
        block(0x21, 0x12, &ipv4_block()[16..]),
        block(0x21, 0x31, &[0; 216]),
    ] {
        let address = shown(&server, &[&header], "");
        assert!(address.starts_with("127.0.0.2:"), "{address} of {header:?}");
    }
}

#[test]
fn connection_of_a_proxy_without_a_valid_header_is_closed_without_an_answer() {
    let server = expecting_headers(|_| {});
    let too_long = block(0x21, 0x11, &vec![0; 5000]);
    let mut off_by_one = ipv4_block();
    off_by_one[11] ^= 1;
    for bytes in [
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"OPTIONS / HTTP/1.0\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.5 10.0.0.1 51234\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP6 203.0.113.5 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.5 10.0.0.1 1 2\n".to_vec(),
        format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(),
        block(0x22, 0x11, &ipv4_block()[16..]),
        block(0x21, 0x51, &ipv4_block()[16..]),
        block(0x21, 0x11, &[1, 2, 3, 4]),
        too_long,
        off_by_one,
    ] {
        let mut stream = proxy(&server);
        let _refused = stream.write_all(&bytes);
        let _refused = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut said = Vec::new();
        // A reset is as good as an end.
        let _reset = stream.read_to_end(&mut said);
        assert!(said.is_empty(), "{:?}", String::from_utf8_lossy(&said));
    }
    HttpClient::connect(server.addr()).get("/livez").expect(200);
}

#[test]
fn header_of_anybody_else_is_a_malformed_request() {
    let server = expecting_headers(|_| {});
    for header in [LINE.as_bytes().to_vec(), ipv4_block()] {
        let mut http = HttpClient::connect(server.addr());
        http.try_send_raw(&header);
        http.read_reply().expect_problem(400, "BAD_REQUEST");
        http.expect_end();
    }
    // Without the setting, of a trusted proxy, too.
    let server = TestServer::with(|config| config.trusted_proxies = vec!["127.0.0.0/8".to_owned()]);
    let mut http = HttpClient::connect(server.addr());
    http.try_send_raw(LINE.as_bytes());
    http.read_reply().expect_problem(400, "BAD_REQUEST");
}

#[test]
fn slow_header_is_closed_after_the_request_timeout() {
    let timeout = Duration::from_millis(500);
    let server = expecting_headers(|config| config.request_timeout = timeout);
    for begun in [&b""[..], b"PROXY TCP4 203", &ipv4_block()[..20]] {
        let start = Instant::now();
        let mut stream = proxy(&server);
        stream.write_all(begun).unwrap();
        let mut said = Vec::new();
        let _reset = stream.read_to_end(&mut said);
        assert!(said.is_empty(), "{said:?}");
        assert!(start.elapsed() >= timeout, "before the deadline");
        assert!(start.elapsed() < DEADLINE, "too late");
    }
    // The request has the rest of the same time.
    let start = Instant::now();
    let mut stream = proxy(&server);
    eventually("most of the time is over", || start.elapsed() > timeout / 2);
    stream.write_all(LINE.as_bytes()).unwrap();
    let mut said = Vec::new();
    let _reset = stream.read_to_end(&mut said);
    assert!(said.is_empty() && start.elapsed() >= timeout);
    assert!(
        start.elapsed() < timeout + timeout,
        "counted from the header"
    );
}

/// A header may name another proxy, whose `X-Forwarded-For` is believed then.
#[test]
fn forwarded_header_counts_if_the_named_client_is_a_proxy() {
    let server = expecting_headers(|_| {});
    let field = "X-Forwarded-For: 198.51.100.7\r\n";
    assert_eq!(
        shown(&server, &[LINE.as_bytes()], field),
        "203.0.113.5:51234"
    );
    let inner = "PROXY TCP4 10.1.2.3 10.0.0.1 51234 8080\r\n";
    assert_eq!(shown(&server, &[inner.as_bytes()], field), "198.51.100.7");
    assert_eq!(
        shown(&server, &[b"PROXY UNKNOWN\r\n"], field),
        "198.51.100.7"
    );
}

#[test]
fn connections_of_a_named_client_are_limited_and_places_come_back() {
    let server = expecting_headers(|config| config.max_connections_per_ip = 2);
    let open = || {
        let mut stream = proxy(&server);
        stream.write_all(LINE.as_bytes()).unwrap();
        let _refused = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        let status = String::from_utf8_lossy(&start[9..]).into_owned();
        (stream, status)
    };
    for _ in 0..3 {
        let mut held = Vec::new();
        eventually("both places are free", || {
            held.clear();
            held.extend((0..2).map(|_| open()));
            held.iter().all(|(_, status)| status == "200")
        });
        assert_eq!(open().1, "503");
        // Other clients of the same proxy are served.
        let other = LINE.replace("203.0.113.5", "203.0.113.6");
        assert_eq!(shown(&server, &[other.as_bytes()], ""), "203.0.113.6:51234");
    }
    let mut http = HttpClient::connect(server.addr());
    http.get("/livez").expect(200);
}
