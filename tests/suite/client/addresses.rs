//! Several addresses: which one a new connection and a REST request go to, and which errors lead to the next.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use threadcast::client::{Client, ClientBuilder, Error, Reconnect, Start};

use super::hostile::FakeServer;
use super::responder::{FORBIDDEN, NOTHING, Responder, UNAVAILABLE};
use super::{builder, url};
use crate::harness::{DEADLINE, TestServer, in_time};

/// An address where nothing listens.
pub(super) fn closed_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A client with these addresses, in this order.
pub(super) fn builder_of(addresses: &[SocketAddr]) -> ClientBuilder {
    let [first, others @ ..] = addresses else {
        panic!("no address")
    };
    let builder = builder(*first);
    others
        .iter()
        .fold(builder, |builder, addr| builder.also(&url(*addr)))
}

#[test]
fn first_that_answers_is_used() {
    let (first, second) = (TestServer::start(), TestServer::start());
    let client = builder_of(&[first.addr(), second.addr()])
        .connect()
        .unwrap();
    client.create_topic("orders").unwrap();
    assert_eq!(client.server(), first.addr().to_string());
    let of_topics = |server: &TestServer| server.health()["topics"].as_u64();
    assert_eq!((of_topics(&first), of_topics(&second)), (Some(1), Some(0)));

    let addresses = [closed_address(), second.addr(), first.addr()];
    let client = builder_of(&addresses).connect().unwrap();
    client.create_topic("orders").unwrap();
    assert_eq!(client.server(), second.addr().to_string());
    let subscription = client.subscribe("orders", Start::Now).unwrap();
    assert_eq!(subscription.server(), second.addr().to_string());
    client.publish("orders", &1).unwrap();
    assert_eq!(second.topic("orders")["seq"], 1);
}

#[test]
fn addresses_may_be_separated_by_commas() {
    let server = TestServer::start();
    let urls = format!("{}, http://{}", url(closed_address()), server.addr());
    let client = Client::connect(&urls).unwrap();
    assert_eq!(client.server(), server.addr().to_string());
}

#[test]
fn wrong_one_of_several_addresses_is_named() {
    let server = TestServer::start();
    let good = url(server.addr());
    for (builder, number) in [
        (Client::builder("ftp://x").also(&good), 1),
        (Client::builder(&good).also("ws://x?token=s3cret"), 2),
        (Client::builder(&good).also(""), 2),
    ] {
        let error = builder.connect().unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        let expected = format!("url: address {number} of 2: ");
        let text = error.to_string();
        assert!(text.starts_with(&expected), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn every_failed_address_is_reported() {
    let (closed, full) = (closed_address(), Responder::always(UNAVAILABLE));
    let error = builder_of(&[closed, full.addr()]).connect().unwrap_err();
    let Error::NoServer { attempts } = &error else {
        panic!("{error:?}")
    };
    let addresses: Vec<_> = attempts.iter().map(|one| one.address.clone()).collect();
    assert_eq!(
        addresses,
        [closed, full.addr()].map(|addr| addr.to_string())
    );
    assert!(error.is_temporary());
    assert_eq!(error.code(), Some("UNAVAILABLE"));
    let text = error.to_string();
    assert!(
        text.starts_with("none of the 2 servers can be used: "),
        "{text}"
    );
    assert_eq!(full.requests(), 1, "each is tried once");

    let error = builder_of(&[closed, closed]).connect().unwrap_err();
    assert!(
        matches!(error, Error::Connect { .. }),
        "given twice, it is one: {error:?}"
    );
}

#[test]
fn full_server_leads_to_the_next() {
    let full = TestServer::with(|config| config.max_connections = Some(1));
    let _only = full.ws();
    let second = TestServer::with_topic("orders");
    let client = builder_of(&[full.addr(), second.addr()]).connect().unwrap();
    assert_eq!(client.server(), second.addr().to_string());

    // These answer the check at the start, and no handshake.
    let refusing = Responder::healthy_but(UNAVAILABLE);
    let addresses = [refusing.addr(), second.addr()];
    for policy in [Reconnect::Never, Reconnect::Forever] {
        let client = builder_of(&addresses).reconnect(policy).connect().unwrap();
        assert_eq!(client.server(), refusing.addr().to_string());
        let subscription = client.subscribe("orders", Start::Now).unwrap();
        assert_eq!(subscription.server(), second.addr().to_string());
        let client = builder_of(&addresses).reconnect(policy).connect().unwrap();
        client.publish("orders", &1).unwrap();
        assert_eq!(client.server(), second.addr().to_string());
    }
}

#[test]
fn permanent_refusal_is_no_reason_to_go_to_another() {
    let other = Responder::always(UNAVAILABLE);
    let guarded =
        TestServer::with(|config| config.api_key = threadcast::ApiKey::new("s3cret").ok());
    let addresses = [guarded.addr(), other.addr()];
    let error = builder_of(&addresses).connect().unwrap_err();
    assert_eq!(error.code(), Some("UNAUTHORIZED"));

    let first = TestServer::start();
    let client = builder_of(&[first.addr(), other.addr()]).connect().unwrap();
    for result in [
        client.topic("nowhere").map(drop),
        client.delete_topic("nowhere"),
        client.publish("nowhere", &1).map(drop),
        client.subscribe("nowhere", Start::Now).map(drop),
    ] {
        assert_eq!(result.unwrap_err().code(), Some("TOPIC_NOT_FOUND"));
    }

    let forbidding = Responder::healthy_but(FORBIDDEN);
    let client = builder_of(&[forbidding.addr(), other.addr()])
        .connect()
        .unwrap();
    for result in [
        client.create_topic("orders"),
        client.publish("orders", &1).map(drop),
        client.subscribe("orders", Start::Now).map(drop),
    ] {
        assert_eq!(result.unwrap_err().code(), Some("FORBIDDEN"));
    }
    assert_eq!(other.requests(), 0);
}

#[test]
fn request_that_was_not_processed_goes_to_the_next() {
    let second = TestServer::with_topic("old");
    let refusing = Responder::healthy_but(UNAVAILABLE);
    let client = builder_of(&[refusing.addr(), second.addr()])
        .connect()
        .unwrap();
    client.create_topic("orders").unwrap();
    assert_eq!(refusing.lines().len(), 2);
    client.delete_topic("old").unwrap();
    assert_eq!(
        refusing.lines().len(),
        2,
        "it stays with the one that works"
    );
    assert_eq!(second.health()["topics"], 1);

    let first = TestServer::start();
    let client = builder_of(&[first.addr(), second.addr()])
        .connect()
        .unwrap();
    first.shutdown();
    client.create_topic("later").unwrap();
    assert_eq!(second.health()["topics"], 2);
}

#[test]
fn request_that_may_have_been_processed_is_not_repeated() {
    let second = TestServer::with_topic("old");
    let losing = Responder::healthy_but(NOTHING);
    let client = builder_of(&[losing.addr(), second.addr()])
        .connect()
        .unwrap();
    for result in [client.create_topic("orders"), client.delete_topic("old")] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("may or may not have processed"), "{text}");
    }
    assert_eq!(second.health()["topics"], 1);
    let topics = client.topics().unwrap();
    assert_eq!(topics[0].name, "old", "reading may be repeated");
    assert_eq!(losing.lines().len(), 4);
}

#[test]
fn silent_server_takes_only_its_share_of_the_time() {
    let timeout = Duration::from_secs(4);
    let second = TestServer::with_topic("orders");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [silent.local_addr().unwrap(), second.addr()];
    let patient = || {
        builder_of(&addresses)
            .connect_timeout(timeout)
            .request_timeout(timeout)
    };
    let before = Instant::now();
    let client = patient().connect().unwrap();
    assert!(before.elapsed() >= timeout / 2);
    assert!(before.elapsed() < timeout);
    assert_eq!(client.server(), second.addr().to_string());

    // It answers the check at the start, and no handshake.
    let silent = FakeServer::silent_in_the_handshake(|mut stream| {
        while matches!(std::io::Read::read(&mut stream, &mut [0; 1024]), Ok(1..)) {}
    });
    let client = builder_of(&[silent.addr(), second.addr()]);
    let client = client.connect_timeout(timeout).connect().unwrap();
    assert_eq!(client.server(), silent.addr().to_string());
    let before = Instant::now();
    in_time("publishing", || client.publish("orders", &1)).unwrap();
    assert!(before.elapsed() < timeout);
    assert!(timeout < DEADLINE);
}
