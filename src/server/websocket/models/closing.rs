//! The end of a connection, at every point of a fan-out: its subscriptions are gone, every count shows it, the close frame is the last, and
//! every event is accounted for.
//!
//! Threads: two publishers, the writer, another thread that ends the connection, and its reader.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Heard, account, reached};
use super::site::{Client, TOPIC, broker, config, ping, publisher, topic};
use super::socket::Takes;
use crate::sync::thread;
use crate::sync::{Arc, Time};

const EVENTS: u64 = 3;

fn in_order() {
    end(Takes::Some, |connection| {
        connection.end(EndReason::Heartbeat);
    });
}

fn at_once() {
    end(Takes::Some, |connection| {
        connection.abort(EndReason::PeerGone);
    });
}

/// The writer itself ends it.
fn by_a_write_timeout() {
    end(Takes::NothingInTime, |_| {});
}

fn end(takes: Takes, end: fn(&super::super::Connection)) {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    client.socket.take(takes);
    let (connection, socket) = (Arc::clone(&client.connection), client.socket.clone());
    let publishers = [publisher(&topic, EVENTS - 1), publisher(&topic, 1)];
    let ender = thread::spawn({
        let connection = Arc::clone(&connection);
        move || end(&connection)
    });
    client.ask(&ping("p"));
    for thread in publishers.into_iter().chain([ender]) {
        thread.join().unwrap();
    }
    if takes == Takes::NothingInTime {
        socket.wait_until_closed();
    }
    client.leave();
    assert!(
        connection.end_reason().is_some(),
        "nobody says why it ended"
    );
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    let heard = socket.heard();
    let (delivered, undelivered) = connection.tally();
    assert_eq!(
        account(&heard, TOPIC, 0),
        delivered,
        "another count than was heard"
    );
    assert!(delivered + undelivered <= EVENTS, "an event counted twice");
    assert_eq!(reached(&heard, TOPIC), delivered);
    let closed = matches!(heard.last(), Some(Heard::Close(4102)));
    assert!(closed || connection.outbox.phase() == super::super::outbox::Phase::Aborted);
}

#[test]
fn the_close_frame_is_the_last() {
    holds(Time::Stands, in_order);
}

#[test]
fn a_connection_given_up_leaves_nothing() {
    holds(Time::Stands, at_once);
}

#[test]
fn a_write_timeout_leaves_nothing() {
    holds(Time::Stands, by_a_write_timeout);
}
