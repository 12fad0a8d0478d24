//! The Rust client against real servers, against the network between, and against servers that are none.

mod closing;
mod credentials;
mod cuts;
mod deadlines;
mod hostile;
mod pipelines;
mod proxy;
mod publishing;
mod random;
mod reconnecting;
mod several_topics;
mod stubborn;
mod subscribing;
mod topics;

use std::net::SocketAddr;
use std::time::Duration;

use threadcast::client::{Client, ClientBuilder, Delivery, Subscription};

use crate::harness::{DEADLINE, TestServer};

fn url(addr: SocketAddr) -> String {
    format!("ws://{addr}/ws")
}

/// A client that comes back quickly, and gives up within the deadline of a test.
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
        .expect("the subscription goes on")
        .expect("a delivery in time")
}

/// The next delivery, which must be an event: its number and its payload.
fn next_event(subscription: &mut Subscription) -> (u64, String) {
    match next(subscription) {
        Delivery::Event(event) => (event.seq(), event.raw().to_owned()),
        other => panic!("awaited an event, got {other:?}"),
    }
}
