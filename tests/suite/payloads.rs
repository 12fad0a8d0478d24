//! Payloads and ids are delivered byte for byte, and only if they are valid.

use serde_json::json;

use crate::harness::{TestServer, WsClient, publish_text, seq_of, uuid_of};

/// Publishes the JSON text `payload` and returns the text of its event.
fn deliver(client: &mut WsClient, payload: &str) -> String {
    client.send_text(&publish_text("orders", payload, "p"));
    let (first, second) = (client.next_text(), client.next_text());
    if first.contains(r#""type":"event""#) {
        first
    } else {
        second
    }
}

fn subscribed(server: &TestServer) -> WsClient {
    let mut client = server.ws();
    client.subscribe("orders", "c");
    client
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn payload_is_delivered_byte_for_byte() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    for payload in [
        "null",
        "true",
        "0",
        "-0",
        "0.10",
        "1E+2",
        "1e400",
        "123456789012345678901234567890.123456789012345678901234567890",
        r#""""#,
        r#""\u00e9\ud83e\udd80\/\b\f\n\r\t\"\\""#,
        r#""\ud800 alone""#,
        "\"\u{e9} \u{1F980} \u{2028} \u{7f}\"",
        r#""\u0000""#,
        "[]",
        "{}",
        "{ \"a\" : 1 ,\t\"b\":[ 1,2 , 3 ]\r\n}",
        r#"{"a":1,"a":2}"#,
        r#"{"z":1,"a":2,"":3}"#,
        r#"{"type":"ack","seq":99,"payload":"]}"}"#,
    ] {
        let event = deliver(&mut client, payload);
        let verbatim = format!("\"payload\":{payload}");
        assert!(event.contains(&verbatim), "{payload} became {event}");
    }
}

#[test]
fn payload_of_the_largest_allowed_message_is_delivered() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    let envelope = publish_text("orders", "\"\"", "p").len();
    let payload = format!("\"{}\"", "y".repeat((1 << 20) - envelope));
    let event = deliver(&mut client, &payload);
    assert!(event.contains(&payload), "cut to {} bytes", event.len());
}

#[test]
fn payload_may_be_nested_128_levels_but_no_deeper() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
        let fitting = nested(open, close, 128).replace(":}", ":1}");
        assert!(deliver(&mut client, &fitting).contains(&fitting));
        let deeper = nested(open, close, 129).replace(":}", ":1}");
        client.send_text(&publish_text("orders", &deeper, "deep"));
        let reply = client.next_json();
        assert_eq!(reply["error"]["code"], "BAD_REQUEST", "{reply}");
        assert_eq!(reply["request_id"], "deep", "{reply}");
    }
}

#[test]
fn brackets_in_strings_and_siblings_do_not_count_as_nesting() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    let in_a_string = format!("\"\\\"{}\\\\\"", "[{".repeat(300));
    assert!(deliver(&mut client, &in_a_string).contains(&in_a_string));
    let side_by_side = format!("[{}[]]", "[],".repeat(300));
    assert!(deliver(&mut client, &side_by_side).contains(&side_by_side));
}

#[test]
fn endless_nesting_is_refused_and_keeps_the_connection() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let unclosed = "[".repeat(200_000);
    client.send_text(&unclosed);
    let replies = client.fence();
    assert!(
        replies
            .iter()
            .any(|reply| reply["error"]["code"] == "BAD_REQUEST")
    );
    client.send_text(&publish_text("orders", &nested("[", "]", 200_000), "p"));
    let replies = client.fence();
    assert!(
        replies
            .iter()
            .any(|reply| reply["error"]["code"] == "BAD_REQUEST")
    );
    client.fence();
}

#[test]
fn message_id_is_delivered_in_its_original_form() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    for id in [
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29B-41D4-A716-446655440000",
        "550e8400e29b41d4a716446655440000",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "00000000-0000-0000-0000-000000000000",
    ] {
        let message = json!({"id": id, "payload": null});
        client.ask(json!({"type": "publish", "topic": "orders", "message": message}));
        assert_eq!(client.next_event()["message"]["id"], id);
    }
}

#[test]
fn same_message_id_may_be_published_again() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    for seq in 1..=3 {
        let message = json!({"id": uuid_of(7), "payload": seq});
        let ack = client.ask(json!({"type": "publish", "topic": "orders", "message": message}));
        assert_eq!(seq_of(&ack), seq);
        assert_eq!(seq_of(&client.next_event()), seq);
    }
}

#[test]
fn other_keys_of_a_message_are_dropped() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    let message = json!({"id": uuid_of(1), "payload": {"a": 1}, "colour": "red", "ts": "never"});
    client.ask(json!({"type": "publish", "topic": "orders", "message": message}));
    let delivered = json!({"id": uuid_of(1), "payload": {"a": 1}});
    assert_eq!(client.next_event()["message"], delivered);
}

#[test]
fn refused_message_uses_no_sequence() {
    let server = TestServer::with_topic("orders");
    let mut client = subscribed(&server);
    assert_eq!(client.publish("orders", &json!(1)), 1);
    client.send_text(&publish_text("orders", "01", "bad"));
    let replies = client.fence();
    assert!(
        replies
            .iter()
            .any(|reply| reply["error"]["code"] == "BAD_REQUEST")
    );
    assert_eq!(client.publish("orders", &json!(2)), 2);
}
