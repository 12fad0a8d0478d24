//! Invariant 5: replies are never dropped. A client that does not read them stops its own reader, and nobody else.
//!
//! Threads: a publisher, a reader with more replies than the outbox takes of a peer that does not read, its writer; another client on
//! the same topic. The publisher and the other client come to their end while the first peer reads nothing; once it reads, it hears every
//! reply, in order. And a publisher whose peer does not read its acks keeps no events from others, its own or such as were left to it.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Heard, account, reached};
use super::site::{Client, TOPIC, broker, config, ping, publish_text, publisher, topic};
use super::socket::Takes;
use crate::sync::thread;
use crate::sync::{Arc, Time};

const PINGS: usize = 4;

fn replies() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut stalled = Client::connect(&broker, 1, Takes::Everything);
    stalled.subscribe("s");
    stalled.socket.take(Takes::Nothing);
    let mut other = Client::connect(&broker, 2, Takes::Some);
    other.ask(&super::site::subscribe_as(TOPIC, "other", "s"));
    let socket = stalled.socket.clone();
    let publisher = publisher(&topic, 2);
    let reader = thread::spawn(move || {
        for n in 0..PINGS {
            stalled.ask(&ping(&n.to_string()));
        }
        stalled
    });
    publisher.join().unwrap();
    other.socket.wait_until(|heard| reached(heard, TOPIC) == 2);
    socket.take(Takes::Some);
    let stalled = reader.join().unwrap();
    socket.wait_until(|heard| reached(heard, TOPIC) == 2 && pongs(heard).len() == PINGS);
    stalled.close();
    other.close();
    let heard = socket.heard_whole();
    assert_eq!(account(&heard, TOPIC, 0), 2);
    assert!(pongs(&heard).is_sorted(), "replies out of order");
}

fn pongs(heard: &[Heard]) -> Vec<&str> {
    let pong = |heard| match heard {
        &Heard::Reply { ref to, code: None } => Some(to.as_str()),
        _ => None,
    };
    heard.iter().filter_map(pong).collect()
}

/// Events that other publishers leave to one whose peer does not read its acks.
fn a_stalled_publisher() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut other = Client::connect(&broker, 1, Takes::Everything);
    other.subscribe("s");
    let mut stalled = Client::connect(&broker, 2, Takes::Nothing);
    let socket = stalled.socket.clone();
    let publisher = publisher(&topic, 1);
    let reader = thread::spawn(move || {
        for n in 0..2 {
            stalled.ask(&publish_text(&n.to_string()));
        }
        stalled
    });
    publisher.join().unwrap();
    other.socket.wait_until(|heard| reached(heard, TOPIC) == 3);
    socket.take(Takes::Some);
    let stalled = reader.join().unwrap();
    stalled.close();
    other.close();
}

/// A reader that waits for its peer is woken when another thread gives the connection up.
fn a_waiting_reader() {
    let broker = broker(&config());
    let mut client = Client::connect(&broker, 1, Takes::Nothing);
    let connection = Arc::clone(&client.connection);
    let ender = thread::spawn(move || connection.abort(EndReason::Unauthorized));
    for n in 0..PINGS {
        client.ask(&ping(&n.to_string()));
    }
    ender.join().unwrap();
    client.leave();
}

#[test]
fn replies_are_never_dropped_and_stop_nobody_else() {
    holds(Time::Stands, replies);
}

#[test]
fn a_publisher_that_waits_for_its_peer_keeps_nothing_from_others() {
    holds(Time::Stands, a_stalled_publisher);
}

#[test]
fn a_reader_that_waits_is_woken_by_the_end() {
    holds(Time::Stands, a_waiting_reader);
}
