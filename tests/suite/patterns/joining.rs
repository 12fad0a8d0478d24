//! Topics that appear join by themselves, with their first event.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use threadcast::TopicOptions;

use super::{await_total, expect_event, expect_subscribed, publish, subscribe};
use crate::harness::{Incoming, SequenceChecker, TestServer, eventually, publish_text};

fn text<'a>(message: &'a Value, field: &str) -> &'a str {
    message[field].as_str().expect("a text")
}

fn first_use_server() -> TestServer {
    TestServer::with(|config| {
        config.auto_create_topics = true;
        config.history_size = 0;
        config.max_queue_size = 100_000;
        config.max_subscriptions = 100_000;
    })
}

#[test]
fn a_topic_that_is_created_later_joins() {
    let server = TestServer::start();
    let mut client = server.ws();
    assert_eq!(subscribe(&mut client, "*.orders", &json!({"last_n": 3})), 0);
    server.create_topic("eu.orders");
    server.create_topic("eu.returns");
    assert_eq!(expect_subscribed(&mut client, "eu.orders", "*.orders"), 0);
    publish(&server, "eu.orders");
    expect_event(&mut client, "eu.orders", 1);
    server
        .embedded()
        .create_topic("us.orders", &TopicOptions::default())
        .unwrap();
    assert_eq!(expect_subscribed(&mut client, "us.orders", "*.orders"), 0);
}

/// Whoever has the ack may publish at once, to the last of many topics first: nothing is missed.
#[test]
fn what_is_published_after_the_ack_is_received() {
    const TOPICS: usize = 900;
    let server = TestServer::start();
    let names: Vec<String> = (0..TOPICS).map(|n| format!("t{n:03}")).collect();
    names.iter().for_each(|name| server.create_topic(name));
    let mut client = server.ws();
    let mut publisher = server.ws();
    for round in 1..=3 {
        let matched = subscribe(&mut client, "t*", &json!({}));
        assert_eq!(matched, TOPICS as u64);
        let publishes = names.iter().rev();
        let publishes: Vec<_> = publishes
            .map(|name| publish_text(name, "1", name))
            .collect();
        publisher.send_texts(&publishes);
        let mut missing: HashMap<&str, u64> =
            names.iter().map(|name| (name.as_str(), round)).collect();
        while !missing.is_empty() {
            let message = client.next_json();
            let topic = text(&message, "topic");
            match text(&message, "type") {
                "info" => assert_eq!(message["seq"], round - 1, "{message}"),
                _ => assert_eq!(missing.remove(topic), message["seq"].as_u64(), "{message}"),
            }
        }
        publisher.fence();
        client.unsubscribe("t*", "c");
    }
}

#[test]
fn the_publish_that_creates_a_topic_is_received() {
    let server = first_use_server();
    let mut client = server.ws();
    subscribe(&mut client, "*", &json!({}));
    let mut publisher = server.ws();
    for n in 0..50 {
        let topic = format!("t{n}");
        match n % 3 {
            0 => publish(&server, &topic),
            1 => assert_eq!(publisher.publish(&topic, &json!(1)), 1),
            _ => drop(server.embedded().publish(&topic, &1).unwrap()),
        }
        assert_eq!(expect_subscribed(&mut client, &topic, "*"), 0);
        expect_event(&mut client, &topic, 1);
    }
    // A subscribe by name creates one, too.
    publisher.subscribe("by-name", "other");
    expect_subscribed(&mut client, "by-name", "*");
}

#[test]
fn whoever_hears_of_a_topic_can_use_it_at_once() {
    let server = TestServer::start();
    let mut client = server.ws();
    subscribe(&mut client, "*", &json!({}));
    thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || (0..300).for_each(|n| server.create_topic(&format!("t{n}"))));
        let (mut published, mut delivered) = (0, 0);
        while published < 300 || delivered < 300 {
            let message = client.next_json();
            match message["type"].as_str() {
                // Others appear meanwhile.
                Some("info") => {
                    published += 1;
                    client.send_text(&publish_text(text(&message, "topic"), "1", "p"));
                }
                Some("event") => delivered += 1,
                _ => assert_eq!(message["type"], "ack", "{message}"),
            }
        }
    });
}

#[test]
fn no_event_is_missed_whatever_appears_first() {
    const TOPICS: u64 = 40;
    const EVENTS: u64 = 20;
    const CLIENTS: usize = 6;
    let server = first_use_server();
    thread::scope(|scope| {
        for publisher in 0..2 {
            let server = &server;
            scope.spawn(move || {
                let mut ws = server.ws();
                for n in 0..TOPICS {
                    ws.publish_padded(&format!("t.{publisher}.{n}"), 1, EVENTS, 0);
                }
            });
        }
        for n in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                // They come at different times: what exists is replayed from its beginning, which nothing has left yet.
                eventually("topics appear", || {
                    server.health()["topics"].as_u64().unwrap() >= n as u64 * 10
                });
                let mut ws = server.ws();
                let fields = json!({"last_n": 1_000_000});
                ws.subscribe_with("t.*", &format!("c{n}"), &fields);
                let mut checkers = HashMap::new();
                let is_done = |checkers: &HashMap<String, SequenceChecker>| {
                    checkers.len() as u64 == 2 * TOPICS
                        && checkers.values().all(|checker| checker.last() == EVENTS)
                };
                while !is_done(&checkers) {
                    let message = ws.next_json();
                    let topic = message["topic"].as_str().unwrap().to_owned();
                    if message["msg"] == "subscribed" {
                        // Without a history a replay has nothing: the events begin where the subscription does.
                        let start = message["seq"].as_u64().unwrap();
                        let checker = SequenceChecker::starting_after(&topic, start);
                        assert!(checkers.insert(topic, checker).is_none(), "{message}");
                    } else {
                        checkers
                            .get_mut(&topic)
                            .expect("it joined before")
                            .take(&message);
                    }
                }
                ws.close();
            });
        }
    });
    await_total(&server, 0);
}

#[test]
fn topics_and_patterns_come_and_go_under_publishers() {
    const ROUNDS: u64 = 150;
    let server = first_use_server();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|n| {
                let server = &server;
                scope.spawn(move || {
                    let mut ws = server.ws();
                    for round in 0..ROUNDS {
                        let topic = format!("t{}", (round + n) % 4);
                        ws.publish_padded(&topic, 1, 3, 0);
                        if round % 5 == n {
                            // Another one may have deleted it before.
                            server.http().delete(&format!("/topics/{topic}"));
                        }
                    }
                })
            })
            .collect();
        for n in 0..3 {
            let (server, is_over) = (&server, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let mut ws = server.ws();
                    let ack = ws.subscribe_with("t*", &format!("c{n}"), &json!({}));
                    let mut found = ack["matched"].as_u64().unwrap();
                    let mut positions = HashMap::new();
                    for _ in 0..20 {
                        let Some(message) = ws.receive_within(Duration::from_millis(50)) else {
                            break;
                        };
                        let Incoming::Text(text) = message else {
                            panic!("{message:?}")
                        };
                        let message: Value = serde_json::from_str(&text).unwrap();
                        let topic = message["topic"].as_str().unwrap().to_owned();
                        match (message["type"].as_str(), message["msg"].as_str()) {
                            (Some("info"), Some("subscribed")) => {
                                let seq = message["seq"].as_u64().unwrap();
                                assert!(positions.insert(topic, seq).is_none(), "{message}");
                            }
                            (Some("info"), Some("topic_deleted")) => {
                                // One that a subscribe found may have been deleted before it joined.
                                if positions.remove(&topic).is_none() {
                                    found = found.checked_sub(1).expect("it was found");
                                }
                            }
                            // A node that missed a deletion and the creation after it cannot tell them from a loss.
                            (Some("info"), Some("gap")) => {
                                assert_eq!(message["gap"]["reason"], "epoch_changed", "{message}");
                                let seq = message["seq"].as_u64().unwrap();
                                assert!(positions.insert(topic, seq).is_some(), "{message}");
                            }
                            (Some("event"), _) => {
                                let last = positions.get_mut(&topic).expect("it joined before");
                                *last += 1;
                                assert_eq!(message["seq"], *last, "{message}");
                            }
                            _ => panic!("{message}"),
                        }
                    }
                    ws.close();
                }
            });
        }
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
    });
    await_total(&server, 0);
}
