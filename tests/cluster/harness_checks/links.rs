//! What the proxy does to connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{BOTH, Proxy, Way};

const TIMEOUT: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(200);

/// A server that sends back what it receives, in front of each byte `mark`.
fn echo(mark: u8) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = from.read(&mut piece) {
                    let marked = piece[..count].iter().flat_map(|byte| [mark, *byte]);
                    let _gone = to.write_all(&marked.collect::<Vec<u8>>());
                }
            });
        }
    });
    addr
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

#[track_caller]
fn expect_echo(stream: &mut TcpStream, mark: u8) {
    stream.write_all(b"x").unwrap();
    expect_bytes(stream, &[mark, b'x']);
}

#[track_caller]
fn expect_bytes(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

#[track_caller]
fn expect_silence(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(SHORT)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
}

#[test]
fn a_cut_ends_connections_and_refuses_new_ones_until_it_heals() {
    let proxy = Proxy::to(echo(b'a'));
    let mut stream = connect(&proxy);
    expect_echo(&mut stream, b'a');
    proxy.cut();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    let refused = TcpStream::connect(proxy.addr()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.heal();
    expect_echo(&mut connect(&proxy), b'a');
}

#[test]
fn what_is_held_arrives_when_it_heals() {
    for way in BOTH {
        let proxy = Proxy::to(echo(b'a'));
        let mut stream = connect(&proxy);
        expect_echo(&mut stream, b'a');
        proxy.hold(&[way]);
        stream.write_all(b"xy").unwrap();
        expect_silence(&mut stream);
        let mut later = connect(&proxy);
        later.write_all(b"z").unwrap();
        expect_silence(&mut later);
        proxy.heal();
        expect_bytes(&mut stream, b"axay");
        expect_bytes(&mut later, b"az");
    }
}

#[test]
fn a_held_connection_can_be_dropped() {
    let proxy = Proxy::to(echo(b'a'));
    let mut stream = connect(&proxy);
    expect_echo(&mut stream, b'a');
    proxy.hold(&BOTH);
    stream.write_all(b"x").unwrap();
    proxy.drop_connections();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn delays_add_up_and_keep_the_order() {
    let proxy = Proxy::to(echo(b'a'));
    let mut stream = connect(&proxy);
    proxy.delay(&BOTH, SHORT);
    let start = Instant::now();
    stream.write_all(b"x").unwrap();
    stream.write_all(b"y").unwrap();
    expect_bytes(&mut stream, b"axay");
    let took = start.elapsed();
    assert!((2 * SHORT..4 * SHORT).contains(&took), "{took:?}");
}

#[test]
fn a_throttled_direction_is_as_slow_as_it_is_told() {
    let proxy = Proxy::to(echo(b'a'));
    let mut stream = connect(&proxy);
    proxy.throttle(&[Way::FromRedis], 20_000);
    let start = Instant::now();
    stream.write_all(&[b'x'; 5_000]).unwrap();
    let mut answer = [0; 10_000];
    stream.read_exact(&mut answer).unwrap();
    let took = start.elapsed();
    let half = Duration::from_millis(500);
    assert!((half * 8 / 10..half * 3).contains(&took), "{took:?}");
}

#[test]
fn new_connections_are_led_elsewhere_and_open_ones_stay() {
    let proxy = Proxy::to(echo(b'a'));
    let mut older = connect(&proxy);
    expect_echo(&mut older, b'a');
    proxy.lead_to(echo(b'b'));
    expect_echo(&mut connect(&proxy), b'b');
    expect_echo(&mut older, b'a');
}

#[test]
fn the_end_of_a_connection_is_passed_on() {
    let proxy = Proxy::to(echo(b'a'));
    let mut stream = connect(&proxy);
    expect_echo(&mut stream, b'a');
    drop(stream);
    crate::cluster::within(TIMEOUT, "the proxy forgets the connection", || {
        proxy.connections() == 0
    });
}
