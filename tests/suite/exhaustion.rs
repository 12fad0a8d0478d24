//! Exhausted system resources: connected clients are served, new ones are refused, and the server recovers.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::{
    DEADLINE, Dial, HttpClient, SequenceChecker, TestServer, WsClient, alone, cpu_time_of_others,
    eventually,
};

const FEW_DESCRIPTORS: u64 = 100;
/// Memory for small buffers, but not for a thread's stack.
const LITTLE_MEMORY_BYTES: u64 = 40 << 10;
/// How long the resource stays exhausted while CPU use is measured.
const EXHAUSTION: Duration = Duration::from_secs(1);
/// New clients must be served within this time afterwards.
const RECOVERY: Duration = Duration::from_secs(2);

fn connect(client: &TcpStream, server: &TestServer) {
    let connected = SockRef::from(client).connect(&server.addr().into());
    connected.unwrap();
}

fn ask(mut client: &TcpStream) -> String {
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// A server and a client that subscribed before resources ran out.
fn server_and_subscriber() -> (TestServer, WsClient) {
    let server = TestServer::with_topic("orders");
    let mut old = server.ws();
    old.subscribe("orders", "c");
    (server, old)
}

/// Asserts for a while that the connected client is served and that the server uses little CPU.
fn assert_served_and_quiet(old: &mut WsClient) {
    let mut checker = SequenceChecker::starting_after("orders", 0);
    let (start, before) = (Instant::now(), cpu_time_of_others());
    eventually("the resource stays exhausted for a while", || {
        let seq = old.publish("orders", &json!(1));
        checker.read_until(old, seq);
        start.elapsed() >= EXHAUSTION
    });
    let (used, took) = (cpu_time_of_others() - before, start.elapsed());
    println!("{used:?} of processor time in {took:?}");
    assert!(used < took / 5, "{used:?} of processor time in {took:?}");
}

fn assert_recovered(server: &TestServer) {
    let start = Instant::now();
    eventually("new clients are served again", || {
        let mut http = HttpClient::connect(server.addr());
        http.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
        http.try_read_reply()
            .is_some_and(|reply| reply.status == 200)
    });
    assert!(start.elapsed() < RECOVERY, "after {:?}", start.elapsed());
    let mut new = server.ws();
    new.subscribe("orders", "new");
}

#[test]
fn without_descriptors_new_clients_get_503_and_connected_ones_are_served() {
    alone(
        "exhaustion::without_descriptors_new_clients_get_503_and_connected_ones_are_served",
        || {
            let (server, mut old) = server_and_subscriber();
            let mut kept = server.http();
            eventually("all other connections have ended", || {
                kept.get("/health").expect(200)["connections"] == 2
            });
            let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let waiting: Vec<TcpStream> = (0..20).map(|_| socket().into()).collect();
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, FEW_DESCRIPTORS, hard).unwrap();
            let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            // The acceptor, blocked in accept, has already reserved a descriptor for the first of them.
            connect(&waiting[0], &server);
            for client in &waiting[1..4] {
                connect(client, &server);
                let answer = ask(client);
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains("Retry-After: "), "{answer}");
            }
            // These stay connected and send nothing.
            waiting[4..].iter().for_each(|one| connect(one, &server));
            assert_served_and_quiet(&mut old);
            drop(taken);
            assert_recovered(&server);
            let rejected = "pubsub_connections_rejected_total{reason=\"no_descriptor\"}";
            assert!(server.metrics().count(rejected) >= 3);
        },
    );
}

#[test]
fn acceptor_without_any_descriptor_waits_without_spinning() {
    alone(
        "exhaustion::acceptor_without_any_descriptor_waits_without_spinning",
        || {
            let (server, mut old) = server_and_subscriber();
            let waiting: Vec<TcpStream> = (0..10)
                .map(|_| {
                    Socket::new(Domain::IPV4, Type::STREAM, None)
                        .unwrap()
                        .into()
                })
                .collect();
            let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            // Below the descriptors already open, so that a closed one cannot be reused.
            setrlimit(Resource::RLIMIT_NOFILE, 3, hard).unwrap();
            waiting.iter().for_each(|one| connect(one, &server));
            assert_served_and_quiet(&mut old);
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
            assert_recovered(&server);
        },
    );
}

/// Mapped bytes of the process, as counted by RLIMIT_AS.
fn mapped_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
    size.unwrap().parse::<u64>().unwrap() << 10
}

/// Without memory for another stack no thread can be started.
#[test]
fn without_threads_new_clients_get_503_and_connected_ones_are_served() {
    alone(
        "exhaustion::without_threads_new_clients_get_503_and_connected_ones_are_served",
        || {
            let (server, mut old) = server_and_subscriber();
            let mut kept = server.http();
            kept.get("/livez").expect(200);
            let mut waiting = server.http();
            waiting.get("/livez").expect(200);
            eventually("all other connections have ended", || {
                kept.get("/health").expect(200)["connections"] == 3
            });
            // The C library reuses the stacks of ended threads; these connections take all of them.
            let mut held: Vec<_> = (0..10).map(|_| server.http()).collect();
            for http in &mut held {
                http.get("/livez").expect(200);
            }
            let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
            let little = mapped_bytes() + LITTLE_MEMORY_BYTES;
            setrlimit(Resource::RLIMIT_AS, little, hard).unwrap();
            for _ in 0..20 {
                let mut refused = server.http();
                refused.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
                let reply = refused.read_reply();
                reply.expect_problem(503, "UNAVAILABLE");
                assert!(reply.header("Retry-After").is_some(), "{reply}");
                refused.expect_end();
            }
            // A WebSocket needs a second thread, which this connection cannot get.
            let handshake = Dial::request_fields(server.addr()) + "\r\n";
            waiting.send_raw(handshake.as_bytes());
            waiting.read_reply().expect_problem(503, "UNAVAILABLE");
            waiting.expect_end();
            assert_served_and_quiet(&mut old);
            eventually("refused connections are not counted", || {
                kept.get("/health").expect(200)["connections"] == held.len() + 2
            });
            setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
            assert_recovered(&server);
            let rejected = "pubsub_connections_rejected_total{reason=\"no_thread\"}";
            assert!(server.metrics().count(rejected) >= 21);
        },
    );
}
