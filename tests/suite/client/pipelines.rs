//! Many messages in flight: the order, the window, and who is told what failed.

use std::sync::{Arc, Mutex};

use threadcast::client::{Error, Failure, Reconnect, Start};

use super::proxy::Proxy;
use super::{builder, client_of};
use crate::harness::TestServer;

#[test]
fn a_pipeline_keeps_the_order_and_never_more_than_its_window_in_flight() {
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
fn what_failed_is_told_with_its_index_and_the_pipeline_goes_on() {
    let server = TestServer::with(|config| config.max_publish_rate = 3);
    server.create_topic("orders");
    let client = client_of(&server);
    let mut pipeline = client.pipeline("orders", 64);
    let mut failures = Vec::new();
    let mut note = |result| match result {
        Ok(()) => true,
        Err(Error::Pipeline { failures: some }) => {
            failures.extend(some);
            false
        }
        Err(error) => panic!("{error:?}"),
    };
    for number in 0..20 {
        // What is told here is about messages before: this one is still to be sent.
        while !note(pipeline.send(&number).map(drop)) {}
    }
    note(pipeline.flush());
    assert!(failures.len() >= 10, "{failures:?}");
    assert!(failures.is_sorted_by_key(|failure| failure.index));
    let limited = |failure: &Failure| failure.error.code() == Some("RATE_LIMITED");
    assert!(failures.iter().all(limited), "{failures:?}");
    let published = 20 - u64::try_from(failures.len()).unwrap();
    assert_eq!(client.topic("orders").unwrap().seq, published);
    assert_eq!(pipeline.finish().unwrap().published, published);
}

#[test]
fn a_topic_that_is_missing_is_told_by_the_next_call() {
    let server = TestServer::start();
    let client = client_of(&server);
    let mut pipeline = client.pipeline("nowhere", 1);
    pipeline.send(&1).unwrap();
    let error = pipeline.send(&2).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    assert!(matches!(&error, Error::Pipeline { failures } if failures[0].index == 0));
    assert_eq!(pipeline.finish().unwrap().published, 0);
}

#[test]
fn a_cut_is_told_for_what_was_in_flight_and_the_rest_goes_over_a_new_connection() {
    let server = TestServer::with_topic("orders");
    let proxy = Proxy::to(server.addr());
    let client = builder(proxy.addr()).connect().unwrap();
    let mut pipeline = client.pipeline("orders", 10);
    pipeline.send(&0).unwrap();
    pipeline.flush().unwrap();
    proxy.cut_all();
    let mut told = 0;
    for number in 1..=5 {
        while let Err(error) = pipeline.send(&number) {
            told += unconfirmed(error);
        }
    }
    if let Err(error) = pipeline.flush() {
        told += unconfirmed(error);
    }
    let summary = pipeline.finish().unwrap();
    assert_eq!(summary.published + told, 6);
    assert_eq!(client.topic("orders").unwrap().seq, summary.published);
}

fn unconfirmed(error: Error) -> u64 {
    let Error::Pipeline { failures } = error else {
        panic!("{error}")
    };
    for failure in &failures {
        assert!(
            matches!(failure.error, Error::Unconfirmed { .. }),
            "{failure:?}"
        );
    }
    u64::try_from(failures.len()).unwrap()
}

#[test]
fn without_reconnecting_a_message_that_was_not_sent_is_told_as_lost() {
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
