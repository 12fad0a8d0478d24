//! `GET /topics/{name}/subscribers`: who is subscribed to a topic, on whatever node.

use std::time::Duration;

use serde_json::{Value, json};
use threadcast::{JwtSecret, NewToken};

use crate::cluster::{COUNT_LIMIT, Cluster, DEAD_NODE_LIMIT, Node, REJOIN_LIMIT, Setup, within};
use crate::harness::{Dial, assert_timestamp};

fn list(node: &Node, query: &str) -> Value {
    let path = format!("/topics/orders/subscribers{query}");
    node.get(&path).expect(200)
}

fn ids(list: &Value) -> Vec<&str> {
    let subscribers = list["subscribers"].as_array().unwrap().iter();
    subscribers
        .map(|subscriber| subscriber["client_id"].as_str().unwrap())
        .collect()
}

/// Waits until every node lists these.
fn await_ids(cluster: &Cluster, expected: &[&str]) {
    for node in cluster.nodes() {
        within(COUNT_LIMIT, &format!("{expected:?} are listed"), || {
            let list = list(node, "");
            list["total"] == expected.len() && ids(&list) == expected
        });
    }
}

#[test]
fn every_node_lists_the_subscribers_of_all() {
    let cluster = Cluster::with_topic(2, "orders");
    await_ids(&cluster, &[]);
    let (mut first, mut second) = (cluster[0].ws(), cluster[1].ws());
    // A space, because it is what separates the words of an owner.
    first.subscribe("orders", "s 2");
    second.subscribe("orders", "s1");
    second.subscribe("ord*", "pattern");
    await_ids(&cluster, &["pattern", "s 2", "s1"]);
    let seen = list(&cluster[0], "");
    assert_eq!(seen, list(&cluster[1], ""));
    for subscriber in seen["subscribers"].as_array().unwrap() {
        assert_timestamp(&subscriber["since"]);
    }
    first.reset();
    await_ids(&cluster, &["pattern", "s1"]);
    second.unsubscribe("orders", "s1");
    await_ids(&cluster, &["pattern"]);
}

#[test]
fn every_node_lists_the_users_of_all() {
    const SECRET: &str = "a-secret-of-more-than-32-bytes-for-tests";
    const USER: &str = "Ann 7 of 9";
    let token = |user: Option<&str>| {
        let token = NewToken {
            user: user.map(str::to_owned),
            subscribe: vec!["*".to_owned()],
            ..NewToken::expiring_in(Duration::from_secs(600))
        };
        token.sign(&JwtSecret::new(SECRET).unwrap()).unwrap()
    };
    // The first node asks for nothing.
    let mut cluster = Cluster::with_topic(1, "orders");
    let guarded = [(); 2].map(|()| cluster.add_node(&[("PUBSUB_JWT_SECRET", SECRET)]));
    let connect = |node: usize, user: Option<&str>| {
        let dial = Dial::to(cluster[node].addr());
        dial.field("X-API-Key", &token(user)).connect()
    };
    let mut first = connect(guarded[0], Some(USER));
    let mut second = connect(guarded[1], None);
    first.subscribe("orders", "by name");
    second.subscribe("orders", "nobody");
    let pattern = json!({"type": "subscribe", "topic": "ord*", "client_id": "by pattern"});
    assert_eq!(first.ask(pattern)["type"], "ack");
    let expected = [
        (json!("by name"), json!(USER)),
        (json!("by pattern"), json!(USER)),
        (json!("nobody"), Value::Null),
    ];
    within(COUNT_LIMIT, "all are listed with their users", || {
        let list = list(&cluster[0], "");
        let subscribers = list["subscribers"].as_array().unwrap().iter();
        let users = subscribers.map(|one| (one["client_id"].clone(), one["user"].clone()));
        users.collect::<Vec<_>>() == expected
    });
}

#[test]
fn takeover_on_another_node_begins_a_new_subscription() {
    let cluster = Cluster::with_topic(2, "orders");
    let (mut older, mut newer) = (cluster[0].ws(), cluster[1].ws());
    let ack = older.subscribe("orders", "c");
    let since = |node: usize| list(&cluster[node], "")["subscribers"][0]["since"].clone();
    let before = since(1);
    assert!(before.as_str() <= ack["ts"].as_str(), "{before} {ack}");
    newer.subscribe("orders", "c");
    older.next_info("subscription_replaced");
    await_ids(&cluster, &["c"]);
    assert!(before.as_str() < since(0).as_str(), "{before} {}", since(0));
    assert_eq!(since(0), since(1));
}

#[test]
fn long_list_is_read_in_steps_and_cut_to_its_smallest() {
    let cluster = Setup::of(2).set("PUBSUB_MAX_SUBSCRIPTIONS", "5000").start();
    cluster[0].create_topic("orders");
    let mut client = cluster[0].ws();
    let count = 4500;
    let requests: Vec<String> = (0..count)
        .map(|n| {
            let client_id = format!("s{:04}", n * 701 % count);
            let request = json!({"type": "subscribe", "topic": "orders", "client_id": client_id, "request_id": n.to_string()});
            request.to_string()
        })
        .collect();
    client.send_texts(&requests);
    client.expect_ack(&(count - 1).to_string());
    for (query, listed) in [("", 1000), ("?limit=3", 3), ("?limit=100000", count)] {
        let list = list(&cluster[1], query);
        let expected: Vec<_> = (0..listed).map(|n| format!("s{n:04}")).collect();
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list["total"], count, "{query}");
    }
}

#[test]
fn topic_that_does_not_exist_is_missing_on_every_node() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[0].ws();
    client.subscribe("orders", "c");
    cluster[1].delete_topic("orders");
    for node in cluster.nodes() {
        for topic in ["orders", "absent", "ord*"] {
            node.get(&format!("/topics/{topic}/subscribers"))
                .expect_problem(404, "TOPIC_NOT_FOUND");
        }
    }
    cluster[0].create_topic("orders");
    await_ids(&cluster, &[]);
}

#[test]
fn subscribers_of_a_dead_node_are_listed_no_more() {
    let cluster = Cluster::with_topic(2, "orders");
    let (mut first, mut second) = (cluster[0].ws(), cluster[1].ws());
    first.subscribe("orders", "dies");
    second.subscribe("orders", "lives");
    cluster[0].kill();
    within(DEAD_NODE_LIMIT, "one subscriber is left", || {
        ids(&list(&cluster[1], "")) == ["lives"]
    });
}

#[test]
fn after_redis_lost_everything_a_subscription_is_as_old_as_before() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut client = cluster[0].ws();
    let ack = client.subscribe("orders", "c");
    cluster.redis().restart_empty();
    let mut since = Value::Null;
    within(REJOIN_LIMIT, "the subscriber is listed again", || {
        let reply = cluster[1].get("/topics/orders/subscribers");
        let is_there = reply.status == 200 && ids(&reply.json()) == ["c"];
        if is_there {
            since = reply.json()["subscribers"][0]["since"].clone();
        }
        is_there
    });
    assert!(since.as_str() <= ack["ts"].as_str(), "{since} {ack}");
}
