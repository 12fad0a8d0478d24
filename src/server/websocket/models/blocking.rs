//! The `block` policy: publishers wait for the slowest subscriber, and nothing is dropped. At the deadline the subscriber's
//! connection ends, and the publisher continues.
//!
//! Threads: two readers that publish; a slow subscriber; the writers. No event may be missing, and no thread may wait for
//! ever: as deadlines do not pass, a cursor that moves without a notification is a deadlock.

use super::holds;
use super::peer::{Received, check_events, has_gap, reached};
use super::setup::{Client, TOPIC, publish_text, small_broker, topic};
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
        .wait_until(|received| reached(received, TOPIC) == EVENTS);
    let socket = subscriber.socket.clone();
    subscriber.close();
    let received = socket.received_whole();
    assert!(!has_gap(&received), "an event was dropped");
    assert_eq!(check_events(&received, TOPIC, 0), EVENTS);
}

/// The subscriber reads nothing, and the deadline passes.
fn deadline() {
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
    let received = socket.received();
    assert!(!has_gap(&received), "an event was dropped");
    let closed = received.contains(&Received::Close(4100));
    assert!(closed || check_events(&received, TOPIC, 0) < EVENTS);
    assert_eq!(broker.subscription_count(), 0);
}

#[test]
fn block_policy_makes_publishers_wait_and_drops_nothing() {
    holds(Time::Stands, blocking);
}

#[test]
fn a_subscriber_that_reads_nothing_is_ended_at_the_deadline() {
    holds(Time::Passes, deadline);
}
