//! A topic is created by its first use and deleted because nobody uses it, at the same time: no publish and no subscribe is
//! refused, no acknowledged event is lost to a subscriber, and no topic is deleted under its subscription.
//!
//! Threads: a publisher; one that expires the topic, as if it had rested for long; a subscriber that publishes, too; its writer.

use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::holds;
use super::peer::{ack, check_events, notice, reached};
use super::setup::{Client, TOPIC, config, publish_text, resume};
use super::socket::Takes;
use crate::broker::{Broker, ReadBatch};
use crate::config::Config;
use crate::protocol::{EpochName, Message, Timestamp};
use crate::sync::thread;
use crate::sync::{Arc, Time};

const IDLE: Duration = Duration::from_secs(3_600);

fn expire_if_idle(broker: &Broker) {
    if let Some(topic) = broker.topic(TOPIC) {
        broker.expire(&topic, Instant::now() + 2 * IDLE);
    }
}

/// Publishes as over REST; returns the epoch of the topic.
fn publish(broker: &Broker) -> EpochName {
    let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
    let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
    let mut batch = ReadBatch::default();
    let published = broker.publish(TOPIC, &message, Timestamp::EARLIEST, None, &mut batch);
    published.expect("a topic for it").epoch
}

fn first_use_and_expiry() {
    let broker = Arc::new(Broker::new(&Config {
        auto_create_topics: true,
        topic_idle: IDLE,
        ..config()
    }));
    let mut client = Client::connect(&broker, 1, Takes::Some);
    let publisher = thread::spawn({
        let broker = Arc::clone(&broker);
        move || [publish(&broker), publish(&broker)]
    });
    let expirer = thread::spawn({
        let broker = Arc::clone(&broker);
        move || (0..2).for_each(|_| expire_if_idle(&broker))
    });
    client.ask(&resume(0, "s"));
    client.ask(&publish_text("p"));
    let epochs = publisher.join().unwrap();
    expirer.join().unwrap();
    expire_if_idle(&broker);
    let topic = broker.topic(TOPIC).expect("a topic with a subscription");
    assert_eq!(
        topic.stats().subscribers,
        1,
        "a topic was deleted under its subscription"
    );
    let head = topic.stats().seq;
    let others = epochs.iter().filter(|epoch| **epoch == topic.epoch());
    assert_eq!(
        head,
        1 + others.count() as u64,
        "an acknowledged event is missing"
    );
    let socket = client.socket.clone();
    socket.wait_until(|received| reached(received, TOPIC) == head);
    client.close();
    let received = socket.received_whole();
    assert_eq!(notice(&received, "topic_deleted"), None);
    assert!(ack(&received, "s").is_some() && ack(&received, "p").is_some());
    assert_eq!(check_events(&received, TOPIC, 0), head);
    expire_if_idle(&broker);
    assert!(broker.topic(TOPIC).is_none(), "an unused topic is left");
}

#[test]
fn a_topic_that_is_created_by_its_use_is_not_deleted_under_it() {
    holds(Time::Stands, first_use_and_expiry);
}
