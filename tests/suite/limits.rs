//! The configured limits: what happens at each, and that other clients are not affected.

use std::time::Instant;

use serde_json::json;

use crate::harness::{
    Dial, Frame, HttpClient, Opcode, Reply, SequenceChecker, TestServer, code_of, event_seqs,
    eventually, publish_text,
};

#[test]
fn topics_beyond_max_topics_are_refused_with_429() {
    let server = TestServer::with(|config| config.max_topics = 2);
    server.create_topic("a");
    server.create_topic("b");
    let mut http = server.http();
    http.post("/topics", &json!({"name": "c"}))
        .expect_problem(429, "LIMIT_REACHED");
    http.post("/topics", &json!({"name": "a"}))
        .expect_problem(409, "TOPIC_EXISTS");
    server.delete_topic("a");
    server.create_topic("c");
}

#[test]
fn subscriptions_beyond_max_subscriptions_are_refused_per_connection() {
    let server = TestServer::with(|config| config.max_subscriptions = 2);
    server.create_topic("orders");
    let (mut client, mut other) = (server.ws(), server.ws());
    client.subscribe("orders", "a");
    client.subscribe("orders", "b");
    client.subscribe_refused("orders", &json!({}), "LIMIT_REACHED");
    client.subscribe("orders", "b");
    other.subscribe("orders", "c");
    client.unsubscribe("orders", "a");
    client.subscribe("orders", "d");
}

#[test]
fn message_over_the_limit_is_closed_with_1009() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    server.create_topic("orders");
    let mut client = server.ws();
    let envelope = publish_text("orders", "\"\"", "p").len();
    let fitting = format!("\"{}\"", "x".repeat(2000 - envelope));
    client.send_text(&publish_text("orders", &fitting, "p"));
    client.expect_ack("p");
    let too_big = format!("\"{}\"", "x".repeat(2001 - envelope));
    client.send_text(&publish_text("orders", &too_big, "p"));
    assert_eq!(client.close_code(), Some(1009));
    client.expect_end();
    assert_eq!(server.topic("orders")["seq"], 1);
}

#[test]
fn fragmented_message_over_the_limit_is_closed_with_1009() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    let mut client = server.ws();
    client.send_frame(&Frame::unfinished(Opcode::Text, &[b' '; 1500]));
    client.send_frame(&Frame::new(Opcode::Continuation, &[b' '; 1500]));
    assert_eq!(client.close_code(), Some(1009));
}

#[test]
fn absurd_frame_length_is_closed_with_1009_before_its_payload_arrives() {
    let server = TestServer::start();
    let mut client = server.ws();
    let mut header = vec![0x81, 0x80 | 127];
    header.extend((1_u64 << 62).to_be_bytes());
    header.extend([0; 4]);
    client.send_bytes(&header);
    assert_eq!(client.close_code(), Some(1009));
}

#[test]
fn request_body_over_the_limit_is_answered_413() {
    let server = TestServer::with(|config| config.max_message_bytes = 2000);
    server.create_topic("orders");
    let body = json!({"payload": "x".repeat(2001)});
    let reply = server.http().post("/topics/orders/messages", &body);
    reply.expect_problem(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn publishes_over_the_rate_are_refused_and_use_no_sequence() {
    let server = TestServer::with(|config| config.max_publish_rate = 10);
    server.create_topic("orders");
    let (mut client, mut other) = (server.ws(), server.ws());
    let start = Instant::now();
    for _ in 0..100 {
        client.send_text(&publish_text("orders", "1", "p"));
    }
    let mut acked = 0;
    for _ in 0..100 {
        let reply = client.next_json();
        if reply["type"] == "ack" {
            acked += 1;
            assert_eq!(reply["seq"], acked);
        } else {
            assert_eq!(code_of(&reply), "RATE_LIMITED", "{reply}");
        }
    }
    let allowed = 10 * (start.elapsed().as_secs() + 2);
    assert!(
        (1..=allowed).contains(&acked),
        "{acked} were acked, {allowed} may be"
    );
    other.publish("orders", &json!("another connection has its own rate"));
    eventually("the rate allows more later", || {
        client.send_text(&publish_text("orders", "1", "p"));
        client.next_json()["type"] == "ack"
    });
}

#[test]
fn rest_publishes_over_the_rate_get_429_per_connection() {
    let server = TestServer::with(|config| config.max_publish_rate = 10);
    server.create_topic("orders");
    let (mut client, mut other) = (server.http(), server.http());
    let payload = json!({"payload": 1});
    let paths = ["/topics/orders/messages", "/%74opics/order%73/messages"];
    let start = Instant::now();
    let mut published = 0;
    for path in paths.iter().cycle().take(200) {
        let reply = client.post(path, &payload);
        if reply.status == 201 {
            published += 1;
            assert_eq!(reply.json()["seq"], published);
        } else {
            expect_rate_limited(&reply);
        }
    }
    let allowed = 10 * (start.elapsed().as_secs() + 2);
    assert!(
        (10..=allowed).contains(&published),
        "{published} were published, {allowed} may be"
    );
    assert_eq!(server.topic("orders")["seq"], published);
    other.post(paths[0], &payload).expect(201);
    client.get("/topics/orders/messages").expect(200);
    eventually("the rate allows more later", || {
        client.post(paths[0], &payload).status == 201
    });
}

fn expect_rate_limited(reply: &Reply) {
    reply.expect_problem(429, "RATE_LIMITED");
    let seconds = reply.header("Retry-After").expect("Retry-After");
    assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 1));
}

#[test]
fn requests_refused_for_other_reasons_use_no_rate() {
    let server = TestServer::with(|config| {
        config.max_publish_rate = 2;
        config.api_key = Some(threadcast::ApiKey::new("s3cret").expect("a key"));
    });
    let key = ("X-API-Key", "s3cret");
    let mut client = server.http();
    let mut ask = |method, path, fields: &[(&str, &str)], body| {
        client.request(method, path, fields, body).status
    };
    assert_eq!(ask("POST", "/topics", &[key], r#"{"name":"orders"}"#), 201);
    let publish = ("POST", "/topics/orders/messages");
    for _ in 0..10 {
        let foreign = [key, ("Origin", "https://elsewhere.example")];
        assert_eq!(ask(publish.0, publish.1, &foreign, r#"{"payload":1}"#), 403);
        assert_eq!(ask(publish.0, publish.1, &[], ""), 401);
    }
    let mut publish = || ask("POST", publish.1, &[key], r#"{"payload":1}"#);
    assert_eq!([publish(), publish()], [201, 201]);
    eventually("the rate is used up", || publish() == 429);
}

#[test]
fn connections_beyond_the_limit_get_503_with_retry_after() {
    let server = TestServer::with(|config| config.max_connections = Some(3));
    let held: Vec<_> = (0..2).map(|_| server.ws()).collect();
    let mut kept = server.http();
    kept.get("/livez").expect(200);
    for request in [
        "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        Dial::request_fields(server.addr()) + "\r\n",
    ] {
        let mut refused = server.http();
        refused.try_send_raw(request.as_bytes());
        let reply = refused.read_reply();
        reply.expect_problem(503, "UNAVAILABLE");
        let seconds: u64 = reply.header("Retry-After").unwrap().parse().unwrap();
        assert!(seconds > 0);
    }
    kept.get("/health").expect(200);
    drop(held);
    eventually("new connections are served again", || {
        serves_new_connection(&server)
    });
}

/// Whether a new connection is served.
fn serves_new_connection(server: &TestServer) -> bool {
    let mut http = HttpClient::connect(server.addr());
    http.try_send_raw(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    http.try_read_reply()
        .is_some_and(|reply| reply.status == 200)
}

#[test]
fn topic_keeps_at_most_history_bytes() {
    let server = TestServer::with(|config| {
        config.history_bytes = 10_000;
        config.history_size = 1000;
    });
    server.create_topic("orders");
    let mut client = server.ws();
    client.publish_padded("orders", 1, 100, 1000);
    let history = server.topic("orders")["history"].clone();
    let count = history["count"].as_u64().unwrap();
    assert!(history["bytes"].as_u64().unwrap() <= 10_000, "{history}");
    assert!((5..10).contains(&count), "{history}");
    assert_eq!(history["first_seq"], 100 - count + 1);
    client.subscribe_with("orders", "c", &json!({"last_n": 1000}));
    assert_eq!(
        event_seqs(&client.fence()),
        (100 - count + 1..=100).collect::<Vec<_>>()
    );
}

#[test]
fn event_larger_than_the_history_is_delivered_or_reported_as_a_gap() {
    let server = TestServer::with(|config| config.history_bytes = 1000);
    server.create_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client.publish_padded("orders", 1, 2, 5000);
    client.publish_padded("orders", 3, 3, 0);
    SequenceChecker::starting_after("orders", 0).read_until(&mut client, 3);
}

#[test]
fn all_topics_together_keep_at_most_max_memory_bytes() {
    let server = TestServer::with(|config| config.max_memory_bytes = 1 << 20);
    let mut client = server.ws();
    for topic in ["small", "large"] {
        server.create_topic(topic);
    }
    client.publish_padded("small", 1, 5, 1000);
    client.publish_padded("large", 1, 90, 20_000);
    client.publish_padded("small", 6, 10, 1000);
    let bytes = |topic: &str| server.topic(topic)["history"]["bytes"].as_u64().unwrap();
    assert!(bytes("small") + bytes("large") <= 1 << 20);
    assert_eq!(
        server.topic("small")["history"]["count"],
        10,
        "the largest topic is evicted from"
    );
    assert_eq!(server.topic("large")["seq"], 90);
}
