//! The server held under attack: each attack is refused or bounded, and whoever behaves is served meanwhile.
//!
//! In reading order: what is wrong with single requests ([`heads`], [`lengths`], [`chunks`], [`origins`]), with single
//! peers ([`peers`], [`drips`], [`readers`], [`steady`]), and with many at once ([`bounds`], [`memory`], [`crowds`], [`storm`],
//! [`farewell`]).

mod bounds;
mod chunks;
mod crowds;
mod drips;
mod farewell;
mod heads;
mod lengths;
mod memory;
mod origins;
mod peers;
mod readers;
mod steady;
mod storm;

use crate::harness::{HttpClient, Reply, TestServer};

/// Sends `bytes` on a connection of its own, as far as they are taken, and reads the answer.
fn answer(server: &TestServer, bytes: &[u8]) -> Reply {
    let mut http = HttpClient::connect(server.addr());
    http.try_send_raw(bytes);
    http.read_reply()
}

/// Each of `requests` is answered with a problem of this status, and the server answers after it.
fn expect_each(status: u16, requests: impl IntoIterator<Item = impl AsRef<[u8]>>) {
    let server = TestServer::start();
    let mut witness = server.http();
    for request in requests {
        let request = request.as_ref();
        let reply = answer(&server, request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
        assert_eq!(reply.status, status, "{shown:?} was answered {reply}");
        assert!(reply.json()["detail"].is_string(), "{reply}");
        witness.get("/livez").expect(200);
    }
}
