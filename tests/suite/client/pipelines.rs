//! Pipelines: order, window, and reports of failed messages.

use std::sync::{Arc, Mutex};

use threadcast::client::{Error, FailedMessage, Reconnect, Start};

use super::proxy::Proxy;
use super::{builder, client_of};
use crate::harness::TestServer;

#[test]
fn pipeline_keeps_order_and_its_window() {
    let server = TestServer::with(|config| config.history_size = 1000);
    server.create_topic("orders");
    let client = client_of(&server);
    let receipts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&receipts);
    let mut pipeline = client
        .pipeline("orders", 7)
        .on_published(move |index, published| noted.lock().unwrap().push((index, published.seq)));
    for number in 0..500_u64 {
        assert_eq!(pipeline.send(&number).unwrap(), number);
        assert!(pipeline.in_flight() <= 7);
    }
    let summary = pipeline.finish().unwrap();
    assert_eq!((summary.published, summary.last.unwrap().seq), (500, 500));
    let expected: Vec<_> = (0..500).map(|index| (index, index + 1)).collect();
    assert_eq!(*receipts.lock().unwrap(), expected);
    for event in client.history("orders", &Start::Last(500)).unwrap().events {
        assert_eq!(event.payload::<u64>().unwrap() + 1, event.seq());
    }
}

#[test]
fn failed_messages_are_reported_by_index_and_the_pipeline_continues() {
    let server = TestServer::with(|config| config.max_publish_rate = 3);
    server.create_topic("orders");
    let client = client_of(&server);
    let mut pipeline = client.pipeline("orders", 64);
    let mut failed = Vec::new();
    let mut note = |result| match result {
        Ok(()) => true,
        Err(Error::Pipeline { failed: some }) => {
            failed.extend(some);
            false
        }
        Err(error) => panic!("{error:?}"),
    };
    for number in 0..20 {
        // The error is about earlier messages: this one must still be sent.
        while !note(pipeline.send(&number).map(drop)) {}
    }
    note(pipeline.flush());
    assert!(failed.len() >= 10, "{failed:?}");
    assert!(failed.is_sorted_by_key(|message| message.index));
    let limited = |message: &FailedMessage| message.error.code() == Some("RATE_LIMITED");
    assert!(failed.iter().all(limited), "{failed:?}");
    let published = 20 - u64::try_from(failed.len()).unwrap();
    assert_eq!(client.topic("orders").unwrap().seq, published);
    assert_eq!(pipeline.finish().unwrap().published, published);
}

#[test]
fn missing_topic_is_reported_by_the_next_call() {
    let server = TestServer::start();
    let client = client_of(&server);
    let mut pipeline = client.pipeline("nowhere", 1);
    pipeline.send(&1).unwrap();
    let error = pipeline.send(&2).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    assert!(matches!(&error, Error::Pipeline { failed } if failed[0].index == 0));
    assert_eq!(pipeline.finish().unwrap().published, 0);
}

#[test]
fn messages_in_flight_at_a_disconnect_are_sent_again_over_a_new_connection() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr()).connect().unwrap();
    let mut pipeline = client.pipeline("orders", 10);
    pipeline.send(&0).unwrap();
    pipeline.flush().unwrap();
    proxy.cut_all();
    for number in 1..=5 {
        pipeline.send(&number).unwrap();
    }
    assert_eq!(pipeline.finish().unwrap().published, 6);
    let history = client.history("orders", &Start::Last(10)).unwrap();
    let numbers = history
        .events
        .iter()
        .map(|event| event.payload::<u64>().unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn without_reconnect_an_unsent_message_fails_with_lost() {
    let server = TestServer::with_topic("orders");
    let client = builder(server.addr())
        .reconnect(Reconnect::Never)
        .connect()
        .unwrap();
    client.publish("orders", &1).unwrap();
    server.shutdown();
    let error = client.publish("orders", &2).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Connect { .. } | Error::Lost { .. } | Error::Unconfirmed { .. }
        ),
        "{error:?}"
    );
}
