//! How subscriptions end.

use super::*;
use crate::broker::{Broker, Cursors, TopicOptions};
use crate::config::Config;
use crate::protocol::{Message, StartAt, Timestamp, TopicName};
use serde_json::value::RawValue;
use std::sync::Mutex;
use std::thread;

fn broker_with_a_topic() -> (Broker, Arc<Topic>) {
    let broker = Broker::new(&Config::default());
    let name = TopicName::new("t").unwrap();
    let topic = broker.create_here(name, &TopicOptions::default()).unwrap();
    (broker, topic)
}

fn open(
    cursors: &mut Cursors,
    topic: &Arc<Topic>,
    sink: &Weak<Elsewhere>,
) -> Result<Opened, SubscribeError> {
    let sink: Weak<dyn SubscriberSink> = Weak::<Elsewhere>::clone(sink);
    let client_id = ClientId::new("c").unwrap();
    cursors.open(topic, client_id, &StartAt::Last(0), &sink)
}

#[test]
fn an_ended_connection_takes_over_no_subscription() {
    let (_broker, topic) = broker_with_a_topic();
    let mut cursors = Cursors::default();
    assert!(open(&mut cursors, &topic, &Weak::new()).is_ok());
    let ended = Arc::new(Elsewhere);
    let refused = open(&mut cursors, &topic, &Arc::downgrade(&ended)).err();
    assert_eq!(refused, Some(SubscribeError::ConnectionEnding));
    assert_eq!(topic.subscriber_count(), 1);
}

#[test]
fn a_superseded_subscription_gets_no_notice_of_a_later_deletion() {
    let (broker, topic) = broker_with_a_topic();
    let mut cursors = Cursors::default();
    let [older, newer] = [(); 2].map(|()| {
        let opened = open(&mut cursors, &topic, &Weak::new());
        opened.ok().unwrap().subscription
    });
    assert_eq!(broker.delete_topic(topic.name()), Ok(true));
    assert!(!cursors.read_chunk(&older, 1).1.ended);
    assert!(cursors.read_chunk(&newer, 1).1.ended);
    assert_eq!(cursors.end(&newer), None, "it ended with the deletion");
    assert!(cursors.end(&older).is_some());
}

#[test]
fn each_event_is_either_read_or_pending_when_a_subscription_ends() {
    let payload: Box<RawValue> = serde_json::from_str("1").unwrap();
    let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
    let (_broker, topic) = broker_with_a_topic();
    for _ in 0..300 {
        let mut cursors = Cursors::default();
        let opened = open(&mut cursors, &topic, &Weak::new()).ok().unwrap();
        let subscription = opened.subscription;
        topic.fan_out(&mut ReadBatch::default());
        for _ in 0..50 {
            topic.try_publish(&message, Timestamp::now(), None).unwrap();
        }
        let cursors = Mutex::new(cursors);
        let (read, pending) = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let one_event = || {
                    cursors
                        .lock()
                        .unwrap()
                        .read_chunk(&subscription, 1)
                        .1
                        .events
                };
                std::iter::repeat_with(one_event)
                    .take_while(|n| *n > 0)
                    .count() as u64
            });
            while cursors.lock().unwrap().pending(&subscription) > 40 {
                thread::yield_now();
            }
            let pending = cursors.lock().unwrap().end(&subscription).unwrap().pending;
            (reader.join().unwrap(), pending)
        });
        assert_eq!(read + pending, 50);
    }
}
