//! Open connections whose token expires.

use std::time::Duration;

use serde_json::{Value, json};

use super::{API_KEY, claims, connect, get, guarded, signed, stream};
use crate::harness::{
    Dial, Frame, Incoming, OverflowPolicy, TestServer, WsClient, assert_timestamp, await_stable,
    eventually, seq_of, uuid_of,
};

/// The error and the close frame at the end of a token.
fn expect_expired(client: &mut WsClient) {
    let error = client.next_json();
    assert_eq!(error["error"]["code"], "UNAUTHORIZED", "{error}");
    assert_eq!(error["error"]["message"], "token expired", "{error}");
    assert_eq!(client.close_code(), Some(4001));
    client.expect_orderly_end();
}

#[test]
fn a_short_token_is_announced_at_once_and_closed_at_its_end() {
    let server = guarded(|_| {});
    let claims = claims("ann", 2);
    let mut client = connect(&server, &signed(&claims));
    let notice = client.next_info("token_expiring");
    assert_timestamp(&notice["exp"]);
    assert!(notice["exp"].as_str() > notice["ts"].as_str(), "{notice}");
    client.subscribe("orders", "c");
    assert_eq!(get(&server, "/topics/orders")["subscribers"], 1);
    expect_expired(&mut client);
    assert!(
        super::now() >= claims["exp"].as_u64().unwrap(),
        "not earlier"
    );
    eventually("the subscription has ended", || {
        get(&server, "/topics/orders")["subscribers"] == 0
    });
}

#[test]
fn the_notice_comes_30_seconds_before_and_once() {
    let server = guarded(|_| {});
    let mut client = connect(&server, &signed(&claims("ann", 33)));
    assert!(client.fence().is_empty(), "more than 30 seconds are left");
    client.next_info("token_expiring");
    assert!(client.fence().is_empty());
}

#[test]
fn a_key_does_not_expire() {
    let server = guarded(|config| config.heartbeat = Duration::from_millis(200));
    let mut client = connect(&server, API_KEY);
    let Incoming::Ping(_) = client.receive("a ping") else {
        panic!("no ping")
    };
}

#[test]
fn the_heartbeat_goes_on_beside_the_timer_of_a_token() {
    let server = guarded(|config| config.heartbeat = Duration::from_millis(300));
    let mut client = connect(&server, &signed(&claims("ann", 4)));
    client.next_info("token_expiring");
    let mut pings = 0;
    loop {
        match client.receive("a ping or the end") {
            Incoming::Ping(payload) => {
                pings += 1;
                client.send_frame(&Frame::new(crate::harness::Opcode::Pong, &payload));
            }
            Incoming::Text(text) => break assert!(text.contains("token expired"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(pings >= 3, "{pings}");
    assert_eq!(client.close_code(), Some(4001));
}

#[test]
fn a_dead_client_is_closed_by_the_heartbeat_before_its_token_ends() {
    let server = guarded(|config| config.heartbeat = Duration::from_millis(200));
    let mut client = connect(&server, &signed(&claims("ann", 60)));
    assert_eq!(client.close_code(), Some(4102));
}

#[test]
fn a_client_that_sends_without_pause_is_closed_too() {
    let server = guarded(|_| {});
    let mut client = connect(&server, &signed(&claims("ann", 2)));
    let pings = Frame::text(r#"{"type":"ping"}"#).masked().repeat(50);
    let mut last = String::new();
    let code = 'end: loop {
        client.try_send_bytes(&pings);
        // Reads what there is, so that neither buffer fills up.
        while let Some(incoming) = client.receive_within(Duration::from_millis(1)) {
            match incoming {
                Incoming::Text(text) => last = text,
                Incoming::Close(code) => break 'end code,
                other => panic!("{other:?}"),
            }
        }
    };
    assert!(last.contains("token expired"), "{last}");
    assert_eq!(code, Some(4001));
}

#[test]
fn a_stream_ends_with_a_failure_at_the_end_of_its_token() {
    let server = guarded(|_| {});
    let mut stream = stream(&server, "?client_id=s", &signed(&claims("ann", 2)));
    stream.expect("ack");
    let failure = stream.expect("failure");
    assert_eq!(failure.data["error"]["code"], "UNAUTHORIZED");
    assert_eq!(failure.data["error"]["message"], "token expired");
    assert!(stream.ends_orderly());
    eventually("the subscription has ended", || {
        get(&server, "/topics/orders")["subscribers"] == 0
    });
}

#[test]
fn a_stream_whose_peer_sends_without_pause_ends_too() {
    let server = guarded(|_| {});
    let mut stream = stream(&server, "", &signed(&claims("ann", 2)));
    stream.expect("ack");
    // Less than what ends it for another reason.
    for _ in 0..200 {
        stream.try_send_raw(b"x");
    }
    stream.expect("failure");
}

/// A server on which everything published to `orders` waits for a subscriber that does not read.
fn blocked() -> (TestServer, WsClient) {
    let server = guarded(|config| {
        config.overflow = OverflowPolicy::Block;
        config.max_queue_size = 1;
        config.block_timeout = Duration::from_secs(60);
        config.send_buffer_bytes = 4 << 10;
    });
    let dial = Dial::to(server.addr()).receive_buffer(4 << 10);
    let mut slow = dial.field("X-API-Key", API_KEY).connect();
    slow.subscribe("orders", "slow");
    (server, slow)
}

fn published(server: &TestServer) -> u64 {
    await_stable(Duration::from_millis(300), || {
        seq_of(&get(server, "/topics/orders"))
    })
}

fn padded(number: u64) -> String {
    let message = json!({"id": uuid_of(number), "payload": "x".repeat(4 << 10)});
    let request_id = number.to_string();
    json!({"type": "publish", "topic": "orders", "message": message, "request_id": request_id})
        .to_string()
}

#[test]
fn under_block_a_publish_that_waits_ends_with_the_token() {
    let (server, _slow) = blocked();
    let mut publisher = connect(&server, &signed(&claims("ann", 4)));
    let texts: Vec<String> = (1..=100).map(padded).collect();
    publisher.send_texts(&texts);
    assert!(published(&server) < 100, "the publisher waits");
    let mut acks = 0;
    let mut refused: Option<Value> = None;
    loop {
        match publisher.receive("the end of the connection") {
            Incoming::Text(text) => {
                let reply: Value = serde_json::from_str(&text).unwrap();
                match reply["type"].as_str() {
                    Some("ack") => acks += 1,
                    Some("error") if !reply["request_id"].is_null() => refused = Some(reply),
                    _ => {}
                }
            }
            Incoming::Close(code) => break assert_eq!(code, Some(4001)),
            _ => {}
        }
    }
    let refused = refused.expect("the publish that waited is answered");
    assert_eq!(refused["error"]["message"], "token expired", "{refused}");
    // The kernel may have taken some more meanwhile; nothing is published that was not acknowledged.
    assert_eq!(acks, published(&server));
    assert!(acks < 100, "{acks}");
}

#[test]
fn under_block_a_rest_publish_that_waits_ends_with_the_token() {
    let (server, _slow) = blocked();
    let id = uuid_of(1000);
    let body = json!({"id": id, "payload": "x".repeat(4 << 10)}).to_string();
    let path = "/topics/orders/messages";
    let mut filler = connect(&server, API_KEY);
    filler.send_texts(&(1..=100).map(padded).collect::<Vec<_>>());
    assert!(published(&server) < 100, "the topic is full");
    let token = signed(&claims("ann", 3));
    let fields = [("X-API-Key", token.as_str())];
    let reply = server.http().request("POST", path, &fields, &body);
    reply.expect_problem(401, "UNAUTHORIZED");
    let history = get(&server, path).to_string();
    assert!(history.contains(&uuid_of(1)) && !history.contains(&id));
}
