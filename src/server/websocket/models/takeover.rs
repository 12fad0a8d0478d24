//! Another connection takes a client id over: the newer subscription wins, the older one ends where the newer one begins and
//! gets a notice of that, and no event is for both.
//!
//! Threads: a publisher; the older connection, which may subscribe again or unsubscribe meanwhile; the newer one; one that
//! ends the newer one; the writers.

use super::super::end::EndReason;
use super::holds;
use super::peer::{Received, ack, check_events, notice, reached};
use super::setup::{Client, TOPIC, broker, config, publisher, topic, unsubscribe};
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
    newer.socket.wait_until(|received| {
        ack(received, "s").is_some_and(|(_, seq)| seq.max(reached(received, TOPIC)) == EVENTS)
    });
    older
        .socket
        .wait_until(|received| notice(received, REPLACED).is_some());
    assert_eq!(topic.subscriber_count(), 1);
    let sockets = [older.socket.clone(), newer.socket.clone()];
    older.close();
    newer.close();
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
    let [older, newer] = sockets.map(|socket| socket.received_whole());
    let at = notice(&older, REPLACED).expect("it was waited for");
    let Received::Notice { seq: Some(end), .. } = older[at] else {
        panic!("the notice has no seq")
    };
    assert_eq!(
        check_events(&older[..at], TOPIC, 0),
        end,
        "another end than the notice says"
    );
    assert_eq!(reached(&older[at..], TOPIC), 0, "an event after the end");
    let (_, begin) = ack(&newer, "s").expect("it was waited for");
    assert!(end <= begin, "an event for both subscriptions");
    assert_eq!(check_events(&newer, TOPIC, begin), EVENTS);
}

/// Both subscribe, the older one twice, and unsubscribe: whichever wins, no subscription is left, and each client gets an ack
/// or a notice of the takeover.
fn mutual() {
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
        let received = socket.received_whole();
        let ended = received
            .iter()
            .any(|received| matches!(received, Received::Reply { code: Some(_), .. }));
        assert_eq!(ended, ack(&received, "u").is_none());
        assert!(
            !ended || notice(&received, REPLACED).is_some(),
            "neither an ack nor a notice"
        );
    }
}

/// Another thread ends the newer connection: if that came before its subscribe, the older subscription stays.
fn by_an_ending_connection() {
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
    let replaced = notice(&older.socket.received(), REPLACED).is_some();
    assert!(
        !(was_over && replaced),
        "taken over by a connection that had ended"
    );
    assert_eq!(topic.subscriber_count(), usize::from(!replaced));
    older.close();
    assert_eq!(
        (topic.subscriber_count(), broker.subscription_count()),
        (0, 0)
    );
}

#[test]
fn the_older_subscription_ends_where_the_newer_begins() {
    holds(Time::Stands, takeover);
}

#[test]
fn no_subscription_is_left_whichever_wins() {
    holds(Time::Stands, mutual);
}

#[test]
fn an_ended_connection_takes_over_no_subscription() {
    holds(Time::Stands, by_an_ending_connection);
}
