//! A client id taken over by another connection: the newer subscription wins, the older ends where the newer began and is told so, and no
//! event is for both.
//!
//! Threads: a publisher; the older connection, which may subscribe anew or unsubscribe meanwhile; the newer one; one that ends the newer; the writers.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Heard, account, ack, notice, reached};
use super::site::{Client, TOPIC, broker, config, publisher, topic, unsubscribe};
use super::socket::Takes;
use crate::sync::thread;
use crate::sync::{Arc, AtomicBool, Ordering, Time};

const EVENTS: u64 = 3;
const REPLACED: &str = "subscription_replaced";

fn takeover() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut older = Client::connect(&broker, 1, Takes::Some);
    let mut newer = Client::connect(&broker, 2, Takes::Some);
    older.subscribe("s");
    let publisher = publisher(&topic, EVENTS);
    newer.subscribe("s");
    publisher.join().unwrap();
    newer.socket.wait_until(|heard| {
        ack(heard, "s").is_some_and(|(_, seq)| seq.max(reached(heard, TOPIC)) == EVENTS)
    });
    older
        .socket
        .wait_until(|heard| notice(heard, REPLACED).is_some());
    assert_eq!(topic.subscriber_count(), 1);
    let sockets = [older.socket.clone(), newer.socket.clone()];
    older.close();
    newer.close();
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    let [older, newer] = sockets.map(|socket| socket.heard_whole());
    let at = notice(&older, REPLACED).expect("it was waited for");
    let Heard::Notice { seq: Some(end), .. } = older[at] else {
        panic!("the notice has no seq")
    };
    assert_eq!(
        account(&older[..at], TOPIC, 0),
        end,
        "another end than told"
    );
    assert_eq!(reached(&older[at..], TOPIC), 0, "an event after the end");
    let (_, begin) = ack(&newer, "s").expect("it was waited for");
    assert!(end <= begin, "an event for both");
    assert_eq!(account(&newer, TOPIC, begin), EVENTS);
}

/// Both subscribe, the older twice, and unsubscribe: whoever wins, nobody is left, and each is told how it ended.
fn to_and_fro() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut older = Client::connect(&broker, 1, Takes::Everything);
    let mut newer = Client::connect(&broker, 2, Takes::Everything);
    let publisher = publisher(&topic, 1);
    let other = thread::spawn(move || {
        newer.subscribe("s1");
        newer.ask(&unsubscribe("u"));
        newer
    });
    older.subscribe("s1");
    older.subscribe("s2");
    older.ask(&unsubscribe("u"));
    let newer = other.join().unwrap();
    publisher.join().unwrap();
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    for client in [older, newer] {
        let socket = client.socket.clone();
        assert_eq!(
            client.connection.subscription_count(),
            0,
            "still on the list"
        );
        client.close();
        let heard = socket.heard_whole();
        let ended = heard
            .iter()
            .any(|heard| matches!(heard, Heard::Reply { code: Some(_), .. }));
        assert_eq!(ended, ack(&heard, "u").is_none());
        assert!(
            !ended || notice(&heard, REPLACED).is_some(),
            "not told how it ended"
        );
    }
}

/// The newer connection is ended by another thread: if that came first, the older subscription stays.
fn overtaken() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut older = Client::connect(&broker, 1, Takes::Everything);
    let mut newer = Client::connect(&broker, 2, Takes::Everything);
    older.subscribe("s");
    let is_over = Arc::new(AtomicBool::new(false));
    let ender = thread::spawn({
        let (connection, is_over) = (Arc::clone(&newer.connection), Arc::clone(&is_over));
        move || {
            connection.end(EndReason::Heartbeat);
            is_over.store(true, Ordering::SeqCst);
        }
    });
    let was_over = is_over.load(Ordering::SeqCst);
    newer.subscribe("s");
    ender.join().unwrap();
    newer.leave();
    let replaced = notice(&older.socket.heard(), REPLACED).is_some();
    assert!(!(was_over && replaced), "taken over by one that was over");
    assert_eq!(topic.subscriber_count(), usize::from(!replaced));
    older.close();
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
}

#[test]
fn the_older_ends_where_the_newer_begins() {
    holds(Time::Stands, takeover);
}

#[test]
fn whoever_wins_nobody_is_left() {
    holds(Time::Stands, to_and_fro);
}

#[test]
fn a_connection_that_is_over_takes_nothing_over() {
    holds(Time::Stands, overtaken);
}
