//! Invariant 4: the ack of a subscribe is queued before any event can be sent; the ack of an unsubscribe is queued after the
//! subscription has ended.
//!
//! Threads: a publisher; a reader that subscribes, unsubscribes and subscribes again; the writer. Events arrive only between
//! the two acks, and are exactly those between their seqs.

use super::holds;
use super::peer::{ack, check_events, reached};
use super::setup::{Client, TOPIC, broker, config, publisher, topic, unsubscribe};
use super::socket::Takes;
use crate::sync::Time;

fn acks() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Some);
    let publisher = publisher(&topic, 3);
    client.subscribe("s1");
    client.ask(&unsubscribe("u"));
    client.subscribe("s2");
    publisher.join().unwrap();
    client.socket.wait_until(|received| {
        ack(received, "s2").is_some_and(|(_, seq)| seq == 3 || reached(received, TOPIC) == 3)
    });
    let socket = client.socket.clone();
    client.close();
    let received = socket.received_whole();
    let [s1, u, s2] = ["s1", "u", "s2"].map(|request| ack(&received, request).expect("an ack"));
    assert!(s1.0 < u.0 && u.0 < s2.0, "acks out of order");
    assert_eq!(
        reached(&received[..s1.0], TOPIC),
        0,
        "an event before its ack"
    );
    assert_eq!(
        check_events(&received[s1.0..u.0], TOPIC, s1.1),
        u.1,
        "another end than the ack says"
    );
    assert_eq!(
        reached(&received[u.0..s2.0], TOPIC),
        0,
        "an event after the end"
    );
    assert_eq!(
        check_events(&received[s2.0..], TOPIC, s2.1),
        3,
        "events are missing"
    );
}

#[test]
fn events_arrive_between_subscribe_ack_and_unsubscribe_ack() {
    holds(Time::Stands, acks);
}
