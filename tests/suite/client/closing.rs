//! Closing: with a close frame, in bounded time, without leaks.

use std::time::Duration;

use threadcast::client::Start;

use super::hostile::FakeServer;
use super::proxy::Proxy;
use super::{builder, client_of};
use crate::harness::{TestServer, alone, eventually, in_time, own_descriptors, own_threads};

#[test]
fn dropping_clients_and_subscriptions_closes_their_connections() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    client.publish("orders", &1).unwrap();
    let subscription = client.subscribe("orders", Start::Now).unwrap();
    let clone = client.clone();
    assert_eq!(client.health().unwrap().connections, 3);
    drop(client);
    clone.publish("orders", &2).unwrap();
    drop(subscription);
    drop(clone);
    eventually("the server has nothing but who asks", || {
        let health = server.health();
        health["connections"] == 1 && health["subscribers"] == 0
    });
}

#[test]
fn drops_leak_no_threads_and_no_descriptors() {
    alone(
        "client::closing::drops_leak_no_threads_and_no_descriptors",
        || {
            let server = TestServer::with_topic("orders");
            let proxy = Proxy::to(server.addr());
            let round = || {
                let client = builder(proxy.addr()).connect().unwrap();
                client.publish("orders", &1).unwrap();
                let subscriptions: Vec<_> = (0..4)
                    .map(|_| client.subscribe("orders", Start::Last(1)).unwrap())
                    .collect();
                // Some close normally, some after a cut, one during an attempt to reconnect.
                drop(subscriptions);
                let mut cut = client.subscribe("orders", Start::Now).unwrap();
                proxy.set_down(true);
                proxy.cut_all();
                let _nothing = cut.recv_timeout(Duration::from_millis(30));
                proxy.set_down(false);
            };
            round();
            drop(server.health());
            let settle = || {
                // The descriptors of the proxy do not count.
                proxy.cut_all();
                (own_threads(), own_descriptors())
            };
            let before = crate::harness::await_stable(Duration::from_millis(300), settle);
            for _ in 0..5 {
                round();
            }
            eventually("as many threads and descriptors as before", || {
                let now = settle();
                now.0 <= before.0 && now.1 <= before.1
            });
        },
    );
}

#[test]
fn dropping_is_bounded_when_the_server_does_not_answer() {
    let fake = FakeServer::acking_once();
    let client = builder(fake.addr()).connect().unwrap();
    let subscription = client.subscribe("t", Start::Now).unwrap();
    in_time("two goodbyes that are not answered", || {
        drop(subscription);
        drop(client);
    });
}
