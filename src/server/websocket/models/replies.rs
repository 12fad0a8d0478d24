//! Invariant 5: replies are never dropped. A client that does not read them blocks its own reader and no other thread.
//!
//! Threads: a publisher; a reader whose peer reads nothing, with more replies than the outbox accepts; its writer; another
//! client of the same topic. The publisher and the other client finish while the first peer reads nothing. Once it reads, it
//! receives every reply in order. A publisher whose peer does not read its acks holds back no events, neither its own nor
//! those of publishers that rely on its fan-out.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Received, check_events, reached};
use super::setup::{Client, TOPIC, broker, config, ping, publish_text, publisher, topic};
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
    other.ask(&super::setup::subscribe_as(TOPIC, "other", "s"));
    let socket = stalled.socket.clone();
    let publisher = publisher(&topic, 2);
    let reader = thread::spawn(move || {
        for n in 0..PINGS {
            stalled.ask(&ping(&n.to_string()));
        }
        stalled
    });
    publisher.join().unwrap();
    other
        .socket
        .wait_until(|received| reached(received, TOPIC) == 2);
    socket.take(Takes::Some);
    let stalled = reader.join().unwrap();
    socket.wait_until(|received| reached(received, TOPIC) == 2 && pongs(received).len() == PINGS);
    stalled.close();
    other.close();
    let received = socket.received_whole();
    assert_eq!(check_events(&received, TOPIC, 0), 2);
    assert!(pongs(&received).is_sorted(), "replies out of order");
}

fn pongs(received: &[Received]) -> Vec<&str> {
    let pong = |received| match received {
        &Received::Reply { ref to, code: None } => Some(to.as_str()),
        _ => None,
    };
    received.iter().filter_map(pong).collect()
}

/// Other publishers rely on the fan-out of one whose peer does not read its acks.
fn a_stalled_publisher() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut other = Client::connect(&broker, 1, Takes::Everything);
    other.subscribe("s");
    let mut stalled = Client::connect(&broker, 2, Takes::Nothing);
    let socket = stalled.socket.clone();
    let publishers = [(); 2].map(|()| publisher(&topic, 2));
    let reader = thread::spawn(move || {
        // The writer may take the first ack out, then the second one stays: at the latest, the third publish waits.
        for n in 0..3 {
            stalled.ask(&publish_text(&n.to_string()));
        }
        stalled
    });
    for publisher in publishers {
        publisher.join().unwrap();
    }
    // However many the stalled publisher had published by now.
    let published = topic.stats().seq;
    let socket_of_other = &other.socket;
    socket_of_other.wait_until(|received| reached(received, TOPIC) >= published);
    socket.take(Takes::Some);
    let stalled = reader.join().unwrap();
    stalled.close();
    other.close();
}

/// Another thread aborts the connection while its reader waits for the peer.
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
fn replies_are_never_dropped_and_block_only_their_own_reader() {
    holds(Time::Stands, replies);
}

#[test]
fn a_publisher_that_waits_for_its_peer_holds_back_no_events() {
    holds(Time::Stands, a_stalled_publisher);
}

#[test]
fn abort_wakes_a_reader_that_waits_for_its_peer() {
    holds(Time::Stands, a_waiting_reader);
}
