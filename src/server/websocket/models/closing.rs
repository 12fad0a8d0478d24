//! The end of a connection at every point of a fan-out: its subscriptions are removed, all counts agree, the close frame is
//! the last frame, and each event is counted once.
//!
//! Threads: two publishers; the connection's reader and writer; a thread that ends the connection.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Received, check_events, reached};
use super::setup::{Client, TOPIC, broker, config, ping, publisher, topic};
use super::socket::Takes;
use crate::sync::thread;
use crate::sync::{Arc, Time};

const EVENTS: u64 = 3;

fn in_order() {
    end(Takes::Some, |connection| {
        connection.end(EndReason::Heartbeat);
    });
}

fn by_abort() {
    end(Takes::Some, |connection| {
        connection.abort(EndReason::PeerGone);
    });
}

/// The writer itself aborts the connection.
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
    assert!(connection.end_reason().is_some(), "no reason for the end");
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    let received = socket.received();
    let (delivered, undelivered) = connection.tally();
    assert_eq!(
        check_events(&received, TOPIC, 0),
        delivered,
        "the count differs from the received events"
    );
    assert!(delivered + undelivered <= EVENTS, "an event counted twice");
    assert_eq!(reached(&received, TOPIC), delivered);
    let closed = matches!(received.last(), Some(Received::Close(4102)));
    assert!(closed || connection.outbox.phase() == super::super::outbox::Phase::Aborted);
}

#[test]
fn the_close_frame_is_the_last_frame() {
    holds(Time::Stands, in_order);
}

#[test]
fn an_aborted_connection_leaves_no_subscription() {
    holds(Time::Stands, by_abort);
}

#[test]
fn a_write_timeout_leaves_no_subscription() {
    holds(Time::Stands, by_a_write_timeout);
}
