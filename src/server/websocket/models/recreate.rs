//! A topic deleted and created anew under its publishers and subscribers: whoever subscribed to the first hears all that was published
//! to it, then that it was deleted, then nothing; the second begins at 1.
//!
//! Threads: a publisher, one that deletes and creates, a subscriber that subscribes to whichever there is, its writer.

use super::holds;
use super::peer::{Heard, account, ack, answered, notice, reached};
use super::site::{Client, TOPIC, append, broker, config, create, publish_text, topic};
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
            assert!(broker.delete_topic(&TopicName::new(TOPIC).unwrap()));
            create(&broker, TOPIC)
        }
    });
    // To the first, to none, or to the second.
    client.subscribe("s2");
    client.ask(&publish_text("p"));
    let (published, second) = (publisher.join().unwrap(), deleter.join().unwrap());
    let head = first.stats().seq;
    assert!(
        (published..=published + 1).contains(&head),
        "published to nowhere"
    );
    let to_second = second.stats().subscribers > 0;
    let of_second = second.stats().seq;
    let socket = client.socket.clone();
    socket.wait_until(|heard| answered(heard, "s2"));
    socket.wait_until(|heard| match ack(heard, "s2") {
        Some((at, seq)) if to_second => seq.max(reached(&heard[at..], TOPIC)) == of_second,
        Some((at, _)) => notice(&heard[at..], DELETED).is_some(),
        None => notice(heard, DELETED).is_some(),
    });
    client.close();
    let heard = socket.heard_whole();
    match ack(&heard, "s2") {
        Some((at, seq)) if to_second => {
            is_read_to_its_end(&heard[..at], 0, head);
            assert_eq!(account(&heard[at..], TOPIC, seq), of_second);
        }
        Some((at, seq)) => {
            assert_eq!(notice(&heard[..at], DELETED), None, "deleted before it was");
            assert!(account(&heard[..at], TOPIC, 0) <= seq, "an event for both");
            is_read_to_its_end(&heard[at..], seq, head);
        }
        None => is_read_to_its_end(&heard, 0, head),
    }
    assert_eq!(broker.subscription_count(), 0);
}

/// Everything that was published, then that the topic was deleted, then nothing of it.
fn is_read_to_its_end(heard: &[Heard], after: u64, head: u64) {
    let deleted = notice(heard, DELETED).expect("deleted and not told");
    let before = account(&heard[..deleted], TOPIC, after);
    assert_eq!(before, head, "not all before the deletion");
    let behind = &heard[deleted + 1..];
    assert_eq!(reached(behind, TOPIC), 0, "an event after the deletion");
    assert_eq!(notice(behind, DELETED), None, "deleted twice");
}

#[test]
fn a_deleted_topic_is_read_to_its_end() {
    holds(Time::Stands, recreate);
}
