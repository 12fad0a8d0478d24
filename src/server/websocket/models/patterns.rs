//! A topic is created by its first publish, deleted, and created again while a client subscribes to a pattern that matches it: the
//! client is subscribed to every topic from its first event or from a place that the notice tells, gets everything from there to
//! the topic's end, and nothing is left when it goes.
//!
//! Threads: a publisher that creates the topic; one that deletes it; a subscriber and its writer.

use super::holds;
use super::peer::{Received, answered, check_events, reached};
use super::setup::{Client, TOPIC, append, ask, config, create, subscribe};
use super::socket::Takes;
use crate::broker::{Broker, ReadBatch, Topic};
use crate::config::Config;
use crate::protocol::TopicName;
use crate::sync::thread;
use crate::sync::{Arc, Time};

const PATTERN: &str = "t*";

/// A topic as the client saw it: where its subscription began, how far it came, and whether the client was told of its end.
#[derive(Debug, PartialEq, Eq)]
struct Life {
    last: u64,
    has_ended: bool,
}

/// The lives of the topic, as received. Every event has its place in one.
fn lives(received: &[Received]) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    for received in received {
        match received {
            Received::Notice { msg, seq } if msg == "subscribed" => {
                assert!(
                    lives.last().is_none_or(|life| life.has_ended),
                    "a topic begins before the other has ended"
                );
                lives.push(Life {
                    last: seq.expect("a seq"),
                    has_ended: false,
                });
            }
            Received::Notice { msg, .. } if msg == "topic_deleted" => {
                // One that was found and deleted before it joined ends without a life.
                if let Some(life) = lives.last_mut() {
                    life.has_ended = true;
                }
            }
            Received::Event { seq, .. } => {
                let life = lives.last_mut().expect("an event before its topic");
                assert!(!life.has_ended, "an event after the deletion");
                assert_eq!(*seq, life.last + 1, "a hole");
                life.last = *seq;
            }
            _ => {}
        }
    }
    lives
}

/// Publishes until an event was taken. Returns the topic.
fn publish(broker: &Broker) -> Arc<Topic> {
    loop {
        let topic = broker.topic_or_new(TOPIC).expect("it is created");
        if append(&topic).is_some() {
            topic.fan_out(&mut ReadBatch::default());
            return topic;
        }
    }
}

fn appearing() {
    let broker = Arc::new(Broker::new(&Config {
        auto_create_topics: true,
        ..config()
    }));
    let mut client = Client::connect(&broker, 1, Takes::Some);
    let publisher = thread::spawn({
        let broker = Arc::clone(&broker);
        move || [publish(&broker), publish(&broker)]
    });
    let deleter = thread::spawn({
        let broker = Arc::clone(&broker);
        move || broker.delete_topic(&TopicName::new(TOPIC).unwrap())
    });
    ask(&mut client.session, &subscribe(PATTERN, "p"));
    let mut topics = publisher.join().unwrap().to_vec();
    deleter.join().unwrap().unwrap();
    topics.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let socket = client.socket.clone();
    socket.wait_until(|received| answered(received, "p"));
    let newest = topics.last().expect("a topic");
    let stays = broker.topic(TOPIC).is_some();
    if stays {
        let head = newest.stats().seq;
        assert_eq!(newest.stats().subscribers, 1, "the topic has not joined");
        socket.wait_until(|received| {
            let lives = lives(received);
            lives
                .last()
                .is_some_and(|life| !life.has_ended && life.last == head)
        });
    }
    client.close();
    let seen = lives(&socket.received_whole());
    for (life, topic) in seen.iter().rev().zip(topics.iter().rev()) {
        let is_told_whole = life.last == topic.stats().seq;
        assert!(
            is_told_whole || !life.has_ended,
            "events are missing before the deletion"
        );
    }
    assert_eq!(
        (broker.subscription_count(), broker.patterns().count()),
        (0, 0)
    );
}

#[test]
fn every_topic_that_matches_joins_with_its_first_event() {
    holds(Time::Stands, appearing);
}

/// Whichever comes first, the topic or the pattern: it joins once.
fn meeting() {
    let broker = Arc::new(Broker::new(&config()));
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    let creator = thread::spawn({
        let broker = Arc::clone(&broker);
        move || create(&broker, TOPIC)
    });
    ask(&mut client.session, &subscribe(PATTERN, "p"));
    let topic = creator.join().unwrap();
    assert_eq!(topic.stats().subscribers, 1, "the topic has not joined");
    let socket = client.socket.clone();
    client.close();
    assert_eq!(lives(&socket.received_whole()).len(), 1);
}

#[test]
fn a_topic_and_a_pattern_that_appear_together_meet() {
    holds(Time::Stands, meeting);
}

/// Topics that exist, and one that appears: what is published after the ack is received, and everything comes behind the ack.
fn acknowledged() {
    const OTHER: &str = "t2";
    let broker = Arc::new(Broker::new(&config()));
    let topic = create(&broker, TOPIC);
    let mut client = Client::connect(&broker, 1, Takes::Some);
    let creator = thread::spawn({
        let broker = Arc::clone(&broker);
        move || create(&broker, OTHER)
    });
    let publisher = thread::spawn({
        let (socket, topic) = (client.socket.clone(), Arc::clone(&topic));
        move || {
            socket.wait_until(|received| answered(received, "p"));
            append(&topic);
            topic.fan_out(&mut ReadBatch::default());
        }
    });
    ask(&mut client.session, &subscribe(PATTERN, "p"));
    creator.join().unwrap();
    publisher.join().unwrap();
    let socket = client.socket.clone();
    let has_both = |received: &[Received]| {
        let is_begin = |received: &&Received| matches!(received, Received::Notice { msg, .. } if msg == "subscribed");
        received.iter().filter(is_begin).count() == 2
    };
    socket.wait_until(|received| has_both(received) && reached(received, TOPIC) == 1);
    client.close();
    let received = socket.received_whole();
    assert!(
        matches!(&received[0], Received::Reply { to, code: None } if to == "p"),
        "{:?} before the ack",
        received[0]
    );
    assert_eq!(check_events(&received, TOPIC, 0), 1);
    assert_eq!(
        (broker.subscription_count(), broker.patterns().count()),
        (0, 0)
    );
}

#[test]
fn what_is_published_after_the_ack_is_received() {
    holds(Time::Stands, acknowledged);
}

/// The same pattern of the same client id on two connections: one of them has the topic in the end, and both have all of it between them.
fn taken_over() {
    let broker = Arc::new(Broker::new(&Config {
        auto_create_topics: true,
        ..config()
    }));
    let mut first = Client::connect(&broker, 1, Takes::Some);
    let mut second = Client::connect(&broker, 2, Takes::Some);
    let publisher = thread::spawn({
        let broker = Arc::clone(&broker);
        move || publish(&broker)
    });
    let other = thread::spawn(move || {
        ask(&mut second.session, &subscribe(PATTERN, "p2"));
        second
    });
    ask(&mut first.session, &subscribe(PATTERN, "p1"));
    let (topic, second) = (publisher.join().unwrap(), other.join().unwrap());
    assert_eq!(topic.stats().subscribers, 1);
    assert_eq!(broker.patterns().count(), 1);
    assert_eq!(
        first.connection.subscription_count() + second.connection.subscription_count(),
        2,
        "the pattern and the topic, at one of the two"
    );
    let sockets = [first.socket.clone(), second.socket.clone()];
    for (socket, request) in sockets.iter().zip(["p1", "p2"]) {
        socket.wait_until(|received| answered(received, request));
    }
    first.close();
    second.close();
    for socket in sockets {
        // Panics if an event comes before its topic, or with a hole.
        let _ = lives(&socket.received_whole());
    }
    assert_eq!(
        (broker.subscription_count(), broker.patterns().count()),
        (0, 0)
    );
}

#[test]
fn a_pattern_is_taken_over_with_what_it_has() {
    holds(Time::Stands, taken_over);
}
