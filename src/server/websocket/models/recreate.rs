//! A topic is deleted and created again while it is in use: a subscriber of the first topic receives everything published to
//! it, then the notice of the deletion, then nothing; the second topic begins at seq 1.
//!
//! Threads: a publisher; one that deletes and creates; a subscriber that subscribes to whichever topic exists; its writer.

use super::holds;
use super::peer::{Received, ack, answered, check_events, notice, reached};
use super::setup::{Client, TOPIC, append, broker, config, create, publish_text, topic};
use super::socket::Takes;
use crate::broker::ReadBatch;
use crate::protocol::TopicName;
use crate::sync::thread;
use crate::sync::{Arc, Time};

const DELETED: &str = "topic_deleted";

fn recreate() {
    let broker = broker(&config());
    let first = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Some);
    client.subscribe("s1");
    let publisher = thread::spawn({
        let first = Arc::clone(&first);
        move || {
            let published = (0..2).filter_map(|_| append(&first)).count() as u64;
            first.fan_out(&mut ReadBatch::default());
            published
        }
    });
    let deleter = thread::spawn({
        let broker = Arc::clone(&broker);
        move || {
            assert_eq!(
                broker.delete_topic(&TopicName::new(TOPIC).unwrap()),
                Ok(true)
            );
            create(&broker, TOPIC)
        }
    });
    // Subscribes to the first topic, to none, or to the second.
    client.subscribe("s2");
    client.ask(&publish_text("p"));
    let (published, second) = (publisher.join().unwrap(), deleter.join().unwrap());
    let head = first.stats().seq;
    assert!(
        (published..=published + 1).contains(&head),
        "an acknowledged event is missing"
    );
    let to_second = second.stats().subscribers > 0;
    let of_second = second.stats().seq;
    let socket = client.socket.clone();
    socket.wait_until(|received| answered(received, "s2"));
    socket.wait_until(|received| match ack(received, "s2") {
        Some((at, seq)) if to_second => seq.max(reached(&received[at..], TOPIC)) == of_second,
        Some((at, _)) => notice(&received[at..], DELETED).is_some(),
        None => notice(received, DELETED).is_some(),
    });
    client.close();
    let received = socket.received_whole();
    match ack(&received, "s2") {
        Some((at, seq)) if to_second => {
            assert_read_to_its_end(&received[..at], 0, head);
            assert_eq!(check_events(&received[at..], TOPIC, seq), of_second);
        }
        Some((at, seq)) => {
            assert_eq!(
                notice(&received[..at], DELETED),
                None,
                "the notice of the deletion comes too early"
            );
            assert!(
                check_events(&received[..at], TOPIC, 0) <= seq,
                "an event for both subscriptions"
            );
            assert_read_to_its_end(&received[at..], seq, head);
        }
        None => assert_read_to_its_end(&received, 0, head),
    }
    assert_eq!(broker.subscription_count(), 0);
}

/// Asserts that all published events were received, then the notice of the deletion, then nothing of the topic.
fn assert_read_to_its_end(received: &[Received], after: u64, head: u64) {
    let deleted = notice(received, DELETED).expect("no notice of the deletion");
    let before = check_events(&received[..deleted], TOPIC, after);
    assert_eq!(before, head, "events are missing before the deletion");
    let later = &received[deleted + 1..];
    assert_eq!(reached(later, TOPIC), 0, "an event after the deletion");
    assert_eq!(notice(later, DELETED), None, "two notices of the deletion");
}

#[test]
fn subscribers_read_a_deleted_topic_to_its_end() {
    holds(Time::Stands, recreate);
}
