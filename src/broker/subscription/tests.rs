//! Subscriptions at their ends.

use super::*;
use crate::broker::{Broker, SubscribeError, TopicOptions};
use crate::config::Config;
use crate::protocol::{Message, StartAt, Timestamp, TopicName};
use serde_json::value::RawValue;
use std::thread;

#[test]
fn a_connection_that_is_over_takes_nothing_over() {
    let broker = Broker::new(&Config::default());
    let name = TopicName::new("t").unwrap();
    let topic = broker.create_topic(name, &TopicOptions::default()).unwrap();
    let subscribe = |outlet: Weak<Nobody>| {
        topic.subscribe(ClientId::new("c").unwrap(), &StartAt::Last(0), outlet)
    };
    assert!(subscribe(Weak::new()).is_ok());
    let over = Arc::new(Nobody);
    let refused = subscribe(Arc::downgrade(&over)).err();
    assert_eq!(refused, Some(SubscribeError::ConnectionOver));
    assert_eq!(topic.subscriber_count(), 1);
}

#[test]
fn what_was_taken_over_is_not_told_of_a_later_deletion() {
    let broker = Broker::new(&Config::default());
    let name = TopicName::new("t").unwrap();
    let options = TopicOptions::default();
    let topic = broker.create_topic(name.clone(), &options).unwrap();
    let [older, newer] = [(); 2].map(|()| {
        let client_id = ClientId::new("c").unwrap();
        let opened = topic.subscribe(client_id, &StartAt::Last(0), Weak::<Nobody>::new());
        opened.unwrap().subscription
    });
    assert!(broker.delete_topic(&name));
    assert!(!older.gather(1).1.ended);
    assert!(newer.gather(1).1.ended);
}

#[test]
fn an_event_is_either_gathered_or_pending_at_the_end() {
    let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
    let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
    let broker = Broker::new(&Config::default());
    let name = TopicName::new("t").unwrap();
    let topic = broker.create_topic(name, &TopicOptions::default()).unwrap();
    for _ in 0..300 {
        let client_id = ClientId::new("c").unwrap();
        let opened = topic
            .subscribe(client_id, &StartAt::Last(0), Weak::<Nobody>::new())
            .unwrap();
        let subscription = opened.subscription;
        topic.fan_out(&mut Batch::default());
        for _ in 0..50 {
            topic.try_publish(&message, Timestamp::now(), None).unwrap();
        }
        let (gathered, pending) = thread::scope(|scope| {
            let gathering = scope.spawn(|| {
                let one_event = || subscription.gather(1).1.events;
                std::iter::repeat_with(one_event)
                    .take_while(|n| *n > 0)
                    .count() as u64
            });
            while subscription.pending() > 40 {
                thread::yield_now();
            }
            let pending = subscription.end().unwrap().pending;
            (gathering.join().unwrap(), pending)
        });
        assert_eq!(gathered + pending, 50);
    }
}
