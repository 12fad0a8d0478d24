//! Invariant 1: cursors and unsent bytes change only under the outbox lock; a frame is never split by another.
//!
//! Threads: two publishers; a reader with replies; the writer. The kernel takes parts of each send. The peer must be able to
//! decode every frame, and receives the events of the topic in order and without a hole.

use super::holds;
use super::peer::{Received, check_events, reached};
use super::setup::{Client, TOPIC, broker, config, ping, publisher, topic};
use super::socket::Takes;
use crate::sync::Time;

fn frames() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Some);
    client.subscribe("s");
    let publishers = [publisher(&topic, 2), publisher(&topic, 1)];
    client.ask(&ping("p1"));
    client.ask(&ping("p2"));
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let pongs = |received: &[Received]| {
        received
            .iter()
            .filter(|h| matches!(h, Received::Reply { .. }))
            .count()
    };
    client
        .socket
        .wait_until(|received| reached(received, TOPIC) == 3 && pongs(received) == 2);
    let socket = client.socket.clone();
    client.close();
    let received = socket.received_whole();
    assert_eq!(check_events(&received, TOPIC, 0), 3);
    assert_eq!(received.last(), Some(&Received::Close(1000)));
}

#[test]
fn a_frame_is_never_split() {
    holds(Time::Stands, frames);
}
