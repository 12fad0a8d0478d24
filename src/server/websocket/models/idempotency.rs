//! Several publishers publish the same idempotent message at the same time: one event, whose seq all of them get, and one of
//! them is told that it was the first.
//!
//! Threads: two publishers; a subscriber that publishes the message, too; its writer.

use serde_json::value::RawValue;

use super::holds;
use super::peer::{ack, check_events, reached};
use super::setup::{Client, TOPIC, broker, config, topic};
use super::socket::Takes;
use crate::broker::{Broker, Published, ReadBatch};
use crate::protocol::{Message, Timestamp};
use crate::sync::thread;
use crate::sync::{Arc, Time};

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Publishes as over REST.
fn publish(broker: &Broker) -> Published {
    let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
    let message = Message::new(ID, &payload).unwrap().idempotent();
    let mut batch = ReadBatch::default();
    let published = broker.publish(TOPIC, &message, Timestamp::EARLIEST, None, &mut batch);
    published.expect("a topic with room")
}

fn one_message_from_all() {
    let broker = broker(&config());
    let mut client = Client::connect(&broker, 1, Takes::Some);
    client.subscribe("s");
    let publishers = [(); 2].map(|()| {
        let broker = Arc::clone(&broker);
        thread::spawn(move || publish(&broker))
    });
    client.ask(&format!(
        r#"{{"type":"publish","topic":"{TOPIC}","message":{{"id":"{ID}","payload":1}},"idempotent":true,"request_id":"p"}}"#
    ));
    let published = publishers.map(|publisher| publisher.join().unwrap());
    assert_eq!(topic(&broker).stats().seq, 1, "published twice");
    assert!(published.iter().all(|one| one.seq == 1));
    let firsts = published.iter().filter(|one| !one.is_duplicate);
    assert!(firsts.count() <= 1, "two of them were the first");
    let socket = client.socket.clone();
    socket.wait_until(|received| reached(received, TOPIC) == 1);
    client.close();
    let received = socket.received_whole();
    assert_eq!(ack(&received, "p").map(|(_, seq)| seq), Some(1));
    assert_eq!(check_events(&received, TOPIC, 0), 1);
}

#[test]
fn equal_messages_become_one_event() {
    holds(Time::Stands, one_message_from_all);
}
