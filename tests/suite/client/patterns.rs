//! Subscriptions to all topics that match a pattern.

mod cuts;
mod faults;
mod reconnecting;

use serde_json::json;
use threadcast::client::{
    Delivery, EndReason, Error, PatternStart, Positions, Start, Subscription, TopicChange,
};

use super::{client_of, next};
use crate::harness::{DEADLINE, TestServer, epoch_of};

fn server_with(topics: &[&str]) -> TestServer {
    let server = TestServer::start();
    topics.iter().for_each(|topic| server.create_topic(topic));
    server
}

fn expect_joined(subscription: &mut Subscription, name: &str) {
    match next(subscription) {
        Delivery::Topic(TopicChange::Joined { topic, .. }) => assert_eq!(topic, name),
        other => panic!("'{name}' must join, got {other:?}"),
    }
}

fn expect_deleted(subscription: &mut Subscription, name: &str) {
    match next(subscription) {
        Delivery::Topic(TopicChange::Deleted { topic }) => assert_eq!(topic, name),
        other => panic!("'{name}' must be deleted, got {other:?}"),
    }
}

fn expect_event(subscription: &mut Subscription, topic: &str, seq: u64) {
    match next(subscription) {
        Delivery::Event(event) => assert_eq!((event.topic(), event.seq()), (topic, seq)),
        other => panic!("event {seq} of '{topic}' must be next, got {other:?}"),
    }
}

/// Expects the end of a topic that was taken over.
fn expect_superseded(subscription: &mut Subscription, name: &str) {
    match subscription.recv_timeout(DEADLINE) {
        Err(Error::Ended { topic, reason }) => {
            assert_eq!((&*topic, reason), (name, EndReason::Superseded));
        }
        other => panic!("'{name}' must be taken over, got {other:?}"),
    }
}

/// The position of the newest event of each topic that exists.
fn newest(server: &TestServer) -> Positions {
    let topics = client_of(server).topics().unwrap().into_iter();
    let position = |topic: threadcast::client::TopicSummary| {
        let state = server.topic(&topic.name);
        let position = json!({"seq": state["seq"], "epoch": epoch_of(&state)});
        (topic.name, serde_json::from_value(position).unwrap())
    };
    topics.map(position).collect()
}

#[test]
fn topics_come_and_go_while_the_pattern_stays() {
    let server = TestServer::start();
    let client = client_of(&server);
    let mut shop = client
        .subscribe_pattern("shop.*", PatternStart::Now)
        .unwrap();
    assert_eq!(shop.positions(), Positions::new());
    for life in 1..=2 {
        server.create_topic("shop.eu");
        server.create_topic("other");
        for number in 1..=3 {
            client.publish("shop.eu", &number).unwrap();
            client.publish("other", &number).unwrap();
        }
        expect_joined(&mut shop, "shop.eu");
        assert_eq!(shop.topics().collect::<Vec<_>>(), ["shop.eu"]);
        assert_eq!(shop.position("shop.eu").unwrap().seq, 0);
        for seq in 1..=3 {
            expect_event(&mut shop, "shop.eu", seq);
            assert_eq!(shop.position("shop.eu").unwrap().seq, seq, "life {life}");
        }
        server.delete_topic("shop.eu");
        server.delete_topic("other");
        expect_deleted(&mut shop, "shop.eu");
        assert_eq!(shop.positions(), Positions::new());
    }
    assert!(!shop.is_over());
}

#[test]
fn last_replays_events_of_each_topic() {
    let server = TestServer::start();
    let client = client_of(&server);
    for topic in ["a1", "a2"] {
        server.create_topic(topic);
        for number in 1..=5 {
            client.publish(topic, &number).unwrap();
        }
    }
    let mut both = client
        .subscribe_pattern("a*", PatternStart::Last(2))
        .unwrap();
    for topic in ["a1", "a2"] {
        expect_joined(&mut both, topic);
        assert_eq!(both.position(topic).unwrap().seq, 3);
        expect_event(&mut both, topic, 4);
        expect_event(&mut both, topic, 5);
    }
    assert_eq!(both.positions(), newest(&server));
}

#[test]
fn stored_positions_start_a_later_subscription() {
    let server = TestServer::with_topic("a1");
    let client = client_of(&server);
    let mut first = client.subscribe_pattern("a*", PatternStart::Now).unwrap();
    expect_joined(&mut first, "a1");
    client.publish("a1", &1).unwrap();
    expect_event(&mut first, "a1", 1);
    let stored = serde_json::to_string(&first.positions()).unwrap();
    drop(first);
    client.publish("a1", &2).unwrap();
    server.create_topic("a2");
    client.publish("a2", &1).unwrap();
    let stored: Positions = serde_json::from_str(&stored).unwrap();
    let mut second = client.subscribe_pattern("a*", stored).unwrap();
    expect_event(&mut second, "a1", 2);
    expect_joined(&mut second, "a2");
    expect_event(&mut second, "a2", 1);
    assert_eq!(second.positions(), newest(&server));
}

#[test]
fn what_cannot_be_subscribed_to_is_invalid_before_anything_is_sent() {
    let server = TestServer::with_topic("a1");
    let client = client_of(&server);
    let invalid = |error: Error, text: &str| match error {
        Error::Invalid { reason } => assert!(reason.contains(text), "{reason}"),
        other => panic!("{other:?}"),
    };
    for pattern in ["", "a1", "a/*", "*****"] {
        let error = client.subscribe_pattern(pattern, PatternStart::Now);
        invalid(error.unwrap_err(), "a pattern must be 1 to 128");
    }
    for pattern in ["", "a/b", "a/*", "*****"] {
        let error = client.topics_matching(pattern);
        invalid(error.unwrap_err(), "must be 1 to 128 characters");
    }
    let position = newest(&server).remove("a1").unwrap();
    for (name, text) in [("b", "'b' does not match 'a*'"), ("a*", "topic must be")] {
        let positions = Positions::from([(name.to_owned(), position.clone())]);
        let error = client.subscribe_pattern("a*", positions).unwrap_err();
        invalid(error, text);
    }
    let pattern = || client.subscriber().pattern("a*", PatternStart::Now);
    for subscriber in [
        pattern().topic("a1", Start::Now),
        pattern().pattern("b*", PatternStart::Now),
    ] {
        invalid(subscriber.open().unwrap_err(), "no other topic or pattern");
    }
    let mut open = pattern().open().unwrap();
    invalid(
        open.unsubscribe("a1").unwrap_err(),
        "'a1' is not subscribed",
    );
    open.unsubscribe("a*").unwrap();
    assert!(open.is_over());
    server.await_subscribers("a1", 0);
}

#[test]
fn list_of_matching_topics_has_no_others() {
    let server = server_with(&["b", "a.2", "a.1:x_y-z"]);
    let names = |pattern| {
        let topics = client_of(&server).topics_matching(pattern).unwrap();
        let names = topics.into_iter().map(|topic| topic.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("a.*"), ["a.1:x_y-z", "a.2"]);
    assert_eq!(names("b"), ["b"]);
    assert_eq!(names("*c*"), [""; 0]);
}

#[test]
fn topics_beyond_the_limit_are_reported() {
    let server = TestServer::with(|config| config.max_subscriptions = 2);
    ["a1", "a2", "a3"]
        .iter()
        .for_each(|topic| server.create_topic(topic));
    let mut all = client_of(&server)
        .subscribe_pattern("a*", PatternStart::Now)
        .unwrap();
    expect_joined(&mut all, "a1");
    let mut not_joined = || match next(&mut all) {
        Delivery::Topic(change @ TopicChange::NotJoined { .. }) => change.to_string(),
        other => panic!("{other:?}"),
    };
    let reason = "LIMIT_REACHED: no more than 2 subscriptions per connection";
    assert_eq!(not_joined(), format!("2 topics have not joined: {reason}"));
    server.create_topic("a4");
    assert_eq!(not_joined(), format!("'a4' has not joined: {reason}"));
}

#[test]
fn pattern_that_is_taken_over_ends_topic_by_topic() {
    let server = server_with(&["a1", "a2"]);
    let client = client_of(&server);
    let open = || {
        let subscriber = client.subscriber().client_id("same");
        subscriber.pattern("a*", PatternStart::Now).open().unwrap()
    };
    let mut older = open();
    expect_joined(&mut older, "a1");
    expect_joined(&mut older, "a2");
    let mut newer = open();
    expect_superseded(&mut older, "a1");
    assert!(!older.is_over());
    expect_superseded(&mut older, "a2");
    assert!(older.is_over());
    assert!(matches!(older.recv(), Err(Error::Closed)));
    client.publish("a2", &1).unwrap();
    expect_joined(&mut newer, "a1");
    expect_joined(&mut newer, "a2");
    expect_event(&mut newer, "a2", 1);
}

#[test]
fn topic_that_is_taken_over_by_name_leaves_the_others() {
    let server = server_with(&["a1", "a2"]);
    let client = client_of(&server);
    let same = || client.subscriber().client_id("same");
    let mut pattern = same().pattern("a*", PatternStart::Now).open().unwrap();
    expect_joined(&mut pattern, "a1");
    expect_joined(&mut pattern, "a2");
    let _by_name = same().topic("a1", Start::Now).open().unwrap();
    expect_superseded(&mut pattern, "a1");
    client.publish("a1", &1).unwrap();
    client.publish("a2", &1).unwrap();
    expect_event(&mut pattern, "a2", 1);
    // Until that topic is created again.
    server.delete_topic("a1");
    server.create_topic("a1");
    expect_deleted(&mut pattern, "a1");
    expect_joined(&mut pattern, "a1");
    client.publish("a1", &1).unwrap();
    expect_event(&mut pattern, "a1", 1);
}
