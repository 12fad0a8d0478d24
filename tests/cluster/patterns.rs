//! Subscriptions to all topics that match a pattern, across nodes.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cluster::{Cluster, DEAD_NODE_LIMIT, Setup, within};
use crate::harness::{WsClient, epoch_of, seq_of, text_of};

fn subscribe(client: &mut WsClient, pattern: &str, fields: &Value) -> u64 {
    let ack = client.subscribe_with(pattern, "c", fields);
    ack["matched"].as_u64().expect("a pattern")
}

fn expect_subscribed(client: &mut WsClient, topic: &str, seq: u64) {
    let notice = client.next_info("subscribed");
    assert_eq!((&notice["topic"], seq_of(&notice)), (&json!(topic), seq));
}

fn expect_event(client: &mut WsClient, topic: &str, seq: u64) {
    let event = client.next_event();
    assert_eq!((&event["topic"], seq_of(&event)), (&json!(topic), seq));
}

#[test]
fn what_exists_is_found_and_what_is_created_later_joins() {
    let cluster = Cluster::of(3);
    for topic in ["a1", "a2", "b1"] {
        cluster[0].create_topic(topic);
    }
    cluster[1].publish("a1", 1, 2);
    let mut client = cluster[2].ws();
    assert_eq!(subscribe(&mut client, "a*", &json!({"last_n": 1})), 2);
    expect_subscribed(&mut client, "a1", 2);
    expect_event(&mut client, "a1", 2);
    expect_subscribed(&mut client, "a2", 0);
    cluster[1].create_topic("a3");
    expect_subscribed(&mut client, "a3", 0);
    cluster[0].publish("a3", 1, 1);
    expect_event(&mut client, "a3", 1);
    cluster[0].delete_topic("a3");
    let deleted = client.next_info("topic_deleted");
    assert_eq!(
        (&deleted["topic"], &deleted["pattern"]),
        (&json!("a3"), &json!("a*"))
    );
    cluster[0].create_topic("a3");
    expect_subscribed(&mut client, "a3", 0);
    for node in cluster.nodes() {
        node.await_subscribers("a3", 1);
    }
    assert_eq!(
        client.unsubscribe("a*", "c")["positions"]
            .as_object()
            .unwrap()
            .len(),
        3
    );
    for node in cluster.nodes() {
        node.await_subscribers("a3", 0);
    }
}

#[test]
fn topics_made_by_their_first_publish_are_received_from_their_first_event() {
    const TOPICS: u64 = 60;
    const EVENTS: u64 = 10;
    let cluster = Setup::of(3)
        .set("PUBSUB_AUTO_CREATE_TOPICS", "true")
        .set("PUBSUB_HISTORY_SIZE", "0")
        .set("PUBSUB_MAX_SUBSCRIPTIONS", "10000")
        .start();
    let mut clients = [cluster[0].ws(), cluster[1].ws(), cluster[2].ws()];
    for (n, client) in clients.iter_mut().enumerate() {
        client.subscribe("t*", &format!("c{n}"));
    }
    for n in 0..TOPICS {
        cluster[(n % 3) as usize].publish(&format!("t{n}"), 1, EVENTS);
    }
    for client in &mut clients {
        let mut received: HashMap<String, u64> = HashMap::new();
        let done = |received: &HashMap<String, u64>| {
            received.len() as u64 == TOPICS && received.values().all(|last| *last == EVENTS)
        };
        while !done(&received) {
            let message = client.next_json();
            let topic = message["topic"].as_str().unwrap().to_owned();
            if message["msg"] == "subscribed" {
                assert_eq!(received.insert(topic, 0), None, "{message}");
                assert_eq!(seq_of(&message), 0, "{message}");
            } else {
                let last = received.get_mut(&topic).expect("it joined before");
                *last += 1;
                assert_eq!(seq_of(&message), *last, "{message}");
            }
        }
    }
}

#[test]
fn the_same_pattern_on_another_node_replaces_the_older_one() {
    let cluster = Cluster::of(2);
    cluster[0].create_topic("a1");
    let (mut older, mut newer) = (cluster[0].ws(), cluster[1].ws());
    subscribe(&mut older, "a*", &json!({}));
    expect_subscribed(&mut older, "a1", 0);
    subscribe(&mut newer, "a*", &json!({}));
    expect_subscribed(&mut newer, "a1", 0);
    let replaced = older.next_info("subscription_replaced");
    assert_eq!(
        (&replaced["topic"], &replaced["pattern"]),
        (&json!("a1"), &json!("a*"))
    );
    within(DEAD_NODE_LIMIT, "the older pattern ends", || {
        let page = String::from_utf8(cluster[0].get("/metrics").body).expect("text");
        page.contains("\npubsub_patterns 0\n")
    });
    for n in 0..20 {
        let topic = format!("a.{n}");
        cluster[n % 2].create_topic(&topic);
        expect_subscribed(&mut newer, &topic, 0);
    }
    assert_eq!(older.fence(), [json!(null); 0]);
    // And back.
    subscribe(&mut older, "a*", &json!({}));
    for _ in 0..21 {
        newer.next_info("subscription_replaced");
    }
}

#[test]
fn topics_that_appear_while_a_node_is_cut_off_join_from_their_first_event() {
    let cluster = Setup::of(2).with_proxies().start();
    cluster[0].create_topic("a1");
    let mut client = cluster[1].ws();
    subscribe(&mut client, "a*", &json!({}));
    expect_subscribed(&mut client, "a1", 0);
    cluster.proxy(1).cut();
    cluster[1].await_not_ready();
    cluster[0].create_topic("a2");
    cluster[0].publish("a2", 1, 3);
    cluster[0].publish("a1", 1, 2);
    let refused = client.subscribe_refused("b*", &json!({}), "UNAVAILABLE");
    assert_eq!(
        text_of(&refused),
        "the cluster cannot be reached at the moment"
    );
    cluster.proxy(1).heal();
    cluster[1].await_ready();
    let mut received: HashMap<String, Vec<u64>> = HashMap::new();
    for _ in 0..6 {
        let message = client.next_json();
        let topic = message["topic"].as_str().unwrap().to_owned();
        received.entry(topic).or_default().push(seq_of(&message));
    }
    assert_eq!(received["a1"], [1, 2]);
    assert_eq!(received["a2"], [0, 1, 2, 3], "the notice and the events");
    assert_eq!(client.fence(), [json!(null); 0]);
}

#[test]
fn a_client_of_a_killed_node_resumes_over_all_topics_on_another() {
    let cluster = Cluster::of(2);
    for topic in ["a1", "a2"] {
        cluster[0].create_topic(topic);
    }
    let mut client = cluster[1].ws();
    subscribe(&mut client, "a*", &json!({}));
    expect_subscribed(&mut client, "a1", 0);
    expect_subscribed(&mut client, "a2", 0);
    cluster[0].publish("a1", 1, 1);
    expect_event(&mut client, "a1", 1);
    let position = |topic, seq| json!({"seq": seq, "epoch": epoch_of(&cluster[0].topic(topic))});
    let positions = json!({"a1": position("a1", 1), "a2": position("a2", 0)});
    cluster[1].kill();
    cluster[0].publish("a1", 2, 3);
    cluster[0].publish("a2", 1, 1);
    cluster[0].create_topic("a3");
    cluster[0].publish("a3", 1, 2);
    let mut client = cluster[0].ws();
    assert_eq!(
        subscribe(&mut client, "a*", &json!({"positions": positions})),
        3
    );
    expect_subscribed(&mut client, "a1", 3);
    expect_event(&mut client, "a1", 2);
    expect_event(&mut client, "a1", 3);
    expect_subscribed(&mut client, "a2", 1);
    expect_event(&mut client, "a2", 1);
    expect_subscribed(&mut client, "a3", 2);
    expect_event(&mut client, "a3", 1);
    expect_event(&mut client, "a3", 2);
    cluster[0].await_subscribers_within(DEAD_NODE_LIMIT, "a1", 1);
}

#[test]
fn what_was_taken_over_by_name_stays_so_when_redis_is_back() {
    let cluster = Setup::of(2).with_proxies().start();
    cluster[0].create_topic("a1");
    let (mut pattern, mut name) = (cluster[1].ws(), cluster[0].ws());
    subscribe(&mut pattern, "a*", &json!({}));
    expect_subscribed(&mut pattern, "a1", 0);
    name.subscribe("a1", "c");
    pattern.next_info("subscription_replaced");
    cluster.proxy(1).cut();
    cluster[1].await_not_ready();
    cluster.proxy(1).heal();
    cluster[1].await_ready();
    cluster[1].create_topic("a2");
    expect_subscribed(&mut pattern, "a2", 0);
    cluster[1].publish("a1", 1, 1);
    expect_event(&mut name, "a1", 1);
    assert_eq!(name.fence(), [json!(null); 0]);
    assert_eq!(pattern.fence(), [json!(null); 0]);
}
