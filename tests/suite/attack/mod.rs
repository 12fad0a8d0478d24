//! The server under attack: each attack is refused or bounded, and other clients are served meanwhile.
//!
//! In reading order: single requests ([`heads`], [`lengths`], [`chunks`], [`origins`]), single peers ([`peers`],
//! [`slow_peers`], [`readers`], [`steady`]), and many clients at once ([`bounds`], [`memory`], [`crowds`], [`storm`],
//! [`shutdown`]).

mod bounds;
mod chunks;
mod crowds;
mod heads;
mod lengths;
mod memory;
mod origins;
mod peers;
mod readers;
mod shutdown;
mod slow_peers;
mod steady;
mod storm;

use crate::harness::{HttpClient, Reply, TestServer};

/// Sends `bytes` on a new connection until the server stops reading, and returns the response.
fn answer(server: &TestServer, bytes: &[u8]) -> Reply {
    let mut http = HttpClient::connect(server.addr());
    http.try_send_raw(bytes);
    http.read_reply()
}

/// Asserts that each of `requests` gets a problem with this status and that the server still answers afterwards.
fn expect_each(status: u16, requests: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    let server = TestServer::start();
    let mut observer = server.http();
    for request in requests {
        let request = request.as_ref();
        let reply = answer(&server, request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
        assert_eq!(reply.status, status, "{shown:?} was answered {reply}");
        assert!(reply.json()["detail"].is_string(), "{reply}");
        observer.get("/livez").expect(200);
    }
}
