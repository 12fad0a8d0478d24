//! Invariant 1: a cursor moves and unsent bytes change only under the outbox lock; a frame is never split by another.
//!
//! Threads: two publishers, a reader with replies, the writer; the kernel takes parts. The peer must be able to read every frame, and the events of the topic
//! in order without a hole.

use super::holds;
use super::peer::{Heard, account, reached};
use super::site::{Client, TOPIC, broker, config, ping, publisher, topic};
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
    let pongs = |heard: &[Heard]| {
        heard
            .iter()
            .filter(|h| matches!(h, Heard::Reply { .. }))
            .count()
    };
    client
        .socket
        .wait_until(|heard| reached(heard, TOPIC) == 3 && pongs(heard) == 2);
    let socket = client.socket.clone();
    client.close();
    let heard = socket.heard_whole();
    assert_eq!(account(&heard, TOPIC, 0), 3);
    assert_eq!(heard.last(), Some(&Heard::Close(1000)));
}

#[test]
fn a_frame_is_never_split() {
    holds(Time::Stands, frames);
}
