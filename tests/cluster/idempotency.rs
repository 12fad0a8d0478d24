//! Idempotent publishes across nodes: a message is published once in the whole cluster, whichever node gets it again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use threadcast::client::{Client, Published, Start};

use crate::cluster::{Cluster, Follower, Node, SLACK, Setup, UNAVAILABLE_LIMIT, Way, within};
use crate::harness::{DEADLINE, WsClient, code_of, epoch_of, eventually, seq_of, uuid_of};

const LIMIT: Duration = Duration::from_secs(60);

fn publish(n: u64) -> Value {
    json!({"type": "publish", "topic": "orders", "message": {"id": uuid_of(n), "payload": n}, "idempotent": true})
}

/// Publishes, and returns the seq and whether it is that of an earlier message.
fn once(node: &Node, n: u64) -> (u64, bool) {
    outcome(&node.ws().ask(publish(n)))
}

fn outcome(ack: &Value) -> (u64, bool) {
    assert_eq!(ack["status"], "ok", "{ack}");
    (seq_of(ack), ack.get("duplicate").is_some())
}

#[test]
fn message_published_again_on_another_node_is_a_duplicate() {
    let cluster = Cluster::with_topic(2, "orders");
    let follower = Follower::start(&cluster[1], "orders", "f");
    let first = cluster[0].ws().ask(publish(7));
    assert_eq!(outcome(&first), (1, false));
    cluster[0].publish("orders", 1, 3);
    for node in cluster.nodes() {
        let again = node.ws().ask(publish(7));
        assert_eq!(outcome(&again), (1, true));
        assert_eq!(
            (&again["ts"], &again["epoch"]),
            (&first["ts"], &first["epoch"])
        );
        let id = uuid_of(7).to_uppercase().replace('-', "");
        let body = json!({"id": id, "payload": "once", "idempotent": true});
        let again = node.post("/topics/orders/messages", &body).expect(200);
        assert_eq!(outcome(&again), (1, true));
    }
    cluster[1].publish("orders", 4, 4);
    follower.expect_whole(5);
}

#[test]
fn publishes_of_all_nodes_at_once_are_taken_once_each() {
    const MESSAGES: u64 = 300;
    let cluster = Cluster::with_topic(3, "orders");
    let follower = Follower::start(&cluster[2], "orders", "f");
    let answers: Vec<Vec<u64>> = thread::scope(|scope| {
        let threads: Vec<_> = cluster
            .nodes()
            .iter()
            .map(|node| scope.spawn(|| publish_each_twice(&mut node.ws(), MESSAGES)))
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(
        answers.iter().all(|seqs| *seqs == answers[0]),
        "{answers:?}"
    );
    follower.expect_whole(MESSAGES);
    assert_eq!(cluster[0].seq("orders"), MESSAGES);
}

/// Publishes so many messages in one write, each of them twice; returns the seq of each.
fn publish_each_twice(publisher: &mut WsClient, count: u64) -> Vec<u64> {
    let request = |n: u64, id: String| {
        let mut request = publish(n);
        request["request_id"] = json!(id);
        request.to_string()
    };
    let twice = |n| [request(n, format!("a{n}")), request(n, format!("b{n}"))];
    publisher.send_texts(&(0..count).flat_map(twice).collect::<Vec<_>>());
    let mut seqs = Vec::new();
    for n in 0..count {
        let first = seq_of(&publisher.expect_ack(&format!("a{n}")));
        let second = publisher.expect_ack(&format!("b{n}"));
        assert_eq!(outcome(&second), (first, true));
        seqs.push(first);
    }
    seqs
}

#[test]
fn batch_with_known_and_new_messages_publishes_the_new_ones_in_order() {
    let cluster = Cluster::with_topic(2, "orders");
    let follower = Follower::start(&cluster[1], "orders", "f");
    for (seq, n) in (1..).zip([20, 23]) {
        assert_eq!(once(&cluster[0], n), (seq, false));
    }
    let mut publisher = cluster[1].ws();
    let texts = (20..26).map(|n| {
        let mut request = publish(n);
        request["request_id"] = json!(format!("r{n}"));
        request.to_string()
    });
    publisher.send_texts(&texts.collect::<Vec<_>>());
    let acks = (20..26).map(|n| publisher.expect_ack(&format!("r{n}")));
    let acks: Vec<_> = acks.collect();
    let outcomes: Vec<_> = acks.iter().map(outcome).collect();
    let expected = [
        (1, true),
        (3, false),
        (4, false),
        (2, true),
        (5, false),
        (6, false),
    ];
    assert_eq!(outcomes, expected);
    let page = cluster[0].get("/topics/orders/messages").expect(200);
    let events = page["events"].as_array().unwrap();
    let payloads: Vec<_> = events
        .iter()
        .map(|event| &event["message"]["payload"])
        .collect();
    assert_eq!(payloads, [20, 23, 21, 22, 24, 25]);
    for (ack, (seq, _)) in acks.iter().zip(expected) {
        assert_eq!(ack["ts"], events[seq as usize - 1]["ts"], "{ack}");
    }
    follower.expect_whole(6);
}

#[test]
fn window_passes_in_the_whole_cluster_and_redis_forgets_the_ids() {
    let cluster = Setup::of(2)
        .set("PUBSUB_IDEMPOTENCY_WINDOW_SECS", "2")
        .start();
    cluster[0].create_topic("orders");
    assert_eq!(once(&cluster[0], 1), (1, false));
    let mut duplicates = 0;
    eventually("the window passes on the other node", || {
        let (seq, duplicate) = once(&cluster[1], 1);
        duplicates += u64::from(duplicate);
        assert_eq!(seq, if duplicate { 1 } else { 2 });
        !duplicate
    });
    assert!(duplicates > 0, "none within the window");
    eventually("the ids are gone from Redis", || {
        keys(&cluster, "ids") == 0 && keys(&cluster, "id-order") == 0
    });
}

/// How many keys of the topic there are with this name.
fn keys(cluster: &Cluster, name: &str) -> i64 {
    ask_redis(cluster, "EXISTS", name)
}

/// The answer to a command about a key of the topic.
fn ask_redis(cluster: &Cluster, command: &str, name: &str) -> i64 {
    let key = format!("{}:{{orders}}:{name}", cluster.prefix());
    cluster.redis().command(&[command, &key]).number()
}

#[test]
fn newest_ten_thousand_ids_are_remembered_in_redis() {
    const MAX_IDS: u64 = 10_000;
    let cluster = Cluster::with_topic(2, "orders");
    let mut publisher = cluster[0].ws();
    let mut publish_range = |range: std::ops::RangeInclusive<u64>| {
        let numbers: Vec<u64> = range.collect();
        for chunk in numbers.chunks(250) {
            let texts = chunk.iter().map(|n| {
                let mut request = publish(*n);
                request["request_id"] = json!(format!("r{n}"));
                request.to_string()
            });
            publisher.send_texts(&texts.collect::<Vec<_>>());
            for n in chunk {
                assert_eq!(
                    outcome(&publisher.expect_ack(&format!("r{n}"))),
                    (*n, false)
                );
            }
        }
    };
    publish_range(1..=MAX_IDS + 300);
    let max_ids = i64::try_from(MAX_IDS).unwrap();
    // And the epoch.
    assert_eq!(ask_redis(&cluster, "HLEN", "ids"), max_ids + 1);
    assert_eq!(ask_redis(&cluster, "LLEN", "id-order"), max_ids);
    let bytes = ["ids", "id-order"].map(|name| {
        let key = format!("{}:{{orders}}:{name}", cluster.prefix());
        cluster
            .redis()
            .command(&["MEMORY", "USAGE", &key, "SAMPLES", "0"])
            .number()
    });
    println!("{bytes:?} bytes");
    assert!(bytes.iter().sum::<i64>() < 2_000_000, "{bytes:?} bytes");
    assert_eq!(once(&cluster[1], 301), (301, true));
    assert_eq!(once(&cluster[1], MAX_IDS + 300), (MAX_IDS + 300, true));
    assert_eq!(once(&cluster[1], 300), (MAX_IDS + 301, false));
}

#[test]
fn topic_created_again_remembers_nothing() {
    let cluster = Cluster::with_topic(2, "orders");
    assert_eq!(once(&cluster[0], 1), (1, false));
    assert_eq!(keys(&cluster, "ids"), 1);
    cluster[1].delete_topic("orders");
    assert_eq!(keys(&cluster, "ids") + keys(&cluster, "id-order"), 0);
    cluster[1].create_topic("orders");
    let ack = cluster[0].ws().ask(publish(1));
    assert_eq!(outcome(&ack), (1, false));
    assert_eq!(epoch_of(&ack), epoch_of(&cluster[1].topic("orders")));
    assert_eq!(once(&cluster[1], 1), (1, true));
}

#[test]
fn messages_without_the_field_leave_nothing_in_redis() {
    let cluster = Cluster::with_topic(2, "orders");
    cluster[0].publish("orders", 1, 10);
    assert_eq!(keys(&cluster, "ids") + keys(&cluster, "id-order"), 0);
    assert_eq!(once(&cluster[1], 5), (11, false), "it was not remembered");
    assert_eq!(keys(&cluster, "ids") + keys(&cluster, "id-order"), 2);
}

const PUBLISHERS: usize = 8;
const MESSAGES: usize = 150;

/// The receipt and the payload of each message.
type Receipts = Vec<(Published, String)>;

/// A client that knows these nodes, and begins with the one of this number.
fn client_of(cluster: &Cluster, first: usize) -> Client {
    let nodes = cluster.nodes();
    let urls =
        (0..nodes.len()).map(|n| format!("ws://{}/ws", nodes[(first + n) % nodes.len()].addr()));
    Client::builder(&urls.collect::<Vec<_>>().join(","))
        .connect_timeout(DEADLINE)
        .request_timeout(LIMIT)
        .reconnect_pauses(Duration::from_millis(10), Duration::from_millis(100))
        .connect()
        .expect("a node")
}

/// Publishes from eight clients while `harm` is done again and again; returns the receipts.
fn publish_all(cluster: &Cluster, harm: impl Fn(usize) + Sync) -> Receipts {
    let working = AtomicUsize::new(PUBLISHERS);
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let publish = |publisher: usize| {
            let client = client_of(cluster, publisher);
            let payloads = (0..MESSAGES).map(|number| format!("{publisher}-{number}"));
            let publish = |payload: String| (publish_on(&client, &payload), payload);
            payloads.map(publish).collect::<Receipts>()
        };
        let (working, failed) = (&working, &failed);
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                scope.spawn(move || {
                    let receipts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        publish(publisher)
                    }));
                    failed.fetch_or(receipts.is_err(), Ordering::SeqCst);
                    working.fetch_sub(1, Ordering::SeqCst);
                    receipts.unwrap_or_default()
                })
            })
            .collect();
        let mut round = 0;
        while working.load(Ordering::SeqCst) > 0 {
            harm(round);
            round += 1;
            thread::park_timeout(Duration::from_millis(20));
        }
        let receipts = publishers
            .into_iter()
            .flat_map(|publisher| publisher.join().unwrap());
        let receipts = receipts.collect();
        assert!(!failed.load(Ordering::SeqCst), "a publisher failed");
        receipts
    })
}

/// Publishes a message until there is a receipt: a node without Redis cannot tell whether it was published.
fn publish_on(client: &Client, payload: &str) -> Published {
    let id = uuid::Uuid::new_v4().to_string();
    let mut receipt = None;
    within(LIMIT, "a receipt", || {
        receipt = match client.publish_with_id("orders", &id, payload) {
            Ok(receipt) => Some(receipt),
            Err(error) if error.code() == Some("UNAVAILABLE") => None,
            Err(error) => panic!("{error:?}"),
        };
        receipt.is_some()
    });
    receipt.unwrap()
}

/// Every message is in the history once, and its receipt is that of its event.
fn check(cluster: &Cluster, node: usize, receipts: Receipts) {
    let client = client_of(cluster, node);
    let history = client.history("orders", &Start::Last(u64::MAX)).unwrap();
    let kept = history.events.into_iter().map(|event| {
        let payload = event.payload::<String>().unwrap();
        (
            event.seq(),
            (event.id().to_owned(), event.ts().to_owned(), payload),
        )
    });
    let kept: HashMap<u64, _> = kept.collect();
    let duplicates = receipts.iter().filter(|(receipt, _)| receipt.duplicate);
    println!("{} duplicates", duplicates.count());
    assert_eq!(
        (kept.len(), receipts.len()),
        (PUBLISHERS * MESSAGES, PUBLISHERS * MESSAGES)
    );
    for (receipt, payload) in receipts {
        let expected = (receipt.id, receipt.ts, payload);
        assert_eq!(kept.get(&receipt.seq), Some(&expected));
    }
}

fn cluster_with_long_history() -> Cluster {
    let cluster = Setup::of(2).with_proxies().start();
    cluster[0].create_topic_with(
        "orders",
        &json!({"history_size": PUBLISHERS * MESSAGES, "max_queue_size": 100_000}),
    );
    cluster
}

#[test]
fn every_message_is_published_once_while_connections_to_nodes_are_killed() {
    let cluster = cluster_with_long_history();
    let follower = Follower::start(&cluster[1], "orders", "f");
    let kills = AtomicUsize::new(0);
    let receipts = publish_all(&cluster, |round| {
        let node = &cluster[round % 2];
        let list = node.get("/connections").expect(200);
        let publishing = list["connections"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|connection| {
                let subscriptions = connection["subscriptions"].as_array();
                connection["protocol"] == "websocket" && subscriptions.is_none_or(Vec::is_empty)
            });
        for connection in publishing.take(2) {
            let killed = node.delete(&format!("/connections/{}", connection["id"]));
            kills.fetch_add(usize::from(killed.status == 200), Ordering::SeqCst);
        }
    });
    assert!(kills.load(Ordering::SeqCst) > 5, "too few kills");
    check(&cluster, 0, receipts);
    follower.expect_whole((PUBLISHERS * MESSAGES) as u64);
}

#[test]
fn every_message_is_published_once_while_connections_to_redis_break() {
    let cluster = cluster_with_long_history();
    let follower = Follower::start(&cluster[1], "orders", "f");
    let receipts = publish_all(&cluster, |round| {
        if round % 10 == 0 {
            cluster.proxy(round / 10 % 2).drop_connections();
        }
    });
    check(&cluster, 1, receipts);
    follower.expect_whole((PUBLISHERS * MESSAGES) as u64);
}

#[test]
fn every_message_is_published_once_when_a_node_dies() {
    let cluster = cluster_with_long_history();
    let follower = Follower::start(&cluster[1], "orders", "f");
    let receipts = publish_all(&cluster, |round| {
        if round == 5 {
            cluster[0].kill();
        }
    });
    check(&cluster, 1, receipts);
    follower.expect_whole((PUBLISHERS * MESSAGES) as u64);
}

/// Publishes over a node whose connection to Redis breaks when Redis has taken the message, before its answer; returns the reply.
fn publish_without_answer(cluster: &Cluster, request: &Value) -> Value {
    let mut publisher = cluster[0].ws();
    let before = cluster[1].seq("orders");
    cluster.proxy(0).hold(&[Way::FromRedis]);
    let mut request = request.clone();
    request["request_id"] = json!("r");
    publisher.send(&request);
    eventually("Redis has the message", || {
        cluster[1].seq("orders") > before
    });
    cluster.proxy(0).drop_connections();
    cluster.proxy(0).heal();
    publisher.expect_reply("r")
}

#[test]
fn node_repeats_an_idempotent_publish_whose_answer_was_lost_and_no_other() {
    let cluster = cluster_with_long_history();
    let mut is_repeated = false;
    // A busy machine may not connect again in time.
    for n in 1..=10 {
        let start = Instant::now();
        let reply = publish_without_answer(&cluster, &publish(n));
        assert!(start.elapsed() < UNAVAILABLE_LIMIT + SLACK, "{reply}");
        cluster.await_ready();
        match reply["type"] == "ack" {
            true => assert_eq!(outcome(&reply), (n, true)),
            false => assert_eq!(code_of(&reply), "UNAVAILABLE"),
        }
        is_repeated |= reply["type"] == "ack";
        assert_eq!(once(&cluster[1], n), (n, true));
    }
    assert!(is_repeated, "none was repeated");
    let mut plain = publish(11);
    plain.as_object_mut().unwrap().remove("idempotent");
    let reply = publish_without_answer(&cluster, &plain);
    assert_eq!(code_of(&reply), "UNAVAILABLE");
    cluster.await_ready();
    assert_eq!(cluster[1].seq("orders"), 11);
}
