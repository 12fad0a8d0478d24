//! Invariant 4: the ack of a subscribe is on its way before an event can be; the ack of an unsubscribe after the
//! subscription has ended.
//!
//! Threads: a publisher, a reader that subscribes, unsubscribes and subscribes anew, the writer. Events stand only between the two acks, and are
//! exactly those between their seqs.

use super::holds;
use super::peer::{account, ack, reached};
use super::site::{Client, TOPIC, broker, config, publisher, topic, unsubscribe};
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
    client.socket.wait_until(|heard| {
        ack(heard, "s2").is_some_and(|(_, seq)| seq == 3 || reached(heard, TOPIC) == 3)
    });
    let socket = client.socket.clone();
    client.close();
    let heard = socket.heard_whole();
    let [s1, u, s2] = ["s1", "u", "s2"].map(|request| ack(&heard, request).expect("an ack"));
    assert!(s1.0 < u.0 && u.0 < s2.0, "acks out of order");
    assert_eq!(reached(&heard[..s1.0], TOPIC), 0, "an event before its ack");
    assert_eq!(
        account(&heard[s1.0..u.0], TOPIC, s1.1),
        u.1,
        "another end than told"
    );
    assert_eq!(
        reached(&heard[u.0..s2.0], TOPIC),
        0,
        "an event after the end"
    );
    assert_eq!(account(&heard[s2.0..], TOPIC, s2.1), 3, "not all events");
}

#[test]
fn events_stand_between_the_acks() {
    holds(Time::Stands, acks);
}
