//! The `block` policy: publishers wait for the slowest subscriber, and nothing is dropped; when the deadline comes, the subscriber goes and
//! the publisher goes on.
//!
//! Threads: two publishing readers, a slow subscriber, the writers. No event may be missing, and nobody may wait for ever: while time stands,
//! a cursor that moves unnoticed is a deadlock.

use super::holds;
use super::peer::{Heard, account, has_gap, reached};
use super::site::{Client, TOPIC, publish_text, small_broker, topic};
use super::socket::Takes;
use crate::config::OverflowPolicy;
use crate::sync::Time;
use crate::sync::thread;

const EVENTS: u64 = 4;

fn blocking() {
    let broker = small_broker(1, OverflowPolicy::Block);
    let mut subscriber = Client::connect(&broker, 1, Takes::Some);
    subscriber.subscribe("s");
    let publishers = [2, 3].map(|id| {
        let mut client = Client::connect(&broker, id, Takes::Everything);
        thread::spawn(move || {
            for _ in 0..EVENTS / 2 {
                client.ask(&publish_text("p"));
            }
            client.close();
        })
    });
    for publisher in publishers {
        publisher.join().unwrap();
    }
    subscriber
        .socket
        .wait_until(|heard| reached(heard, TOPIC) == EVENTS);
    let socket = subscriber.socket.clone();
    subscriber.close();
    let heard = socket.heard_whole();
    assert!(!has_gap(&heard), "an event was dropped");
    assert_eq!(account(&heard, TOPIC, 0), EVENTS);
}

/// The subscriber reads nothing, and the deadline comes.
fn the_deadline() {
    let broker = small_broker(1, OverflowPolicy::Block);
    let mut subscriber = Client::connect(&broker, 1, Takes::Everything);
    subscriber.subscribe("s");
    subscriber.socket.take(Takes::Nothing);
    let mut publisher = Client::connect(&broker, 2, Takes::Everything);
    for _ in 0..EVENTS {
        publisher.ask(&publish_text("p"));
    }
    publisher.close();
    assert_eq!(topic(&broker).stats().seq, EVENTS);
    let socket = subscriber.socket.clone();
    socket.take(Takes::Everything);
    subscriber.leave();
    let heard = socket.heard();
    assert!(!has_gap(&heard), "an event was dropped");
    let closed = heard.contains(&Heard::Close(4100));
    assert!(closed || account(&heard, TOPIC, 0) < EVENTS);
    assert_eq!(broker.subscription_count(), 0);
}

#[test]
fn publishers_wait_and_nothing_is_dropped() {
    holds(Time::Stands, blocking);
}

#[test]
fn at_the_deadline_the_subscriber_goes() {
    holds(Time::Passes, the_deadline);
}
