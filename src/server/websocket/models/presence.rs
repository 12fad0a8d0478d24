//! Who watches a topic hears of everybody who comes and leaves, whatever happens at the same time: the list comes directly behind
//! the ack, the notices are applied in order without a contradiction, and in the end all watchers have the list.
//!
//! Threads: a watcher whose socket is slow; one that begins to watch meanwhile; a subscriber that joins and leaves; a connection that
//! takes its client id over; one that ends rounds; a publisher; the writers.

use std::collections::BTreeSet;

use super::holds;
use super::peer::{PresenceNotice, Received, ack, check_events};
use super::setup::{Client, TOPIC, broker, config, publisher, subscribe_as, topic, watch};
use super::socket::Takes;
use crate::broker::Topic;
use crate::sync::Arc;
use crate::sync::Time;
use crate::sync::thread::{self, JoinHandle};

const EVENTS: u64 = 2;

/// Applies the notices in their order.
fn apply(received: &[Received]) -> BTreeSet<String> {
    let mut present = BTreeSet::new();
    for received in received {
        let Received::Presence(PresenceNotice {
            total,
            all,
            joined,
            left,
        }) = received
        else {
            continue;
        };
        if let Some(all) = all {
            present = all.iter().cloned().collect();
        }
        for name in joined {
            assert!(present.insert(name.clone()), "'{name}' came twice");
        }
        for name in left {
            assert!(present.remove(name), "'{name}' left without having come");
        }
        assert_eq!(*total, present.len(), "another total than names");
    }
    present
}

fn expect_list_behind_ack(received: &[Received], request: &str) {
    let (at, _) = ack(received, request).expect("it was waited for");
    let is_list = |received: &Received| matches!(received, Received::Presence(notice) if notice.all.is_some());
    assert!(
        received.get(at + 1).is_some_and(is_list),
        "no list behind the ack"
    );
}

fn end_rounds(topic: &Arc<Topic>) -> JoinHandle<()> {
    let topic = Arc::clone(topic);
    thread::spawn(move || {
        for _ in 0..2 {
            topic.end_presence_round();
        }
    })
}

fn watching(first: Takes, takes_over: bool) {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut watcher = Client::connect(&broker, 1, first);
    watcher.ask(&watch(TOPIC, "w1", "w"));
    let mut second = Client::connect(&broker, 2, Takes::Everything);
    let mut joining = Client::connect(&broker, 3, Takes::Everything);
    let rounds = end_rounds(&topic);
    let publisher = publisher(&topic, EVENTS);
    let beginning = thread::spawn(move || {
        second.ask(&watch(TOPIC, "w2", "w"));
        second
    });
    let joined = thread::spawn(move || {
        joining.ask(&subscribe_as(TOPIC, "s", "s"));
        joining.close();
    });
    let mut expected = vec!["w1".to_owned(), "w2".to_owned()];
    let taking = takes_over.then(|| {
        let mut taking = Client::connect(&broker, 4, Takes::Everything);
        taking.ask(&subscribe_as(TOPIC, "s", "s"));
        expected.insert(0, "s".to_owned());
        taking
    });
    let second = beginning.join().unwrap();
    joined.join().unwrap();
    rounds.join().unwrap();
    publisher.join().unwrap();
    if taking.is_some() && topic.subscriber_count() == 2 {
        // The other connection came later, took it over, and left.
        expected.remove(0);
    }
    topic.end_presence_round();
    for client in [&watcher, &second] {
        let has_heard = |received: &[Received]| apply(received).iter().eq(&expected);
        client.socket.wait_until(has_heard);
    }
    let sockets = [&watcher, &second].map(|client| client.socket.clone());
    second.close();
    watcher.close();
    taking.into_iter().for_each(Client::close);
    assert_eq!(topic.subscriber_count(), 0);
    for socket in sockets {
        let received = socket.received_whole();
        expect_list_behind_ack(&received, "w");
        let (_, seq) = ack(&received, "w").expect("it was checked");
        check_events(&received, TOPIC, seq);
    }
}

/// The round in which somebody joined may end while the pattern's topics wait for its ack.
fn by_pattern() {
    let broker = broker(&config());
    let topic = topic(&broker);
    let mut watcher = Client::connect(&broker, 1, Takes::Some);
    let joining = thread::spawn({
        let mut joining = Client::connect(&broker, 2, Takes::Everything);
        let topic = Arc::clone(&topic);
        move || {
            joining.ask(&subscribe_as(TOPIC, "s", "s"));
            topic.end_presence_round();
            joining
        }
    });
    watcher.ask(&watch("t*", "w", "w"));
    let joining = joining.join().unwrap();
    let expected = ["s", "w"].map(str::to_owned);
    watcher
        .socket
        .wait_until(|received| apply(received).iter().eq(&expected));
    watcher.close();
    joining.close();
    assert_eq!(topic.subscriber_count(), 0);
}

#[test]
fn what_came_before_the_ack_of_a_pattern_is_heard() {
    holds(Time::Stands, by_pattern);
}

#[test]
fn watchers_come_to_the_same_list() {
    holds(Time::Stands, || watching(Takes::Everything, false));
}

#[test]
fn a_slow_watcher_comes_to_the_list() {
    holds(Time::Stands, || watching(Takes::Some, false));
}

#[test]
fn a_takeover_is_no_change() {
    holds(Time::Stands, || watching(Takes::Some, true));
}
