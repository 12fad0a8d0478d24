//! A node inside a program: the methods of the server and of its handles, across the cluster.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use threadcast::config::{OverflowPolicy, RedisUrl};
use threadcast::{
    Config, CreateTopicError, DeleteTopicError, PublishError, Server, ServerHandle, TopicOptions,
};

use crate::cluster::{
    COUNT_LIMIT, Cluster, DELIVERY_LIMIT, Follower, NOT_READY_LIMIT, READY_LIMIT, Redis, SLACK,
    UNAVAILABLE_LIMIT, free_port, within,
};
use crate::harness::{Dial, HttpClient, event_seqs};

/// A node of the cluster in this process.
fn embedded(cluster: &Cluster) -> Server {
    let server = bind(&cluster.redis().url(), cluster.prefix());
    await_ready(&server);
    server
}

fn bind(url: &str, prefix: &str) -> Server {
    let config = Config {
        port: 0,
        redis_url: vec![RedisUrl::new(url).expect("a URL")],
        redis_prefix: prefix.to_owned(),
        ..Config::default()
    };
    Server::bind(config).expect("a free port")
}

#[track_caller]
fn await_ready(server: &Server) {
    assert!(server.wait_until_ready(READY_LIMIT + SLACK), "in time");
    assert!(server.is_ready());
    assert_eq!(readiness(server.local_addr()), 200);
}

fn readiness(addr: SocketAddr) -> u16 {
    HttpClient::connect(addr).get("/readyz").status
}

/// Publishes over and over until it is taken; returns the number.
fn publish(handle: &ServerHandle, payload: u64) -> u64 {
    let published = handle.publish("orders", &payload);
    published.expect("a node that is ready").seq
}

#[test]
fn what_the_program_does_holds_on_all_nodes() {
    let cluster = Cluster::of(1);
    let server = embedded(&cluster);
    let options = TopicOptions {
        history_size: Some(7),
        ..TopicOptions::default()
    };
    server.create_topic("orders", &options).unwrap();
    let again = server.create_topic("orders", &options);
    assert!(matches!(again, Err(CreateTopicError::Exists { .. })));
    let there = cluster[0].get("/topics/orders").json();
    assert_eq!(there["limits"]["history_size"], 7);

    let far = Follower::start(&cluster[0], "orders", "far");
    let mut near = Dial::to(server.local_addr()).connect();
    near.subscribe("orders", "near");
    let handle = server.handle();
    assert_eq!([publish(&handle, 1), publish(&handle, 2)], [1, 2]);
    far.await_position(2);
    assert_eq!(event_seqs(&near.next_events(2)), [1, 2]);

    cluster[0].publish("orders", 3, 4);
    within(COUNT_LIMIT, "both subscribers", || {
        let topic = handle.topic("orders");
        topic.is_some_and(|topic| (topic.seq, topic.subscribers) == (4, 2))
    });
    let names: Vec<String> = handle
        .topics()
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["orders"]);
    within(COUNT_LIMIT, "the counts of the cluster", || {
        let stats = handle.stats();
        (stats.topics, stats.subscribers) == (1, 2)
    });

    handle.delete_topic("orders").unwrap();
    assert_eq!(cluster[0].get("/topics/orders").status, 404);
    let deleted = handle.delete_topic("orders");
    assert!(matches!(
        deleted,
        Err(DeleteTopicError::UnknownTopic { .. })
    ));
}

#[test]
fn block_is_refused_in_a_program_too() {
    let cluster = Cluster::of(1);
    let server = embedded(&cluster);
    let options = TopicOptions {
        overflow: Some(OverflowPolicy::Block),
        ..TopicOptions::default()
    };
    let created = server.create_topic("orders", &options);
    assert_eq!(created, Err(CreateTopicError::NoBlockInCluster));
}

#[test]
fn without_redis_a_program_is_told_in_time_and_goes_on_later() {
    let redis = Redis::durable();
    let server = bind(&redis.url(), "embedded");
    await_ready(&server);
    server
        .create_topic("orders", &TopicOptions::default())
        .unwrap();
    assert_eq!(publish(&server.handle(), 1), 1);
    assert_eq!(server.stats().topics, 1);
    redis.kill();
    within(UNAVAILABLE_LIMIT, "an answer", || {
        let published = server.publish("orders", &2);
        matches!(published, Err(PublishError::Unavailable))
    });
    let created = server.create_topic("returns", &TopicOptions::default());
    assert_eq!(created, Err(CreateTopicError::Unavailable));
    assert_eq!(
        server.delete_topic("orders"),
        Err(DeleteTopicError::Unavailable)
    );
    assert!(server.topics().is_empty() && server.topic("orders").is_none());
    assert_eq!(server.stats().topics, 1, "the last known count");
    redis.restart();
    await_ready(&server);
    within(DELIVERY_LIMIT, "the topic is there", || {
        server.topic("orders").is_some_and(|topic| topic.seq >= 1)
    });
    assert!(publish(&server.handle(), 3) >= 2);
}

#[test]
fn program_can_wait_until_its_node_is_ready() {
    let port = free_port();
    let server = bind(&format!("redis://127.0.0.1:{port}"), "waiting");
    assert!(!server.is_ready());
    assert!(!server.wait_until_ready(Duration::ZERO));
    let handle = server.handle();
    let waiting = thread::spawn(move || handle.wait_until_ready(Duration::MAX));
    let redis = Redis::at(port, &[]);
    assert!(waiting.join().unwrap());
    assert_eq!(readiness(server.local_addr()), 200);
    redis.kill();
    within(NOT_READY_LIMIT, "the node is not ready", || {
        !server.is_ready()
    });
    let handle = server.handle();
    let waiting = thread::spawn(move || handle.wait_until_ready(Duration::MAX));
    let handle = server.handle();
    server.shutdown();
    assert!(!waiting.join().unwrap(), "a shutdown ends the wait");
    assert!(!handle.is_ready());
}

#[test]
fn after_the_shutdown_a_handle_says_so() {
    let cluster = Cluster::with_topic(1, "orders");
    let server = embedded(&cluster);
    let handle = server.handle();
    server.shutdown();
    let published = handle.publish("orders", &1);
    assert!(matches!(published, Err(PublishError::ShuttingDown)));
    let created = handle.create_topic("returns", &TopicOptions::default());
    assert_eq!(created, Err(CreateTopicError::ShuttingDown));
    within(COUNT_LIMIT, "the node has left", || {
        cluster[0].nodes().len() == 1
    });
}
