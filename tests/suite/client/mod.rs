//! The Rust client with real servers, with a faulty network, and with fake servers.

mod addresses;
mod closing;
mod credentials;
mod cuts;
mod deadlines;
mod epochs;
mod hostile;
mod kills;
mod patterns;
mod pipelines;
mod presence;
mod proxy;
mod publishing;
mod random;
mod reconnecting;
mod responder;
mod several_servers;
mod several_topics;
mod stubborn;
mod subscribing;
mod topics;
mod waiting;

use std::net::SocketAddr;
use std::time::Duration;

use threadcast::client::{Client, ClientBuilder, Delivery, Subscription};

use crate::harness::{DEADLINE, TestServer};

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/ws")
}

/// A client that reconnects quickly, with timeouts below the deadline of a test.
fn builder(addr: SocketAddr) -> ClientBuilder {
    Client::builder(&url(addr))
        .connect_timeout(DEADLINE)
        .request_timeout(DEADLINE)
        .reconnect_pauses(Duration::from_millis(1), Duration::from_millis(20))
}

fn client_of(server: &TestServer) -> Client {
    builder(server.addr()).connect().expect("a server")
}

/// The next delivery, within the deadline.
fn next(subscription: &mut Subscription) -> Delivery {
    let delivery = subscription.recv_timeout(DEADLINE);
    delivery
        .expect("the subscription continues")
        .expect("a delivery in time")
}

/// The next delivery, which must be an event: its `seq` and its payload.
fn next_event(subscription: &mut Subscription) -> (u64, String) {
    match next(subscription) {
        Delivery::Event(event) => (event.seq(), event.raw().to_owned()),
        other => panic!("expected an event, got {other:?}"),
    }
}
