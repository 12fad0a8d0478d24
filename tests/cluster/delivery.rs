//! A publish on one node reaches the subscribers of all nodes: in order, once, byte for byte.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Account, Cluster, Follower, Node, Publisher, Setup, audit};
use crate::harness::{Dial, SequenceChecker, WsClient, epoch_of, publish_text, seq_of, uuid_of};

/// Payloads of which a parser that reads and writes them again would change something.
const VERBATIM: [&str; 10] = [
    "null",
    "\"\"",
    "{}",
    "[ 1 ,\t2 ]",
    "1E400",
    "-0.0",
    "12345678901234567890123456789012345678901234567890.10",
    r#""\u00e9\/\ud83d\ude00 é😀 \u0000""#,
    r#"{"b":1,"a":2,"b":3}"#,
    r#"{"bulk":"$5\r\n*3\r\n","zero":"\u0000"}"#,
];

/// The largest message, without what surrounds the payload.
const LARGE_PAYLOAD_BYTES: usize = (1 << 20) - 400;

#[test]
fn events_reach_the_subscribers_of_all_nodes_once_and_in_order() {
    let cluster = Cluster::with_topic(3, "orders");
    let followers = cluster.follow("orders");
    for (node, first) in [(0, 1), (1, 201), (2, 401)] {
        let seqs = cluster[node].publish("orders", first, first + 199);
        assert_eq!(seqs, (first..first + 200).collect::<Vec<_>>());
    }
    let ids: Vec<String> = (1..=600).map(uuid_of).collect();
    for follower in &followers {
        follower.expect_whole(600);
        assert_eq!(follower.account().ids(), ids);
    }
}

/// The script reads a record only where it is not what the node expects.
#[test]
fn redis_numbers_as_the_node_expects_while_nobody_else_publishes() {
    let cluster = Cluster::with_topic(2, "orders");
    let reads = || {
        let calls = cluster.redis().info("commandstats", "cmdstat_get");
        let calls = calls.split(['=', ',']).nth(1);
        calls.and_then(|calls| calls.parse::<u64>().ok()).unwrap()
    };
    let publish = |node: usize, number| {
        assert_eq!(cluster[node].publish("orders", number, number), [number]);
    };
    publish(0, 1);
    let before = reads();
    (2..=51).for_each(|number| publish(0, number));
    assert_eq!(reads(), before);
    (52..=71).for_each(|number| publish(number as usize % 2, number));
    publish(1, 72);
    let followers = cluster.follow("orders");
    (73..=92).for_each(|number| publish(number as usize % 2, number));
    for follower in &followers {
        follower.await_position(92);
    }
}

#[test]
fn payload_arrives_byte_for_byte_on_every_node() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut subscribers: Vec<WsClient> = cluster.nodes().iter().map(subscribed).collect();
    let mut publisher = cluster[0].ws();
    let deepest = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    for payload in VERBATIM.into_iter().chain([&*deepest]) {
        publisher.send_text(&publish_text("orders", payload, "p"));
        publisher.expect_ack("p");
        for subscriber in &mut subscribers {
            let text = subscriber.next_text();
            let message = format!(r#""message":{{"id":"{}","payload":{payload}}}"#, uuid_of(1));
            assert!(text.contains(&message), "{message} is not in {text}");
        }
    }
    let histories = cluster.nodes().iter().map(|node| {
        let reply = node.get("/topics/orders/messages");
        String::from_utf8(reply.body).unwrap()
    });
    for history in histories {
        for payload in VERBATIM {
            assert!(history.contains(&format!(r#""payload":{payload}}}"#)));
        }
    }
}

#[test]
fn id_arrives_as_it_was_written() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut subscriber = subscribed(&cluster[1]);
    let mut publisher = cluster[0].ws();
    for id in [
        "550E8400-E29B-41D4-A716-446655440000",
        "550e8400e29b41d4a716446655440000",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
    ] {
        let message = json!({"id": id, "payload": 1});
        publisher.ask(json!({"type": "publish", "topic": "orders", "message": message}));
        assert_eq!(subscriber.next_event()["message"], message);
    }
}

#[test]
fn messages_of_a_megabyte_arrive_whole_on_all_nodes() {
    let cluster = Cluster::with_topic(3, "orders");
    let mut subscribers: Vec<WsClient> = cluster.nodes().iter().map(subscribed).collect();
    let payload = format!("\"{}\"", "é".repeat(LARGE_PAYLOAD_BYTES / 2));
    for node in cluster.nodes() {
        let mut publisher = node.ws();
        publisher.send_text(&publish_text("orders", &payload, "p"));
        publisher.expect_ack("p");
        for subscriber in &mut subscribers {
            let text = subscriber.next_text();
            assert!(text.contains(&payload), "{} bytes", text.len());
        }
    }
}

#[test]
fn burst_larger_than_the_queue_reaches_other_nodes_whole() {
    for queue in ["1", "10"] {
        let cluster = Setup::of(3).set("PUBSUB_MAX_QUEUE_SIZE", queue).start();
        cluster[0].create_topic("orders");
        let followers = cluster.follow("orders");
        let mut publisher = cluster[0].ws();
        for burst in 1..=10 {
            publish_in_one_write(&mut publisher, burst * 200 - 199, 200);
            for follower in &followers {
                follower.expect_whole(burst * 200);
            }
        }
    }
}

#[test]
fn publishers_on_all_nodes_make_one_order_for_all() {
    let cluster = Setup::of(3).set("PUBSUB_MAX_QUEUE_SIZE", "100000").start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    let start = |n: usize| Publisher::start(&cluster[n % 3], "orders", Duration::ZERO);
    let publishers: Vec<_> = (0..6).map(start).collect();
    publishers
        .iter()
        .for_each(|publisher| publisher.await_acked(300));
    let published: Vec<_> = publishers.into_iter().map(Publisher::stop).collect();
    let count: usize = published.iter().map(|one| one.acked.len()).sum();
    for follower in &followers {
        follower.expect_whole(count as u64);
    }
    audit(&published, &followers);
}

#[test]
fn publisher_that_subscribes_receives_its_own_events_once_among_those_of_others() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut both = subscribed(&cluster[0]);
    thread::scope(|scope| {
        scope.spawn(|| cluster[1].publish("orders", 1, 200));
        both.publish_many("orders", 201, 400);
    });
    SequenceChecker::starting_after("orders", 0).read_until(&mut both, 400);
}

#[test]
fn acks_carry_seq_and_epoch() {
    let cluster = Cluster::with_topic(2, "orders");
    let epoch = cluster[0].epoch("orders");
    for (n, node) in cluster.nodes().iter().enumerate() {
        let n = n as u64;
        let message = json!({"id": uuid_of(n), "payload": n});
        let publish = json!({"type": "publish", "topic": "orders", "message": message});
        let ack = node.ws().ask(publish);
        assert_eq!((seq_of(&ack), epoch_of(&ack)), (2 * n + 1, &*epoch));
        let body = json!({"payload": n});
        let created = node.post("/topics/orders/messages", &body).expect(201);
        assert_eq!((seq_of(&created), epoch_of(&created)), (2 * n + 2, &*epoch));
        let subscribed = node.ws().subscribe("orders", "c");
        assert_eq!(seq_of(&subscribed), 2 * n + 2);
        assert_eq!(epoch_of(&subscribed), epoch);
    }
}

#[test]
fn rest_publishes_reach_the_subscribers_of_all_nodes() {
    let cluster = Cluster::with_topic(3, "orders");
    let followers = cluster.follow("orders");
    for n in 0..30_u64 {
        let node = &cluster[n as usize % 3];
        let body = json!({"id": uuid_of(n), "payload": n});
        let created = node.post("/topics/orders/messages", &body).expect(201);
        assert_eq!(seq_of(&created), n + 1);
    }
    let ids: Vec<String> = (0..30).map(uuid_of).collect();
    for follower in &followers {
        follower.expect_whole(30);
        assert_eq!(follower.account().ids(), ids);
    }
}

#[test]
fn what_was_acked_before_a_subscribe_on_another_node_is_before_its_ack() {
    let cluster = Cluster::with_topic(2, "orders");
    let (mut publisher, mut subscriber) = (cluster[0].ws(), cluster[1].ws());
    for n in 1..=50 {
        assert_eq!(publisher.publish("orders", &json!(n)), n);
        assert_eq!(seq_of(&subscriber.subscribe("orders", "c")), n);
        assert_eq!(seq_of(&subscriber.unsubscribe("orders", "c")), n);
    }
    assert_eq!(subscriber.fence(), Vec::<Value>::new());
}

#[test]
fn subscribe_on_another_node_while_publishing_misses_and_doubles_nothing() {
    let cluster = Setup::of(2)
        .set("PUBSUB_MAX_QUEUE_SIZE", "1000")
        .set("PUBSUB_HISTORY_SIZE", "10000")
        .start();
    cluster[0].create_topic("orders");
    let publisher = Publisher::start(&cluster[0], "orders", Duration::ZERO);
    for n in 0..20_u64 {
        let mut client = cluster[1].ws();
        let fields = json!({"last_n": n * 5});
        let head = seq_of(&client.subscribe_with("orders", "c", &fields));
        let start = head.saturating_sub(n * 5);
        let mut checker = SequenceChecker::starting_after("orders", start);
        checker.read_until(&mut client, head + 20);
        assert_eq!(checker.skipped, 0);
    }
    publisher.stop();
}

/// Two nodes with a small queue, and a subscriber on the second that reads nothing.
fn with_slow_reader(overflow: &str) -> (Cluster, WsClient) {
    let cluster = Setup::of(2)
        .set("PUBSUB_MAX_QUEUE_SIZE", "20")
        .set("PUBSUB_OVERFLOW", overflow)
        .start();
    cluster[0].create_topic("orders");
    let dial = Dial::to(cluster[1].addr());
    let mut slow = dial.receive_buffer(4 << 10).connect();
    slow.subscribe("orders", "slow");
    (cluster, slow)
}

/// Publishes 400 messages of 4 KiB on the first node, as fast as the others read.
fn publish_as_fast_as_others_read(cluster: &Cluster, followers: &[Follower]) {
    let mut publisher = cluster[0].ws();
    for head in (10..=400).step_by(10) {
        publisher.publish_padded("orders", head - 9, head, 4 << 10);
        for follower in followers {
            follower.expect_whole(head);
        }
    }
}

#[test]
fn slow_reader_is_reported_its_gap_and_delays_nobody() {
    let (cluster, mut slow) = with_slow_reader("drop_oldest");
    let followers = cluster.follow("orders");
    publish_as_fast_as_others_read(&cluster, &followers);
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(&mut slow, 400);
    assert!(checker.skipped > 0 && checker.received > 0, "{checker:?}");
}

#[test]
fn slow_reader_is_disconnected_and_leaves_the_counts_of_all() {
    let (cluster, mut slow) = with_slow_reader("disconnect");
    let followers = cluster.follow("orders");
    cluster[0].await_subscribers("orders", 3);
    publish_as_fast_as_others_read(&cluster, &followers);
    assert_eq!(slow.last_error_before_close(4100), "SLOW_CONSUMER");
    for node in cluster.nodes() {
        node.await_subscribers("orders", 2);
    }
}

#[test]
fn timestamps_never_go_back() {
    let cluster = Setup::of(3).set("PUBSUB_MAX_QUEUE_SIZE", "1000").start();
    cluster[0].create_topic("orders");
    let followers = cluster.follow("orders");
    thread::scope(|scope| {
        for (n, node) in cluster.nodes().iter().enumerate() {
            let first = n as u64 * 200;
            scope.spawn(move || node.publish("orders", first, first + 199));
        }
    });
    for follower in &followers {
        follower.expect_whole(600);
        let events = follower.look(|account: &Account| account.events.clone());
        assert!(events.is_sorted_by_key(|event| event.ts.clone()));
    }
}

#[test]
fn topics_do_not_mix() {
    let cluster = Cluster::of(2);
    let topics: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let mut subscriber = cluster[1].ws();
    for topic in &topics {
        cluster[0].create_topic(topic);
        subscriber.subscribe(topic, "c");
    }
    let mut publisher = cluster[0].ws();
    for n in 1..=10 {
        for topic in &topics {
            publisher.publish(topic, &json!(topic));
        }
        let mut expected = topics.clone();
        for _ in &topics {
            let event = subscriber.next_event();
            assert_eq!(seq_of(&event), n);
            assert_eq!(event["topic"], event["message"]["payload"]);
            expected.retain(|topic| event["topic"] != **topic);
        }
        assert!(expected.is_empty(), "nothing of {expected:?}");
    }
}

#[test]
fn unsubscribed_client_gets_nothing_from_any_node() {
    let cluster = Cluster::with_topic(2, "orders");
    let mut subscriber = cluster[1].ws();
    subscriber.subscribe("orders", "c");
    let witness = Follower::start(&cluster[1], "orders", "witness");
    cluster[0].publish("orders", 1, 10);
    subscriber.next_events(10);
    assert_eq!(seq_of(&subscriber.unsubscribe("orders", "c")), 10);
    cluster[0].publish("orders", 11, 20);
    witness.expect_whole(20);
    assert_eq!(subscriber.fence(), Vec::<Value>::new());
}

/// A connection with a subscription of its own.
fn subscribed(node: &Node) -> WsClient {
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
    let mut client = node.ws();
    client.subscribe("orders", &format!("c{number}"));
    client
}

/// Publishes messages numbered from `first` in one write, so that the server receives them at once.
fn publish_in_one_write(publisher: &mut WsClient, first: u64, count: u64) {
    let numbers = first..first + count;
    let request = |n: u64| {
        let message = json!({"id": uuid_of(n), "payload": n});
        json!({"type": "publish", "topic": "orders", "message": message, "request_id": n.to_string()})
            .to_string()
    };
    let requests: Vec<String> = numbers.clone().map(request).collect();
    publisher.send_texts(&requests);
    for n in numbers {
        assert_eq!(seq_of(&publisher.expect_ack(&n.to_string())), n);
    }
}
