//! Fake servers whose frames of a pattern are out of order: doubles and holes of each topic are recognised.

use std::io::{Read, Write};
use std::sync::Mutex;

use serde_json::{Value, json};
use threadcast::client::{Delivery, Error, GapReason, PatternStart, Reconnect, Subscription};

use super::{expect_deleted, expect_event, expect_joined};
use crate::client::hostile::{FakeServer, frame};
use crate::client::{builder, next};
use crate::harness::{DEADLINE, in_time};

fn ack(subscribe: u64) -> Value {
    json!({"type": "ack", "request_id": format!("0.{subscribe}"), "topic": "t*", "status": "ok", "matched": 1, "ts": "z"})
}

fn subscribed(topic: &str, seq: u64, epoch: &str, recovered: Option<bool>) -> Value {
    let mut notice = json!({"type": "info", "msg": "subscribed", "topic": topic, "pattern": "t*", "seq": seq, "epoch": epoch, "ts": "z"});
    if let Some(recovered) = recovered {
        notice["recovered"] = json!(recovered);
    }
    notice
}

fn event(topic: &str, seq: u64) -> Value {
    json!({"type": "event", "topic": topic, "message": {"id": "i", "payload": 1}, "seq": seq, "ts": "z"})
}

fn info(msg: &str, topic: &str) -> Value {
    json!({"type": "info", "msg": msg, "topic": topic, "pattern": "t*", "ts": "z"})
}

/// A subscription to a server that sends the frames of one script for each connection, after its first request. It closes all
/// connections but the last.
fn subscription(scripts: Vec<Vec<Value>>) -> (FakeServer, Subscription) {
    let scripts = Mutex::new(scripts.into_iter());
    let fake = FakeServer::new(move |mut stream| {
        let (script, is_last) = {
            let mut scripts = scripts.lock().unwrap();
            (scripts.next(), scripts.len() == 0)
        };
        let _request = stream.read(&mut [0; 4096]);
        for value in script.into_iter().flatten() {
            let _gone = stream.write_all(&frame(&value.to_string()));
        }
        while is_last && matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
    });
    let client = builder(fake.addr())
        .reconnect(Reconnect::For(DEADLINE))
        .connect()
        .unwrap();
    let subscription = client.subscribe_pattern("t*", PatternStart::Now).unwrap();
    (fake, subscription)
}

#[test]
fn frames_that_break_the_order_of_their_topic_are_an_error() {
    let joined = || vec![ack(0), subscribed("t1", 5, "e", None)];
    for (wrong, text) in [
        (event("t1", 5), "event 5 arrived, expected 6"),
        (event("t1", 7), "event 7 arrived, expected 6"),
        (event("t2", 1), "has not joined"),
        (subscribed("t1", 5, "e", None), "has joined already"),
        (subscribed("u", 0, "e", None), "does not match"),
    ] {
        let mut script = joined();
        script.push(wrong);
        let (_fake, mut subscription) = subscription(vec![script]);
        expect_joined(&mut subscription, "t1");
        let error = in_time("the error", || subscription.recv()).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(subscription.is_over());
    }
}

#[test]
fn topic_that_began_again_before_its_resume_is_deleted_and_joins() {
    let first = vec![ack(0), subscribed("t1", 5, "old", None), event("t1", 6)];
    // It was found, deleted and created again before it was subscribed to.
    let second = vec![ack(1), subscribed("t1", 0, "new", None), event("t1", 1)];
    let (_fake, mut subscription) = subscription(vec![first, second]);
    expect_joined(&mut subscription, "t1");
    expect_event(&mut subscription, "t1", 6);
    expect_deleted(&mut subscription, "t1");
    expect_joined(&mut subscription, "t1");
    expect_event(&mut subscription, "t1", 1);
    assert_eq!(&*subscription.position("t1").unwrap().epoch, "new");
}

#[test]
fn topic_that_was_deleted_before_it_joined_is_not_reported() {
    let script = vec![
        ack(0),
        info("topic_deleted", "t1"),
        subscribed("t2", 0, "e", None),
    ];
    let (_fake, mut subscription) = subscription(vec![script]);
    expect_joined(&mut subscription, "t2");
}

#[test]
fn epoch_that_changes_on_an_open_subscription_moves_its_topic_alone() {
    let changed = json!({"type": "info", "msg": "gap", "topic": "t1", "gap": {"reason": "epoch_changed"}, "seq": 3, "epoch": "new", "ts": "z"});
    let script = vec![
        ack(0),
        subscribed("t1", 5, "old", None),
        subscribed("t2", 5, "old", None),
        changed,
        event("t1", 4),
        event("t2", 6),
    ];
    let (_fake, mut subscription) = subscription(vec![script]);
    expect_joined(&mut subscription, "t1");
    expect_joined(&mut subscription, "t2");
    assert!(matches!(
        next(&mut subscription),
        Delivery::Gap(gap) if gap.reason() == GapReason::EpochChanged && gap.topic() == "t1"
    ));
    let position = |subscription: &Subscription, topic| {
        let position = subscription.position(topic).unwrap();
        (position.seq, position.epoch.to_string())
    };
    assert_eq!(position(&subscription, "t1"), (3, "new".to_owned()));
    expect_event(&mut subscription, "t1", 4);
    expect_event(&mut subscription, "t2", 6);
    assert_eq!(position(&subscription, "t2"), (6, "old".to_owned()));
}

#[test]
fn request_of_its_own_that_arrived_late_does_not_end_a_random_client() {
    // What comes before the answer to the repeated subscribe is of the one that was replaced.
    let script = vec![
        ack(0),
        subscribed("t1", 5, "e", None),
        event("t1", 6),
        info("subscription_replaced", "t1"),
        event("t2", 1),
        ack(1),
        subscribed("t1", 7, "e", Some(true)),
        event("t1", 7),
    ];
    let (_fake, mut subscription) = subscription(vec![script]);
    expect_joined(&mut subscription, "t1");
    expect_event(&mut subscription, "t1", 6);
    expect_event(&mut subscription, "t1", 7);
}
