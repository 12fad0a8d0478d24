//! Many short connections: none stays, and memory does not grow with their number.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::{ChildServer, DEADLINE, Dial, HttpClient, await_stable, eventually};

const ATTACKERS: usize = 4;
const QUIET: Duration = Duration::from_millis(300);
/// How much more memory the second half may use than the first.
const MARGIN_KIB: u64 = 2 << 10;

/// Connects from one of many loopback addresses, so that no address runs out of ports.
fn connect(server: SocketAddr, n: usize) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let last = u8::try_from(n % 250 + 2).expect("below 252");
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&source.into()).expect("a loopback address");
    socket.connect(&server.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a read timeout");
    stream
}

/// Opens one connection and ends it in one of six ways.
fn connect_and_end(server: SocketAddr, n: usize) {
    let mut stream = connect(server, n);
    let handshake = Dial::request_fields(server) + "\r\n";
    match n % 6 {
        0 => {}
        1 => SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .expect("linger can be set"),
        2 => send(&mut stream, &handshake[..handshake.len() / 2]),
        3 => {
            send(&mut stream, &handshake);
            await_answer(&mut stream, "HTTP/1.1 101");
        }
        4 => send(&mut stream, &handshake),
        _ => {
            send(&mut stream, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
            await_answer(&mut stream, "HTTP/1.1 200");
        }
    }
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("the server reads");
}

fn await_answer(stream: &mut TcpStream, beginning: &str) {
    let mut answer = vec![0; beginning.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), beginning);
}

fn storm(server: &ChildServer, connections: usize) {
    let addr = server.addr();
    thread::scope(|scope| {
        for attacker in 0..ATTACKERS {
            scope.spawn(move || {
                for n in (attacker..connections).step_by(ATTACKERS) {
                    connect_and_end(addr, n);
                }
            });
        }
    });
    eventually("no connection is left", || {
        let mut http = HttpClient::connect(addr);
        http.get("/health").expect(200)["connections"] == 1
    });
}

fn assert_nothing_stays(connections: usize) {
    let server = ChildServer::start(&[]);
    storm(&server, 200);
    let threads = await_stable(QUIET, || server.threads());
    let descriptors = await_stable(QUIET, || server.descriptors());
    let halves = [(); 2].map(|()| {
        storm(&server, connections / 2);
        await_stable(QUIET, || server.resident_kib())
    });
    println!("{halves:?} KiB resident after each half of {connections} connections");
    eventually("threads are back", || server.threads() <= threads);
    eventually("descriptors are back", || {
        server.descriptors() <= descriptors
    });
    assert!(halves[1] <= halves[0] + MARGIN_KIB, "{halves:?} KiB");
}

#[test]
fn five_thousand_short_connections_leave_nothing_behind() {
    assert_nothing_stays(5_000);
}

#[test]
#[ignore = "takes most of a minute; .ci/run runs it"]
fn full_hundred_thousand_short_connections_leave_nothing_behind() {
    assert_nothing_stays(100_000);
}
