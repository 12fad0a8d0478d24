//! Many publishers and subscribers at once: nobody pays for what others do, and every book is exact.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Account, DEADLINE, Dial, Frame, OverflowPolicy, TestServer, WsClient, eventually, in_time,
    publish_text, seq_of, settled,
};

const PUBLISHERS: usize = 4;

/// Publishes `each` messages from every publisher at the same moment, each publisher's in one write.
fn burst_together(server: &TestServer, topic: &str, each: usize) {
    let barrier = Barrier::new(PUBLISHERS);
    let publish = || {
        let mut publisher = server.ws();
        let frame = |n: usize| Frame::text(&publish_text(topic, "1", &n.to_string())).masked();
        let burst: Vec<u8> = (1..=each).flat_map(frame).collect();
        barrier.wait();
        publisher.send_bytes(&burst);
        publisher.expect_ack(&each.to_string());
    };
    thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(publish);
        }
    });
}

#[test]
fn publishers_that_burst_together_make_no_idle_subscriber_slow() {
    let (rounds, subscribers, each) = (4, 40, 150);
    for overflow in [OverflowPolicy::DropOldest, OverflowPolicy::Disconnect] {
        let server = TestServer::with(|config| config.overflow = overflow);
        server.create_topic("orders");
        let mut clients: Vec<_> = (0..subscribers)
            .map(|n| {
                let mut client = server.ws();
                client.subscribe("orders", &format!("c{n}"));
                (client, Account::starting_after("orders", 0))
            })
            .collect();
        for round in 1..=rounds {
            burst_together(&server, "orders", each);
            for (client, account) in &mut clients {
                account.read_until(client, (round * PUBLISHERS * each) as u64);
                assert_eq!(account.told, 0, "{overflow}, round {round}");
            }
        }
    }
}

/// Each of two connections subscribes as the same client, again and again, and both at the same moment.
#[test]
fn of_two_that_take_each_other_over_each_is_told_after_its_ack() {
    let server = TestServer::with_topic("orders");
    let barrier = Barrier::new(2);
    let subscribe_often = || {
        let mut client = server.ws();
        let (mut live, mut too_early) = (false, 0);
        for _ in 0..500 {
            barrier.wait();
            client.send(&json!({"type": "subscribe", "topic": "orders", "client_id": "c"}));
            loop {
                let message = client.next_json();
                if message["type"] == "ack" {
                    break;
                }
                assert_eq!(message["msg"], "subscription_replaced");
                too_early += u32::from(!live);
                live = false;
            }
            live = true;
        }
        too_early
    };
    thread::scope(|scope| {
        let both = [scope.spawn(subscribe_often), scope.spawn(subscribe_often)];
        let too_early = both.map(|client| client.join().unwrap());
        assert_eq!(too_early, [0, 0], "notices before the ack they belong to");
    });
}

/// A connection that reads one topic too slowly still gets the events of its other topic in between.
#[test]
fn a_busy_topic_keeps_no_other_topic_of_the_connection_waiting() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 500;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("busy");
    server.create_topic("rare");
    let mut client = server.narrow_ws();
    client.subscribe("busy", "c");
    client.subscribe("rare", "c");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flood = || {
            let mut publisher = server.ws();
            while !stop.load(Ordering::Relaxed) {
                publisher.publish_padded("busy", 1, 100, 4 << 10);
            }
        };
        (0..3).for_each(|_| drop(scope.spawn(flood)));
        eventually("more is published than the client reads", || {
            seq_of(&server.topic("busy")) > 1000
        });
        server.ws().publish("rare", &json!(1));
        let is_rare = |message: &Value| message["topic"] == "rare";
        let found = (0..1000).any(|_| is_rare(&client.next_json()));
        stop.store(true, Ordering::Relaxed);
        assert!(found, "the other topic's event does not come");
    });
}

/// What a publisher was still holding back when another thread ended its connection reaches the subscribers.
#[test]
fn what_a_connection_published_before_it_was_ended_is_delivered() {
    let server = TestServer::with(|config| config.max_queue_size = 1000);
    let narrow = json!({"overflow": "disconnect", "max_queue_size": 1});
    server.create_topic_with("narrow", &narrow);
    server.create_topic("orders");
    let (mut subscriber, mut ender) = (server.ws(), server.ws());
    subscriber.subscribe("orders", "c");
    let mut account = Account::starting_after("orders", 0);
    let frame = |n: u32| Frame::text(&publish_text("orders", "1", &n.to_string())).masked();
    let burst: Vec<u8> = (0..200).flat_map(frame).collect();
    for _ in 0..10 {
        let mut publisher = server.narrow_ws();
        publisher.subscribe("narrow", "p");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let publish =
                || while publisher.try_send_bytes(&burst) && !ended.load(Ordering::Relaxed) {};
            scope.spawn(publish);
            while server.topic("narrow")["subscribers"] == 1 {
                ender.publish_padded("narrow", 1, 10, 16 << 10);
            }
            ended.store(true, Ordering::Relaxed);
        });
        publisher.reset();
        let end = settled(Duration::from_millis(30), || {
            seq_of(&server.topic("orders"))
        });
        account.read_until(&mut subscriber, end);
    }
}

/// A subscribe that meets the end of its own connection leaves no subscription behind, not even for as long as the
/// close frame is not taken.
#[test]
fn a_connection_that_is_ended_while_it_subscribes_subscribes_nothing() {
    let server = TestServer::with(|config| config.write_timeout = Duration::from_secs(60));
    let narrow = json!({"overflow": "disconnect", "max_queue_size": 1});
    server.create_topic_with("narrow", &narrow);
    server.create_topic("orders");
    let mut ender = server.ws();
    let frame = |kind: &str| {
        let request = json!({"type": kind, "topic": "orders", "client_id": "c"});
        Frame::text(&request.to_string()).masked()
    };
    let burst = [frame("subscribe"), frame("unsubscribe")]
        .concat()
        .repeat(100);
    for _ in 0..20 {
        let mut client = server.narrow_ws();
        client.subscribe("narrow", "c");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let subscribe =
                || while client.try_send_bytes(&burst) && !ended.load(Ordering::Relaxed) {};
            scope.spawn(subscribe);
            while server.topic("narrow")["subscribers"] == 1 {
                ender.publish_padded("narrow", 1, 10, 16 << 10);
            }
            ended.store(true, Ordering::Relaxed);
        });
        server.await_subscribers("orders", 0);
        client.reset();
    }
}

/// Two connections take each other over while the topic comes and goes: every request is still answered.
#[test]
fn a_takeover_of_a_topic_that_comes_and_goes_leaves_no_request_unanswered() {
    let server = TestServer::with_topic("orders");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = |client_id: &'static str| {
            let (server, over) = (&server, &over);
            move || {
                let mut client = server.ws();
                for _ in 0..150 {
                    let subscribe = json!({"type": "subscribe", "topic": "orders", "client_id": client_id, "last_n": 1});
                    client.ask(subscribe);
                    client.ask(json!({"type": "ping"}));
                    client.discard_set_aside();
                }
                over.store(true, Ordering::SeqCst);
            }
        };
        for client_id in ["a", "a", "b", "b"] {
            scope.spawn(churn(client_id));
        }
        let mut publisher = server.ws();
        while !over.load(Ordering::SeqCst) {
            publisher.ask(publish_request());
            server.delete_topic("orders");
            server.create_topic("orders");
        }
    });
}

fn publish_request() -> Value {
    let id = "550e8400-e29b-41d4-a716-446655440000";
    json!({"type": "publish", "topic": "orders", "message": {"id": id, "payload": 1}})
}

/// A handshake that meets the shutdown is refused, or answered before anything else is sent and then told like all.
#[test]
fn a_handshake_during_a_shutdown_is_refused_or_told() {
    for round in (0..40).step_by(2) {
        let server = TestServer::start();
        let sent = AtomicUsize::new(0);
        let request = Dial::request_fields(server.addr()) + "\r\n";
        let mut clients: Vec<_> = (0..50)
            .map(|_| TcpStream::connect(server.addr()).unwrap())
            .collect();
        eventually("every client has its thread", || {
            server.health()["connections"] == 51
        });
        thread::scope(|scope| {
            let handshakes = || {
                for client in &mut clients {
                    // The server may be gone already.
                    let _ = client.write_all(request.as_bytes());
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                clients.drain(..).for_each(expect_refusal_or_farewell);
            };
            let clients = scope.spawn(handshakes);
            while sent.load(Ordering::Relaxed) < round {
                thread::yield_now();
            }
            in_time("shutdown", || server.shutdown());
            clients.join().unwrap();
        });
    }
}

/// Reads up to the close frame, or to the end.
fn expect_refusal_or_farewell(mut client: TcpStream) {
    const CLOSE_1001: [u8; 2] = 1001u16.to_be_bytes();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut received = Vec::new();
    let mut piece = [0; 1024];
    let told = |bytes: &[u8]| bytes.windows(2).any(|pair| pair == CLOSE_1001);
    while !told(&received) {
        match client.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => received.extend(&piece[..count]),
        }
    }
    let text = String::from_utf8_lossy(&received);
    let switched = text.starts_with("HTTP/1.1 101") && text.contains("server_shutdown");
    let is_right =
        text.is_empty() || text.starts_with("HTTP/1.1 503") || switched && told(&received);
    assert!(is_right, "{text:?}");
}

/// However far a connection gets before it must wait for its peer to read: what it has published is delivered.
#[test]
fn a_publisher_that_reads_no_replies_holds_nothing_back() {
    let server = TestServer::with(|config| config.send_buffer_bytes = 4 << 10);
    server.create_topic("orders");
    server.create_topic("other");
    let mut subscriber = server.ws();
    subscriber.subscribe("orders", "c");
    let mut account = Account::starting_after("orders", 0);
    let ping = json!({"type": "ping", "request_id": "y".repeat(128)}).to_string();
    let subscribe = json!({"type": "subscribe", "topic": "other", "client_id": "c"}).to_string();
    for pings in (300..900).step_by(50) {
        let mut mute = server.narrow_ws();
        let texts = std::iter::repeat_n(ping.as_str(), pings);
        let publish = publish_text("orders", "1", "p");
        let texts = texts.chain([publish.as_str(), subscribe.as_str()]);
        let frames: Vec<u8> = texts.flat_map(|text| Frame::text(text).masked()).collect();
        mute.send_bytes(&frames);
        let end = settled(Duration::from_millis(50), || {
            seq_of(&server.topic("orders"))
        });
        account.read_until(&mut subscriber, end);
        mute.reset();
    }
}

const TOPICS: [&str; 3] = ["orders", "returns", "refunds"];
const EACH: u64 = 400;
/// What every topic has in the end.
const TOTAL: u64 = PUBLISHERS as u64 * EACH;
/// How far a restless subscriber reads before it changes something.
const STRIDE: u64 = 40;

/// Whatever a subscriber does meanwhile, each of its events was received once, in order, or told as a gap.
#[test]
fn every_kind_of_subscriber_has_exact_books_in_the_end() {
    let server = TestServer::with(|config| {
        config.max_queue_size = 50;
        config.history_size = 200;
        config.send_buffer_bytes = 4 << 10;
    });
    TOPICS.iter().for_each(|topic| server.create_topic(topic));
    let kinds = [read_all, read_late, cut_and_resume, come_and_go, take_over];
    let ready = Barrier::new(TOPICS.len() * kinds.len() + PUBLISHERS);
    thread::scope(|scope| {
        for topic in TOPICS {
            for kind in kinds {
                let (server, ready) = (&server, &ready);
                scope.spawn(move || kind(server, topic, ready));
            }
        }
        for _ in 0..PUBLISHERS {
            scope.spawn(|| publish_everywhere(&server, &ready));
        }
    });
    eventually("no subscription is left", || {
        server.health()["subscribers"] == 0
    });
}

fn publish_everywhere(server: &TestServer, ready: &Barrier) {
    let mut publisher = server.ws();
    ready.wait();
    for first in (1..=EACH).step_by(10) {
        for topic in TOPICS {
            publisher.publish_padded(topic, first, first + 9, 1 << 10);
        }
    }
}

fn subscriber(server: &TestServer, topic: &str, client_id: &str) -> (WsClient, Account) {
    let mut client = server.narrow_ws();
    client.subscribe(topic, client_id);
    (client, Account::starting_after(topic, 0))
}

fn read_all(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut account) = subscriber(server, topic, "all");
    ready.wait();
    account.read_until(&mut client, TOTAL);
}

fn read_late(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut account) = subscriber(server, topic, "late");
    ready.wait();
    eventually("everything is published", || {
        seq_of(&server.topic(topic)) == TOTAL
    });
    account.read_until(&mut client, TOTAL);
    assert!(account.told > 0, "{account:?}");
}

fn cut_and_resume(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut account) = subscriber(server, topic, "cut");
    ready.wait();
    while read_a_stride(&mut client, &mut account) {
        client.reset();
        client = server.narrow_ws();
        client.subscribe_with(topic, "cut", &json!({"after_seq": account.last()}));
    }
}

fn come_and_go(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut account) = subscriber(server, topic, "restless");
    ready.wait();
    while read_a_stride(&mut client, &mut account) {
        let end = seq_of(&client.unsubscribe(topic, "restless"));
        account.read_until(&mut client, end);
        assert_eq!(client.fence().len(), 0, "nothing follows the ack");
        client.subscribe_with(topic, "restless", &json!({"after_seq": end}));
    }
}

fn take_over(server: &TestServer, topic: &str, ready: &Barrier) {
    let (mut client, mut account) = subscriber(server, topic, "contested");
    ready.wait();
    while read_a_stride(&mut client, &mut account) {
        let mut next = server.narrow_ws();
        let start = seq_of(&next.subscribe(topic, "contested"));
        let end = loop {
            let message = client.next_json();
            if message["msg"] == "subscription_replaced" {
                break seq_of(&message);
            }
            account.take(&message);
        };
        account.assert_settled(end);
        assert!(end <= start, "sent up to {end}, but replaced at {start}");
        next.subscribe_with(topic, "contested", &json!({"after_seq": end}));
        next.discard_set_aside();
        client = next;
    }
}

/// `false` when everything is accounted for.
fn read_a_stride(client: &mut WsClient, account: &mut Account) -> bool {
    let goal = TOTAL.min(account.last() + STRIDE);
    while account.last() < goal {
        account.take(&client.next_json());
    }
    account.assert_settled(account.last());
    account.last() < TOTAL
}

/// Publishers that wait for a slow subscriber, for each other and for themselves lose nothing and get on.
#[test]
fn under_block_publishers_that_also_subscribe_drop_nothing() {
    let server = TestServer::with(|config| {
        config.overflow = OverflowPolicy::Block;
        config.max_queue_size = 5;
        config.history_bytes = 16 << 10;
        config.send_buffer_bytes = 4 << 10;
    });
    server.create_topic("orders");
    let (mut slow, mut account) = subscriber(&server, "orders", "slow");
    let ready = Barrier::new(PUBLISHERS);
    let each = 60;
    let total = PUBLISHERS as u64 * each;
    thread::scope(|scope| {
        for n in 0..PUBLISHERS {
            let (server, ready) = (&server, &ready);
            scope.spawn(move || {
                let (mut client, mut account) = subscriber(server, "orders", &format!("p{n}"));
                ready.wait();
                client.publish_padded("orders", 1, each, 4 << 10);
                account.read_until(&mut client, total);
                assert_eq!(account.told, 0, "{account:?}");
            });
        }
        account.read_until(&mut slow, total);
    });
    assert_eq!(account.told, 0, "{account:?}");
}
