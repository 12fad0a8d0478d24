//! The API for the program that embeds the server, and what its clients see of it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use threadcast::config::{Config, OverflowPolicy};
use threadcast::{
    CreateTopicError, DeleteTopicError, PublishError, Published, Server, ServerHandle, TopicOptions,
};

use crate::harness::{
    DEADLINE, SequenceChecker, TestServer, assert_timestamp, await_stable, eventually, seq_of,
};

const PAD_BYTES: usize = 4 << 10;
/// Longer than any wait may take, so that no wait ends by it.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(60);

fn create(server: &Server, topic: &str) {
    let created = server.create_topic(topic, &TopicOptions::default());
    created.expect("a new topic");
}

/// A server whose publishers wait for a subscriber that does not read.
fn blocking(block_timeout: Duration) -> TestServer {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::Block;
        config.max_queue_size = 1;
        config.block_timeout = block_timeout;
        config.send_buffer_bytes = 4 << 10;
        config.drain_timeout = Duration::from_millis(100);
    });
    create(server.embedded(), "orders");
    server
}

#[test]
fn subscriber_receives_exactly_what_the_program_publishes() {
    let server = TestServer::start();
    create(server.embedded(), "orders");
    let mut client = server.ws();
    client.subscribe("orders", "reader");
    let verbatim = r#"{ "a" : 1.10,"a":2, "é":"\u00e9" }"#;
    let raw: &RawValue = serde_json::from_str(verbatim).expect("JSON");
    let published = [
        server.embedded().publish("orders", raw),
        server.embedded().publish("orders", "a text"),
        server.embedded().publish("orders", &()),
        server
            .embedded()
            .publish("orders", &BTreeMap::from([("n", 1)])),
    ];
    let payloads = [verbatim, r#""a text""#, "null", r#"{"n":1}"#];
    for (at, (published, payload)) in published.into_iter().zip(payloads).enumerate() {
        let Published { seq, id, ts, .. } = published.expect("room");
        assert_timestamp(&json!(ts));
        let event = format!(
            r#"{{"type":"event","topic":"orders","message":{{"id":"{id}","payload":{payload}}},"seq":{seq},"ts":"{ts}"}}"#
        );
        assert_eq!(client.next_text(), event);
        assert_eq!(seq, at as u64 + 1);
    }
}

#[test]
fn the_program_sees_who_is_subscribed() {
    let server = TestServer::start();
    create(server.embedded(), "orders");
    let mut client = server.ws();
    for client_id in ["s2", "s1", "s3"] {
        client.subscribe("orders", client_id);
    }
    let list = server.embedded().subscribers("orders", 2).expect("a topic");
    assert_eq!(list.total, 3);
    let reply = server.http().get("/topics/orders/subscribers?limit=2");
    let over_rest = reply.expect(200)["subscribers"].clone();
    let of_program = list.subscribers.iter().map(|one| {
        let (client_id, since) = (&one.client_id, &one.since);
        json!({"client_id": client_id, "since": since})
    });
    assert_eq!(json!(of_program.collect::<Vec<_>>()), over_rest);
    assert_eq!(list.subscribers[0].client_id, "s1");
    assert_eq!(server.embedded().subscribers("nowhere", 2), None);
    assert_eq!(server.embedded().subscribers("no name", 2), None);
}

#[test]
fn figures_equal_those_of_rest_and_return_to_the_baseline() {
    let server = TestServer::start();
    let embedded = server.embedded();
    let options = TopicOptions {
        history_size: Some(2),
        max_queue_size: Some(7),
        overflow: Some(OverflowPolicy::Disconnect),
        history_ttl: Some(Duration::from_millis(3_600_500)),
        idle: None,
    };
    embedded.create_topic("b", &options).expect("a new topic");
    create(embedded, "a");
    let mut client = server.ws();
    client.subscribe("b", "reader");
    for n in 1..=3 {
        embedded.publish("b", &n).expect("room");
        assert_eq!(client.next_event()["message"]["payload"], n);
    }

    let b = embedded.topic("b").expect("a topic");
    let shown = json!({
        "name": b.name, "epoch": b.epoch, "seq": b.seq, "messages": b.seq, "subscribers": b.subscribers,
        "dropped": b.dropped, "overflow": b.overflow.as_str(),
        "history": {"count": b.history_count, "bytes": b.history_bytes, "first_seq": b.history_first_seq},
        "limits": {
            "history_size": b.max_history_size, "history_bytes": b.max_history_bytes, "max_queue_size": b.max_queue_size,
            "history_ttl_secs": b.history_ttl.expect("a time").as_secs_f64(), "idle_secs": 0,
        },
    });
    let mut over_rest = server.topic("b");
    let history = over_rest["history"].as_object_mut().expect("an object");
    assert_timestamp(&history.remove("first_ts").expect("a time"));
    assert_eq!(shown, over_rest);
    assert_eq!(
        (b.seq, b.history_count, b.history_first_seq),
        (3, 2, Some(2))
    );
    let names: Vec<_> = embedded
        .topics()
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["a", "b"]);

    let stats = embedded.stats();
    assert_eq!((stats.topics, stats.subscribers), (2, 1));
    // The log keeps the third event for the queue; it is no longer in the history.
    assert!(stats.retained_bytes > b.history_bytes, "{stats:?}");
    assert!(stats.memory_bytes >= stats.retained_bytes, "{stats:?}");
    let health = server.health();
    assert_eq!(stats.delivered, health["delivered"]);
    assert_eq!(stats.retained_bytes, health["retained_bytes"]);

    embedded.delete_topic("b").expect("a topic");
    client.next_info("topic_deleted");
    client.close();
    embedded.delete_topic("a").expect("a topic");
    eventually("all figures are zero", || {
        let stats = embedded.stats();
        let left = [stats.topics, stats.subscribers, stats.connections];
        left == [0; 3] && stats.retained_bytes == 0 && stats.memory_bytes == 0
    });
    assert_eq!(embedded.stats().delivered, 3);
}

#[test]
fn misuse_is_an_error_that_names_the_cause() {
    let server = TestServer::with(|config| {
        config.max_topics = 1;
        config.max_message_bytes = 1000;
    });
    let embedded = server.embedded();
    let refused = |name: &str, options: &TopicOptions| {
        let error = embedded.create_topic(name, options).expect_err("a refusal");
        (error.to_string(), error)
    };
    let ordinary = TopicOptions::default();
    let (text, error) = refused("an order", &ordinary);
    assert_eq!(error, CreateTopicError::InvalidName);
    assert!(
        text.starts_with("topic must be 1 to 128 characters"),
        "{text}"
    );
    let endless = TopicOptions {
        history_size: Some(1_000_001),
        ..ordinary
    };
    let (text, _) = refused("orders", &endless);
    assert_eq!(
        text,
        "history_size: 1000001 is not allowed: from 0 to 1000000"
    );
    let no_queue = TopicOptions {
        max_queue_size: Some(0),
        ..ordinary
    };
    let (text, _) = refused("orders", &no_queue);
    assert_eq!(text, "max_queue_size: 0 is not allowed: from 1 to 1000000");
    create(embedded, "orders");
    assert_eq!(
        refused("orders", &ordinary).0,
        "topic 'orders' already exists"
    );
    let (text, _) = refused("others", &ordinary);
    assert_eq!(text, "there are 1 topics, as many as max_topics allows");

    let unknown = embedded.delete_topic("others").expect_err("a refusal");
    assert_eq!(unknown.to_string(), "Topic 'others' does not exist");
    assert_eq!(embedded.topic("others"), None);

    let publish = |topic: &str, payload: &Value| {
        let error = embedded.publish(topic, payload).expect_err("a refusal");
        error.to_string()
    };
    assert_eq!(
        publish("others", &json!(1)),
        "Topic 'others' does not exist"
    );
    assert_eq!(
        publish("orders", &json!("x".repeat(999))),
        "the payload has 1001 bytes; max_message_bytes allows 1000"
    );
    let deep = (0..129).fold(json!([]), |inner, _| json!([inner]));
    assert_eq!(
        publish("orders", &deep),
        "the payload is nested deeper than 128 levels"
    );
    let no_json = BTreeMap::from([([1], 2)]);
    let error = embedded.publish("orders", &no_json).expect_err("a refusal");
    assert!(matches!(error, PublishError::Payload(_)), "{error}");
    assert_eq!(embedded.topic("orders").map(|topic| topic.seq), Some(0));
    let largest = json!("x".repeat(998));
    assert_eq!(embedded.publish("orders", &largest).expect("room").seq, 1);
}

#[test]
fn events_published_by_many_threads_arrive_once_and_in_order() {
    let (threads, each) = (8, 500);
    let server = TestServer::with(|config| config.max_queue_size = 10_000);
    create(server.embedded(), "orders");
    let mut client = server.ws();
    client.subscribe("orders", "reader");
    let publishers: Vec<_> = (0..threads)
        .map(|_| {
            let handle = server.embedded().handle();
            thread::spawn(move || {
                let published = (0..each).map(|n| handle.publish("orders", &n).expect("room"));
                published
                    .map(|published| (published.seq, published.id))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut client, threads * each);
    let receipts = publishers
        .into_iter()
        .flat_map(|publisher| publisher.join().unwrap());
    let ids: BTreeMap<u64, String> = receipts.collect();
    assert_eq!(checker.ids(), ids.into_values().collect::<Vec<_>>());
    assert_eq!(checker.skipped, 0, "{checker:?}");
}

#[test]
fn stalled_subscriber_blocks_a_publish_only_until_block_timeout() {
    let timeout = Duration::from_millis(300);
    let server = blocking(timeout);
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    let payload = "x".repeat(PAD_BYTES);
    let mut longest = Duration::ZERO;
    eventually("the subscriber has ended", || {
        let began = Instant::now();
        match server.embedded().publish("orders", &payload) {
            // The socket may still accept bytes during the first publishes.
            Ok(_) | Err(PublishError::NoRoom { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        longest = longest.max(began.elapsed());
        let topic = server.embedded().topic("orders").expect("a topic");
        topic.subscribers == 0
    });
    assert!(
        longest >= timeout && longest < DEADLINE,
        "waited {longest:?}"
    );
    assert_eq!(slow.last_error_before_close(4100), "SLOW_CONSUMER");
}

/// The WebSocket counterpart is `blocking::slow_subscriber_is_kept_and_no_publish_waits_longer_than_block_timeout`.
#[test]
fn slow_subscriber_is_kept_and_publish_is_refused_after_block_timeout() {
    let timeout = Duration::from_secs(2);
    let server = blocking(timeout);
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    // More publishers than the subscriber reads events in the time that a publish may wait.
    let (publishers, each) = (40, 2);
    let publishers: Vec<_> = (0..publishers)
        .map(|_| {
            let handle = server.embedded().handle();
            thread::spawn(move || {
                let payload = "x".repeat(PAD_BYTES);
                let mut refused = 0;
                for _ in 0..each {
                    match handle.publish("orders", &payload) {
                        Ok(_) => {}
                        Err(PublishError::NoRoom { .. }) => refused += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                refused
            })
        })
        .collect();
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_slowly_until(&mut slow, timeout, || {
        publishers.iter().all(|publisher| publisher.is_finished())
    });
    let all = publishers.len() as u64 * each;
    let refused: u64 = publishers.into_iter().map(|p| p.join().unwrap()).sum();
    assert!(refused > 0 && refused < all, "{refused} refused");
    checker.read_until(&mut slow, all - refused);
    assert_eq!(checker.skipped, 0, "{checker:?}");
    assert_eq!(seq_of(&server.topic("orders")), all - refused);
}

#[test]
fn waiting_publish_and_every_change_are_refused_at_shutdown() {
    let server = blocking(BLOCK_TIMEOUT);
    let slow = server.small_buffer_subscriber("orders", "slow");
    let handle = server.embedded().handle();
    let publisher = thread::spawn(move || {
        let payload = "x".repeat(PAD_BYTES);
        loop {
            if let Err(error) = handle.publish("orders", &payload) {
                return (handle, error);
            }
        }
    });
    let seq = || server.embedded().topic("orders").map(|topic| topic.seq);
    let before = await_stable(Duration::from_millis(300), seq);
    let last = server.embedded().handle();
    let began = Instant::now();
    server.shutdown();
    let (handle, error) = publisher.join().unwrap();
    assert!(matches!(error, PublishError::ShuttingDown), "{error}");
    assert!(began.elapsed() < BLOCK_TIMEOUT / 2, "{:?}", began.elapsed());
    assert_eq!(last.topic("orders").map(|topic| topic.seq), before);
    drop(slow);
    expect_every_change_refused(&handle);
}

fn expect_every_change_refused(handle: &ServerHandle) {
    let created = handle.create_topic("late", &TopicOptions::default());
    assert_eq!(created, Err(CreateTopicError::ShuttingDown));
    let deleted = handle.delete_topic("orders");
    assert_eq!(deleted, Err(DeleteTopicError::ShuttingDown));
    let published = handle.publish("orders", &1);
    assert!(matches!(published, Err(PublishError::ShuttingDown)));
    assert_eq!(handle.stats().subscribers, 0);
}

#[test]
fn program_is_exempt_from_rate_limits_and_keys() {
    let server = Server::bind(Config {
        port: 0,
        max_publish_rate: 1,
        api_key: Some(threadcast::ApiKey::new("s3cret").expect("a key")),
        ..Config::default()
    })
    .expect("a free port");
    create(&server, "orders");
    for seq in 1..=20 {
        assert_eq!(server.publish("orders", &seq).expect("room").seq, seq);
    }
}

#[test]
fn a_server_is_ready_from_the_start_until_its_shutdown() {
    let server = TestServer::start();
    let handle = server.embedded().handle();
    assert!(handle.is_ready());
    assert!(handle.wait_until_ready(Duration::ZERO));
    server.shutdown();
    assert!(!handle.is_ready());
    assert!(!handle.wait_until_ready(Duration::MAX));
}
