//! When the system runs short: those who are there are served, new ones are told, and it passes.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, SockRef, Socket, Type};

use crate::harness::{Account, DEADLINE, TestServer, alone, eventually};

const FEW_DESCRIPTORS: u64 = 100;

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

#[test]
fn without_descriptors_new_clients_get_503_and_old_ones_are_served() {
    alone(
        "exhaustion::without_descriptors_new_clients_get_503_and_old_ones_are_served",
        || {
            let server = TestServer::with_topic("orders");
            let mut old = server.ws();
            old.subscribe("orders", "c");
            let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let waiting: Vec<TcpStream> = (0..3).map(|_| socket().into()).collect();
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, FEW_DESCRIPTORS, hard).unwrap();
            let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            // The door waits with a descriptor in its hand for the first of them.
            connect(&waiting[0], &server);
            for client in &waiting[1..] {
                connect(client, &server);
                let answer = ask(client);
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                assert!(answer.contains("Retry-After: "), "{answer}");
            }
            let mut account = Account::starting_after("orders", 0);
            old.publish("orders", &json!(1));
            account.read_until(&mut old, 1);
            drop(taken);
            eventually("new clients are served again", || {
                server.http().get("/livez").status == 200
            });
        },
    );
}
