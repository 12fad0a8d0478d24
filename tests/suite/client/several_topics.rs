//! Subscriptions to several topics.

use threadcast::client::{Delivery, EndReason, Error, Start};

use super::proxy::Proxy;
use super::{builder, client_of, next};
use crate::harness::{TestServer, eventually};

fn two_topics() -> TestServer {
    let server = TestServer::with_topic("a");
    server.create_topic("b");
    server
}

fn next_of(subscription: &mut threadcast::client::Subscription) -> (String, u64) {
    match next(subscription) {
        Delivery::Event(event) => (event.topic().to_owned(), event.seq()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_topic_has_its_own_start_and_position() {
    let server = two_topics();
    let client = client_of(&server);
    for number in 1..=3 {
        client.publish("a", &number).unwrap();
        client.publish("b", &number).unwrap();
    }
    let subscriber = client.subscriber().topic("a", Start::Now);
    let mut both = subscriber.topic("b", Start::Last(1)).open().unwrap();
    assert_eq!(next_of(&mut both), ("b".to_owned(), 3));
    client.publish("a", &4).unwrap();
    assert_eq!(next_of(&mut both), ("a".to_owned(), 4));
    let positions = ["a", "b"].map(|topic| both.position(topic).unwrap().seq);
    assert_eq!(positions, [4, 3]);
}

#[test]
fn end_of_one_topic_does_not_end_the_others() {
    let server = two_topics();
    let client = client_of(&server);
    let subscriber = client.subscriber().topic("a", Start::Now);
    let mut both = subscriber.topic("b", Start::Now).open().unwrap();
    client.delete_topic("a").unwrap();
    let error = both.recv().unwrap_err();
    assert!(
        matches!(&error, Error::Ended { topic, reason: EndReason::TopicDeleted } if topic == "a")
    );
    assert!(!both.is_over());
    assert_eq!(both.topics().collect::<Vec<_>>(), ["b"]);
    client.publish("b", &1).unwrap();
    assert_eq!(next_of(&mut both), ("b".to_owned(), 1));
    client.delete_topic("b").unwrap();
    assert!(matches!(both.recv(), Err(Error::Ended { .. })));
    assert!(both.is_over());
}

#[test]
fn one_refused_topic_fails_open() {
    let server = two_topics();
    let client = client_of(&server);
    let subscriber = client.subscriber().topic("a", Start::Now);
    let error = subscriber.clone().topic("nowhere", Start::Now).open();
    assert_eq!(error.unwrap_err().code(), Some("TOPIC_NOT_FOUND"));
    for wrong in [
        client.subscriber(),
        subscriber.clone().topic("a", Start::Now),
        subscriber.client_id(""),
    ] {
        assert!(matches!(wrong.open(), Err(Error::Invalid { .. })));
    }
    eventually("the failed attempt leaves no subscription", || {
        client.topic("a").unwrap().subscribers == 0
    });
}

#[test]
fn long_replay_of_one_topic_does_not_block_open() {
    let server = TestServer::with(|config| config.history_size = 3000);
    server.create_topic("a");
    server.create_topic("b");
    let client = builder(server.addr())
        .receive_buffer_bytes(8 << 10)
        .connect()
        .unwrap();
    let mut pipeline = client.pipeline("a", 100);
    let pad = "x".repeat(512);
    for _ in 0..3000 {
        pipeline.send(&pad).unwrap();
    }
    pipeline.finish().unwrap();
    client.publish("b", &1).unwrap();
    let subscriber = client.subscriber().topic("a", Start::Last(3000));
    let mut both = subscriber.topic("b", Start::Last(1)).open().unwrap();
    let (mut of_a, mut of_b) = (0, 0);
    while of_a + of_b < 3001 {
        match next_of(&mut both) {
            (topic, seq) if topic == "a" => {
                of_a += 1;
                assert_eq!(seq, of_a);
            }
            _ => of_b += 1,
        }
    }
    assert_eq!((of_a, of_b), (3000, 1));
}

#[test]
fn unsubscribed_topic_ends_at_once_and_the_others_continue() {
    let server = two_topics();
    let client = client_of(&server);
    let subscriber = client.subscriber().topic("a", Start::Now);
    let mut both = subscriber.topic("b", Start::Now).open().unwrap();
    for number in 1..=3 {
        client.publish("a", &number).unwrap();
        client.publish("b", &number).unwrap();
    }
    assert_eq!(next_of(&mut both), ("a".to_owned(), 1));
    both.unsubscribe("a").unwrap();
    for number in 1..=3 {
        assert_eq!(next_of(&mut both), ("b".to_owned(), number));
    }
    eventually("the server knows", || {
        client.topic("a").unwrap().subscribers == 0
    });
    assert_eq!(both.topics().collect::<Vec<_>>(), ["b"]);
    assert!(matches!(both.unsubscribe("a"), Err(Error::Invalid { .. })));

    let place = both.position("a").unwrap();
    assert_eq!(
        place.seq, 1,
        "the position does not include undelivered events"
    );
    let mut rest = client.subscribe("a", place).unwrap();
    let of_a = [(); 2].map(|()| next_of(&mut rest).1);
    assert_eq!(of_a, [2, 3]);
}

#[test]
fn topic_unsubscribed_while_deleted_delivers_nothing() {
    let server = two_topics();
    let client = client_of(&server);
    let subscriber = client.subscriber().topic("a", Start::Now);
    let mut both = subscriber.topic("b", Start::Now).open().unwrap();
    client.delete_topic("a").unwrap();
    both.unsubscribe("a").unwrap();
    client.publish("b", &1).unwrap();
    assert_eq!(next_of(&mut both), ("b".to_owned(), 1));
}

#[test]
fn unsubscribing_from_the_last_topic_ends_the_subscription() {
    let server = two_topics();
    let client = client_of(&server);
    let mut only = client.subscribe("a", Start::Now).unwrap();
    client.publish("a", &1).unwrap();
    only.unsubscribe("a").unwrap();
    assert!(only.is_over());
    assert!(matches!(only.recv(), Err(Error::Closed)));
    server.await_subscribers("a", 0);
}

#[test]
fn unsubscribed_topic_is_not_subscribed_after_a_reconnect() {
    let server = two_topics();
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr()).connect().unwrap();
    let subscriber = client.subscriber().topic("a", Start::Now);
    let mut both = subscriber.topic("b", Start::Now).open().unwrap();
    both.unsubscribe("a").unwrap();
    proxy.cut_all();
    client.publish("a", &1).unwrap();
    client.publish("b", &1).unwrap();
    assert_eq!(next_of(&mut both), ("b".to_owned(), 1));
    server.await_subscribers("a", 0);
    server.await_subscribers("b", 1);
}
