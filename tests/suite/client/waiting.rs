//! Waiting for a topic that does not exist yet.

use std::thread;
use std::time::Duration;

use serde_json::json;
use threadcast::client::{Client, Error, Start};

use super::{builder, client_of, next_event};
use crate::harness::{TestServer, eventually};

/// Long enough for several attempts, since the pauses are at most 20 milliseconds.
const ATTEMPTS: Duration = Duration::from_millis(200);
/// A tenth of it is left for the last answer.
const HASTE: Duration = Duration::from_secs(3);

fn waiting(server: &TestServer) -> Client {
    let builder = builder(server.addr()).wait_for_topics(true);
    builder.connect().expect("a server")
}

#[test]
fn a_subscription_waits_for_its_topic_and_begins_with_its_first_event() {
    let server = TestServer::start();
    let client = waiting(&server);
    for start in [Start::Now, Start::Last(2)] {
        let mut subscription = client.subscribe("orders", start).unwrap();
        let nothing = subscription.recv_timeout(ATTEMPTS).unwrap();
        assert!(nothing.is_none() && !subscription.is_over());
        assert_eq!(subscription.position("orders"), None);
        client.create_topic("orders").unwrap();
        // Published before the subscription has noticed the topic, perhaps.
        for number in 1..=5 {
            client.publish("orders", &number).unwrap();
        }
        for seq in 1..=5 {
            assert_eq!(next_event(&mut subscription), (seq, seq.to_string()));
        }
        client.delete_topic("orders").unwrap();
        let ended = subscription.recv().unwrap_err();
        assert!(matches!(ended, Error::Ended { .. }), "{ended}");
    }
}

#[test]
fn topics_that_exist_do_not_wait_for_those_that_do_not() {
    let server = TestServer::with_topic("orders");
    let client = waiting(&server);
    let topics = client.subscriber();
    let topics = topics.topic("orders", Start::Now);
    let mut subscription = topics.topic("payments", Start::Now).open().unwrap();
    client.publish("orders", &1).unwrap();
    assert_eq!(next_event(&mut subscription), (1, "1".to_owned()));
    client.create_topic("payments").unwrap();
    client.publish("payments", &2).unwrap();
    assert_eq!(next_event(&mut subscription), (1, "2".to_owned()));
}

#[test]
fn a_publish_waits_for_its_topic_up_to_its_timeout() {
    let server = TestServer::start();
    let client = waiting(&server);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| client.publish("orders", &1).unwrap().seq);
        eventually("the publisher is connected", || {
            server.health()["connections"].as_u64() > Some(1)
        });
        server.create_topic("orders");
        assert_eq!(publisher.join().unwrap(), 1);
    });
    let hasty = builder(server.addr())
        .wait_for_topics(true)
        .request_timeout(HASTE)
        .connect()
        .expect("a server");
    let error = hasty.publish("payments", &1).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"), "{error}");
}

#[test]
fn a_pipeline_waits_for_its_topic_and_keeps_the_order() {
    const MESSAGES: u64 = 50;
    let server = TestServer::start();
    let client = waiting(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut pipeline = client.pipeline("orders", 16);
            for number in 1..=MESSAGES {
                pipeline.send(&number).unwrap();
            }
            pipeline.finish().unwrap().published
        });
        eventually("both are connected", || {
            server.health()["connections"].as_u64() > Some(2)
        });
        server.create_topic("orders");
        assert_eq!(sender.join().unwrap(), MESSAGES);
    });
    for seq in 1..=MESSAGES {
        assert_eq!(next_event(&mut subscription), (seq, seq.to_string()));
    }
    let hasty = builder(server.addr())
        .wait_for_topics(true)
        .request_timeout(HASTE)
        .connect()
        .expect("a server");
    let mut pipeline = hasty.pipeline("payments", 16);
    pipeline.send(&1).unwrap();
    let error = pipeline.finish().unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"), "{error}");
}

#[test]
fn without_the_setting_a_missing_topic_is_an_error_at_once() {
    let server = TestServer::start();
    let client = client_of(&server);
    let error = client.subscribe("orders", Start::Now).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    let error = client.publish("orders", &1).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
}

#[test]
fn a_topic_that_comes_and_goes_while_it_is_waited_for_is_found_in_the_end() {
    let server = TestServer::start();
    let client = waiting(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    for _ in 0..20 {
        server.create_topic("orders");
        server.delete_topic("orders");
    }
    // It may have been noticed, and then has ended.
    match subscription.recv_timeout(ATTEMPTS) {
        Ok(None) => {
            server.create_topic("orders");
            server.ws().publish("orders", &json!(1));
            assert_eq!(next_event(&mut subscription).0, 1);
        }
        Ok(Some(other)) => panic!("{other:?}"),
        Err(error) => assert!(matches!(error, Error::Ended { .. }), "{error}"),
    }
}
