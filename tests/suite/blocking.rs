//! Publishers that wait under the `block` policy: how long, in which order, and what ends the wait.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Config, Dial, Frame, HttpClient, Incoming, OverflowPolicy, SequenceChecker, TestServer,
    TextFile, WsClient, await_stable, code_of, entry, eventually, seq_of, uuid_of,
};

const PAD_BYTES: usize = 4 << 10;
/// Longer than any wait may take, so that no wait ends by it; and the time in which a cancelled wait must end.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::from_secs(2);

fn blocking(change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::with(|config| {
        config.overflow = OverflowPolicy::Block;
        config.max_queue_size = 1;
        config.block_timeout = BLOCK_TIMEOUT;
        config.send_buffer_bytes = 4 << 10;
        change(config);
    })
}

fn publish_text(payload: &str) -> String {
    let message = json!({"id": uuid_of(1), "payload": payload});
    json!({"type": "publish", "topic": "orders", "message": message}).to_string()
}

/// Publishes behind a subscriber that does not read until a message waits; returns how many were published.
fn publish_until_waiting(server: &TestServer, publisher: &mut WsClient) -> u64 {
    let text = publish_text(&"x".repeat(PAD_BYTES));
    let texts = vec![text; 100];
    publisher.send_texts(&texts);
    published(server)
}

/// The topic's sequence once it no longer changes.
fn published(server: &TestServer) -> u64 {
    await_stable(Duration::from_millis(300), || {
        seq_of(&server.topic("orders"))
    })
}

fn connection_of(server: &TestServer, topic: &str) -> u64 {
    let list = server.http().get("/connections").expect(200);
    let connections = list["connections"].as_array().unwrap();
    let has_topic = |connection: &&Value| {
        let subscriptions = connection["subscriptions"].as_array();
        subscriptions.is_some_and(|all| all.iter().any(|one| one["topic"] == topic))
    };
    connections.iter().find(has_topic).unwrap()["id"]
        .as_u64()
        .unwrap()
}

/// Reads to the close frame and asserts that exactly `published` messages were acked.
fn expect_close(client: &mut WsClient, code: u16, published: u64) {
    let mut acked = 0;
    loop {
        match client.receive("a close frame") {
            Incoming::Text(text) if text.contains(r#""type":"ack""#) => acked += 1,
            Incoming::Close(seen) => break assert_eq!(seen, Some(code)),
            _ => {}
        }
    }
    assert_eq!(acked, published, "acks");
}

/// Reads everything, so that waiting publishers could go on, and asserts that nothing more is published.
fn expect_nothing_more(server: &TestServer, slow: &mut WsClient, before: u64) {
    let mut checker = SequenceChecker::starting_after("orders", 0);
    checker.read_until(slow, before);
    assert_eq!(
        published(server),
        before,
        "published after the publisher ended"
    );
}

fn promptly(what: &str, condition: impl FnMut() -> bool) {
    let began = Instant::now();
    eventually(what, condition);
    assert!(
        began.elapsed() < AT_ONCE,
        "{what} took {:?}",
        began.elapsed()
    );
}

/// A server, a subscriber that does not read, and a waiting publisher that is also subscribed to `own`.
fn with_a_waiting_publisher() -> (TestServer, WsClient, WsClient, u64) {
    let server = blocking(|_| {});
    server.create_topic("orders");
    server.create_topic("own");
    let slow = server.small_buffer_subscriber("orders", "slow");
    let mut publisher = server.ws();
    publisher.subscribe("own", "p");
    let before = publish_until_waiting(&server, &mut publisher);
    assert!(before < 100, "the publisher waits");
    (server, slow, publisher, before)
}

#[test]
fn waiting_publisher_closed_by_an_administrator_publishes_nothing_more() {
    let (server, mut slow, mut publisher, before) = with_a_waiting_publisher();
    let id = connection_of(&server, "own");
    let path = format!("/connections/{id}");
    assert_eq!(server.http().delete(&path).status, 200);
    promptly("its subscription has ended", || {
        server.topic("own")["subscribers"] == 0
    });
    expect_close(&mut publisher, 4101, before);
    drop(publisher);
    promptly("the publisher's connection has ended", || {
        server.health()["connections"] == 2
    });
    expect_nothing_more(&server, &mut slow, before);
}

/// The queue has room again before the publisher checks whether its connection is still open.
#[test]
fn closed_waiting_publisher_publishes_nothing_when_the_queue_empties() {
    for _ in 0..5 {
        let (server, mut slow, mut publisher, before) = with_a_waiting_publisher();
        let path = format!("/connections/{}", connection_of(&server, "own"));
        let mut http = server.http();
        assert_eq!(http.delete(&path).status, 200);
        expect_nothing_more(&server, &mut slow, before);
        expect_close(&mut publisher, 4101, before);
    }
}

#[test]
fn closed_waiting_rest_publisher_publishes_nothing_when_the_queue_empties() {
    for _ in 0..5 {
        // The first publisher waits ahead of the REST publisher, and is closed as well.
        let (server, mut slow, first, before) = with_a_waiting_publisher();
        let body = r#"{"payload":1}"#;
        let mut publisher = server.http();
        publisher.send_raw(
            format!(
                "POST /topics/orders/messages HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
                server.addr(),
                body.len()
            )
            .as_bytes(),
        );
        assert_eq!(published(&server), before);
        let mut http = server.http();
        let list = http.get("/connections").expect(200);
        let ids = list["connections"].as_array().unwrap().iter();
        // The subscriber has the lowest connection id, the asking connection the highest.
        let mut ids: Vec<u64> = ids.map(|one| one["id"].as_u64().unwrap()).collect();
        ids.sort_unstable();
        for id in &ids[1..ids.len() - 1] {
            http.delete(&format!("/connections/{id}"));
        }
        expect_nothing_more(&server, &mut slow, before);
        assert_eq!(publisher.read_reply().status, 503);
        drop(first);
    }
}

#[test]
fn waiting_publisher_whose_client_disconnects_is_uncounted_at_once() {
    let (server, mut slow, publisher, before) = with_a_waiting_publisher();
    drop(publisher);
    promptly("its subscription has ended", || {
        server.topic("own")["subscribers"] == 0
    });
    promptly("the publisher's connection has ended", || {
        server.health()["connections"] == 2
    });
    expect_nothing_more(&server, &mut slow, before);
}

/// The close frame is behind messages that have arrived but are not yet read by the server.
#[test]
fn waiting_publisher_whose_client_sends_close_is_uncounted_at_once() {
    let server = blocking(|_| {});
    server.create_topic("orders");
    server.create_topic("own");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    let mut publisher = server.ws();
    publisher.subscribe("own", "p");
    publisher.send_texts(&vec![publish_text(&"x".repeat(700)); 130]);
    let before = published(&server);
    assert!(before < 130, "the publisher waits");
    publisher.send_frame(&Frame::close(1000));
    promptly("its subscription has ended", || {
        server.topic("own")["subscribers"] == 0
    });
    expect_close(&mut publisher, 1000, before);
    expect_nothing_more(&server, &mut slow, before);
}

#[test]
fn waiting_publisher_is_cancelled_when_the_server_drains() {
    let (server, slow, mut publisher, before) = with_a_waiting_publisher();
    let began = Instant::now();
    let stopping = thread::spawn(move || server.shutdown());
    expect_close(&mut publisher, 1001, before);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    drop((slow, publisher));
    stopping.join().unwrap();
}

#[test]
fn waiting_publisher_whose_key_is_revoked_publishes_nothing_more() {
    let publisher_entry = entry("publisher", "p", r#"publish = ["*"]"#);
    let others = entry(
        "admin",
        "a",
        r#"publish = ["*"]
subscribe = ["*"]
admin = true"#,
    );
    let file = TextFile::new(&(publisher_entry + &others));
    let server = blocking(|config| config.keys_file = Some(file.path().to_owned()));
    let with = |secret: &str| Dial::to(server.addr()).field("X-API-Key", secret);
    let topic = |http: &mut HttpClient| {
        let reply = http.request("GET", "/topics/orders", &[("X-API-Key", "a")], "");
        seq_of(&reply.expect(200))
    };
    let mut http = server.http();
    let created = http.request(
        "POST",
        "/topics",
        &[("X-API-Key", "a")],
        r#"{"name":"orders"}"#,
    );
    assert_eq!(created.status, 201);
    let mut slow = with("a").receive_buffer(4 << 10).connect();
    slow.subscribe("orders", "slow");
    let mut publisher = with("p").connect();
    let text = publish_text(&"x".repeat(PAD_BYTES));
    publisher.send_texts(&vec![text; 100]);
    let settle = |http: &mut HttpClient| await_stable(Duration::from_millis(300), || topic(http));
    assert!(settle(&mut http) < 100, "the publisher waits");
    // Two more publishers wait over REST.
    let body = r#"{"payload":1}"#;
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut http = server.http();
                    let fields = [("X-API-Key", "p")];
                    http.request("POST", "/topics/orders/messages", &fields, body)
                        .status
                })
            })
            .collect();
        promptly("both REST publishers are connected", || {
            let fields = [("X-API-Key", "a")];
            let health = http.request("GET", "/health", &fields, "").expect(200);
            health["connections"] == 5
        });
        let before = settle(&mut http);
        file.write(&others);
        let began = Instant::now();
        server.reload_keys().unwrap();
        assert_eq!(publisher.last_error_before_close(4001), "UNAUTHORIZED");
        for publisher in waiting {
            assert_eq!(publisher.join().unwrap(), 401);
        }
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_until(&mut slow, before);
        assert_eq!(
            settle(&mut http),
            before,
            "published after the publisher ended"
        );
    });
}

/// A subscriber that reads a little all the time is never ended, however many publishers wait for it. No publish waits
/// longer than the timeout, and one that was not published is reported as refused.
#[test]
fn slow_subscriber_is_kept_and_no_publish_waits_longer_than_block_timeout() {
    let timeout = Duration::from_secs(2);
    let server = blocking(|config| config.block_timeout = timeout);
    server.create_topic("orders");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    // More than the subscriber reads events in the time that a publish may wait.
    let (publishers, each) = (40, 2);
    let (acked, refused) = thread::scope(|scope| {
        let publishers: Vec<_> = (0..publishers)
            .map(|_| {
                let mut client = server.ws();
                scope.spawn(move || {
                    let (mut acked, mut refused) = (0, 0);
                    let payload = json!("x".repeat(PAD_BYTES));
                    let message = json!({"id": uuid_of(1), "payload": payload});
                    let request = json!({"type": "publish", "topic": "orders", "message": message});
                    for _ in 0..each {
                        let began = Instant::now();
                        let reply = client.ask(request.clone());
                        let took = began.elapsed();
                        assert!(took < timeout + AT_ONCE / 2, "waited {took:?}");
                        if reply["type"] == "ack" {
                            acked += 1;
                        } else {
                            assert_eq!(code_of(&reply), "UNAVAILABLE", "{reply}");
                            refused += 1;
                        }
                    }
                    (acked, refused)
                })
            })
            .collect();
        let mut checker = SequenceChecker::starting_after("orders", 0);
        checker.read_slowly_until(&mut slow, timeout, || {
            publishers.iter().all(|publisher| publisher.is_finished())
        });
        let counts = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap());
        let (acked, refused) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        checker.read_until(&mut slow, acked);
        assert_eq!(checker.skipped, 0, "{checker:?}");
        (acked, refused)
    });
    assert_eq!(acked + refused, publishers * each);
    assert!(acked > 0 && refused > 0, "{acked} acked, {refused} refused");
    assert_eq!(seq_of(&server.topic("orders")), acked);
}

/// The order of arrival holds, so faster publishers cannot starve others.
#[test]
fn waiting_publishers_proceed_in_order_of_arrival() {
    let server = blocking(|_| {});
    server.create_topic("orders");
    let mut slow = server.small_buffer_subscriber("orders", "slow");
    let mut first = server.ws();
    assert!(publish_until_waiting(&server, &mut first) < 100);
    let texts: Vec<String> = (0..5).map(|n| publish_text(&format!("late{n}"))).collect();
    let mut late: Vec<_> = texts
        .iter()
        .map(|text| {
            let mut client = server.ws();
            client.send_text(text);
            // A request on another connection was answered since, so the bytes of this one have arrived.
            published(&server);
            client
        })
        .collect();
    let mut order = Vec::new();
    let mut checker = SequenceChecker::starting_after("orders", 0);
    while order.len() < late.len() {
        let message = slow.next_json();
        let payload = message["message"]["payload"].as_str().unwrap().to_owned();
        checker.take(&message);
        if payload.starts_with("late") {
            order.push(payload);
        }
    }
    assert_eq!(order, ["late0", "late1", "late2", "late3", "late4"]);
    assert!(
        checker.last() < 100,
        "the first publisher starved the others"
    );
    for client in &mut late {
        assert_eq!(client.next_json()["type"], "ack");
    }
}
