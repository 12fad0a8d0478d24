//! Time to live: which events leave the history by age, and which topics are deleted because nobody uses them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Config, SequenceChecker, TestServer, WsClient, alone, await_stable, event_seqs, eventually,
    own_cpu_time, own_threads, seq_of,
};

/// Long enough that nothing becomes so old while a test runs.
const HOURS: u64 = 7_200;
/// How long the server rests.
const WHILE: Duration = Duration::from_secs(3);
const TTL: Duration = Duration::from_millis(300);
const IDLE: Duration = Duration::from_millis(300);

fn with_ttl(change: impl FnOnce(&mut Config)) -> TestServer {
    let server = TestServer::with(|config| {
        config.history_ttl = TTL;
        change(config);
    });
    server.create_topic("orders");
    server
}

fn await_gone(server: &TestServer, topic: &str) {
    eventually(&format!("{topic} is gone"), || {
        server.http().get(&format!("/topics/{topic}")).status == 404
    });
}

fn history(server: &TestServer, topic: &str) -> Value {
    server.topic(topic)["history"].clone()
}

fn await_empty_history(server: &TestServer, topic: &str) {
    let empty = json!({"count": 0, "bytes": 0});
    eventually("an empty history", || history(server, topic) == empty);
}

fn exists(server: &TestServer, topic: &str) -> bool {
    server.http().get(&format!("/topics/{topic}")).status == 200
}

#[test]
fn an_event_leaves_the_history_once_it_is_too_old() {
    let server = with_ttl(|_| {});
    server.create_topic_with("kept", &json!({"history_ttl_secs": HOURS}));
    let mut publisher = server.ws();
    for topic in ["orders", "kept"] {
        publisher.publish_many(topic, 1, 3);
    }
    await_empty_history(&server, "orders");
    assert_eq!(history(&server, "kept")["count"], 3);

    let mut http = server.http();
    let page = http.get("/topics/orders/messages").expect(200);
    assert_eq!((&page["seq"], &page["events"]), (&json!(3), &json!([])));
    let page = http.get("/topics/orders/messages?after_seq=1").expect(200);
    let gap = json!({"from_seq": 2, "to_seq": 3, "count": 2, "reason": "history_evicted"});
    assert_eq!(page["gap"], gap);

    let mut late = server.ws();
    let ack = late.subscribe_with("orders", "late", &json!({"last_n": 10}));
    assert_eq!(seq_of(&ack), 3);
    assert_eq!(event_seqs(&late.fence()), [0; 0]);
    let ack = late.subscribe_with("orders", "resumed", &json!({"after_seq": 1}));
    assert_eq!(ack["recovered"], false);
    assert_eq!(late.next_info("gap")["gap"], gap);
    let ack = late.subscribe_with("orders", "newest", &json!({"after_seq": 3}));
    assert_eq!(ack["recovered"], true);

    // The numbers go on.
    assert_eq!(publisher.publish("orders", &json!(4)), 4);
}

#[test]
fn the_memory_of_expired_events_is_freed_without_another_request() {
    let server = with_ttl(|_| {});
    let pad = "x".repeat(40 << 10);
    for _ in 0..20 {
        server.embedded().publish("orders", &pad).expect("room");
    }
    eventually("the memory is free", || {
        server.embedded().stats().memory_bytes == 0
    });
    server.await_metric("pubsub_events_expired_total", 20);
}

#[test]
fn the_queue_of_a_live_subscription_is_never_cut() {
    const EVENTS: u64 = 400;
    let server = with_ttl(|config| {
        config.max_queue_size = 1_000;
        config.history_size = 10;
        config.history_bytes = 1 << 30;
        config.write_timeout = Duration::from_secs(600);
    });
    // Takes nothing meanwhile: most of the events wait in its queue, and become too old there.
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    server.ws().publish_padded("orders", 1, EVENTS, 20 << 10);
    await_empty_history(&server, "orders");
    let expired = || server.metrics().value("pubsub_events_expired_total");
    await_stable(TTL, expired);
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut slow, EVENTS);
    assert_eq!((checker.received, checker.skipped), (EVENTS, 0));
    eventually("the memory is free", || {
        server.embedded().stats().memory_bytes == 0
    });
}

#[test]
fn a_topic_that_nobody_uses_is_deleted() {
    let server = TestServer::with(|config| config.topic_idle = IDLE);
    server.create_topic("orders");
    server.create_topic_with("kept", &json!({"idle_secs": 0}));
    let mut client = server.ws();
    client.subscribe("kept", "c");
    client.unsubscribe("kept", "c");
    await_gone(&server, "orders");
    assert!(exists(&server, "kept"));
    client.subscribe_refused("orders", &json!({}), "TOPIC_NOT_FOUND");
    server.await_metric("pubsub_topics_expired_total", 1);
    // The name is free.
    server.create_topic("orders");
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn a_subscription_keeps_a_topic_and_its_end_begins_the_time() {
    let server = TestServer::with(|config| config.topic_idle = IDLE);
    server.create_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    server.create_topic("unused");
    await_gone(&server, "unused");
    assert!(exists(&server, "orders"), "it has a subscription");
    // A connection that ends ends its subscriptions.
    client.reset();
    await_gone(&server, "orders");
}

#[test]
fn a_publish_keeps_a_topic() {
    let server = TestServer::with(|config| config.topic_idle = IDLE);
    server.create_topic("orders");
    server.create_topic("unused");
    let mut client = server.ws();
    let mut seq = 0;
    eventually("the other topic is gone", || {
        seq += 1;
        assert_eq!(client.publish("orders", &json!(1)), seq);
        !exists(&server, "unused")
    });
    await_gone(&server, "orders");
}

#[test]
fn publishes_and_subscribes_beside_the_deletion_of_idle_topics_lose_nothing() {
    // So short that a topic is deleted between almost any two uses.
    let server = TestServer::with(|config| {
        config.auto_create_topics = true;
        config.topic_idle = Duration::from_micros(200);
    });
    thread::scope(|scope| {
        for n in 0..4 {
            let server = &server;
            scope.spawn(move || use_and_leave(&mut server.ws(), &format!("t{}", n % 2), n));
        }
    });
    for topic in ["t0", "t1"] {
        await_gone(&server, topic);
    }
    let health = server.health();
    assert_eq!(
        (&health["topics"], &health["subscribers"]),
        (&json!(0), &json!(0))
    );
}

/// Each publish is acknowledged. One that is made while a subscription is open arrives there, and the topic stays.
fn use_and_leave(client: &mut WsClient, topic: &str, n: usize) {
    for round in 0..200 {
        client.publish(topic, &json!(round));
        let id = format!("c{n}");
        let newest = seq_of(&client.subscribe(topic, &id));
        let seq = client.publish(topic, &json!(round));
        assert!(seq > newest, "the topic was deleted under its subscription");
        // What another thread still fans out may come too late.
        let last = seq_of(&client.unsubscribe(topic, &id));
        let received = event_seqs(&client.fence());
        assert_eq!(received, (newest + 1..=last).collect::<Vec<_>>());
    }
}

#[test]
fn topics_with_a_time_to_live_cost_nothing_while_they_rest() {
    const TOPICS: usize = 100_000;
    alone(
        "expiry::topics_with_a_time_to_live_cost_nothing_while_they_rest",
        || {
            rest(TOPICS);
        },
    );
}

fn rest(topics: usize) {
    let server = TestServer::with(|config| {
        config.history_ttl = Duration::from_secs(HOURS);
        config.topic_idle = Duration::from_secs(HOURS);
        config.max_topics = topics;
    });
    let embedded = server.embedded();
    let before = own_threads();
    let options = threadcast::TopicOptions::default();
    for n in 0..topics {
        let name = format!("t{n}");
        embedded.create_topic(&name, &options).expect("a new topic");
        embedded.publish(&name, &n).expect("room");
    }
    assert!(own_threads() <= before, "a thread for topics");
    let (start, cpu) = (Instant::now(), own_cpu_time());
    eventually("a while has passed", || start.elapsed() > WHILE);
    let used = own_cpu_time() - cpu;
    println!(
        "CPU time of {topics} topics at rest: {used:?} of {:?}",
        start.elapsed()
    );
    assert!(used < start.elapsed() / 20, "{used:?}");
}
