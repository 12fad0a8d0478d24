//! Invalid requests: the text of each error, and the order of the checks.

use serde_json::{Value, json};

use crate::harness::{Frame, Opcode, TestServer, WsClient, code_of, text_of, uuid_of};

/// Asserts that `request` is answered `BAD_REQUEST`, and returns the error's text.
fn refused(client: &mut WsClient, request: &Value) -> String {
    text_of(&client.ask_refused(request.clone(), "BAD_REQUEST")).to_owned()
}

/// Asserts that this text, which need not be a request, is answered `BAD_REQUEST`.
fn text_refused(client: &mut WsClient, text: &str) {
    client.send_text(text);
    let reply = client.next_json();
    assert_eq!(reply["type"], "error", "{text} was answered {reply}");
    assert_eq!(
        code_of(&reply),
        "BAD_REQUEST",
        "{text} was answered {reply}"
    );
}

#[test]
fn missing_null_or_empty_topic_is_reported() {
    let server = TestServer::start();
    let mut client = server.ws();
    for kind in ["subscribe", "unsubscribe", "publish"] {
        for topic in [None, Some(Value::Null), Some(json!(""))] {
            let mut request = json!({"type": kind});
            if let Some(topic) = topic {
                request["topic"] = topic;
            }
            assert_eq!(
                refused(&mut client, &request),
                "topic is required",
                "{request}"
            );
        }
    }
}

#[test]
fn missing_client_id_is_reported() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for kind in ["subscribe", "unsubscribe"] {
        let request = json!({"type": kind, "topic": "orders"});
        assert_eq!(refused(&mut client, &request), "client_id is required");
        let request = json!({"type": kind, "topic": "orders", "client_id": null});
        assert_eq!(refused(&mut client, &request), "client_id is required");
    }
}

#[test]
fn missing_message_is_reported() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let request = json!({"type": "publish", "topic": "orders"});
    assert_eq!(refused(&mut client, &request), "message is required");
    let request = json!({"type": "publish", "topic": "orders", "message": null});
    assert_eq!(refused(&mut client, &request), "message is required");
}

#[test]
fn invalid_message_id_is_reported() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for id in [
        "",
        "42",
        "550e8400-e29b-41d4-a716-44665544000",
        "550e8400-e29b-41d4-a716-44665544000g",
    ] {
        let request =
            json!({"type": "publish", "topic": "orders", "message": {"id": id, "payload": 1}});
        assert_eq!(
            refused(&mut client, &request),
            "message.id must be a valid UUID",
            "{id}"
        );
    }
}

#[test]
fn malformed_message_is_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for message in [
        json!({"id": uuid_of(1)}),
        json!({"payload": 1}),
        json!({"id": null, "payload": 1}),
        json!({"id": 5, "payload": 1}),
        json!({}),
        json!("text"),
        json!([1]),
        json!(7),
    ] {
        refused(
            &mut client,
            &json!({"type": "publish", "topic": "orders", "message": message}),
        );
    }
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn checks_run_in_order_topic_message_or_client_validity_existence() {
    let server = TestServer::start();
    let mut client = server.ws();
    for (request, text) in [
        (
            json!({"type": "publish", "message": {"id": "bad"}}),
            "topic is required",
        ),
        (
            json!({"type": "subscribe", "client_id": 5, "last_n": -1}),
            "topic is required",
        ),
        (
            json!({"type": "publish", "topic": "-bad name-"}),
            "message is required",
        ),
        (
            json!({"type": "subscribe", "topic": "-bad name-"}),
            "client_id is required",
        ),
        (
            json!({"type": "subscribe", "topic": "x", "last_n": -1}),
            "client_id is required",
        ),
        (
            json!({"type": "publish", "topic": "x"}),
            "message is required",
        ),
    ] {
        assert_eq!(refused(&mut client, &request), text, "{request}");
    }
    let message = json!({"id": "bad", "payload": 1});
    let request = json!({"type": "publish", "topic": "x", "message": message});
    assert_eq!(
        refused(&mut client, &request),
        "message.id must be a valid UUID"
    );
    refused(
        &mut client,
        &json!({"type": "subscribe", "topic": "x", "client_id": "c", "last_n": -1}),
    );
}

#[test]
fn text_that_is_not_a_json_object_is_refused() {
    let server = TestServer::start();
    let mut client = server.ws();
    for text in [
        "",
        "hello",
        "{",
        "[]",
        "[{\"type\":\"ping\"}]",
        "\"ping\"",
        "1",
        "null",
        "true",
    ] {
        text_refused(&mut client, text);
    }
    for text in [
        "{\"type\":\"ping\"} x",
        "{\"type\":\"ping\"}{}",
        "{\"type\":\"ping\",}",
        "{'type':'ping'}",
    ] {
        text_refused(&mut client, text);
    }
    client.fence();
}

#[test]
fn unknown_or_missing_type_is_refused() {
    let server = TestServer::start();
    let mut client = server.ws();
    for text in [
        r#"{}"#,
        r#"{"type":null}"#,
        r#"{"type":5}"#,
        r#"{"type":"PING"}"#,
        r#"{"type":"shout"}"#,
    ] {
        text_refused(&mut client, text);
    }
}

#[test]
fn repeated_field_is_refused() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let id = uuid_of(1);
    for text in [
        r#"{"type":"ping","type":"ping"}"#.to_owned(),
        r#"{"type":"ping","\u0074ype":"ping"}"#.to_owned(),
        r#"{"type":"subscribe","topic":"orders","topic":"orders","client_id":"c"}"#.to_owned(),
        r#"{"type":"subscribe","topic":"orders","client_id":"c","client_id":"c"}"#.to_owned(),
        r#"{"type":"subscribe","topic":"orders","client_id":"c","last_n":0,"last_n":null}"#
            .to_owned(),
        format!(
            r#"{{"type":"publish","topic":"orders","message":{{"id":"{id}","id":"{id}","payload":1}}}}"#
        ),
        format!(
            r#"{{"type":"publish","topic":"orders","message":{{"id":"{id}","payload":1,"payload":1}}}}"#
        ),
        r#"{"type":"publish","topic":"orders","message":{},"message":{}}"#.to_owned(),
    ] {
        text_refused(&mut client, &text);
    }
    assert_eq!(server.topic("orders")["seq"], 0);
}

#[test]
fn binary_frame_is_refused_and_keeps_the_connection() {
    let server = TestServer::start();
    let mut client = server.ws();
    client.send_frame(&Frame::new(Opcode::Binary, br#"{"type":"ping"}"#));
    assert_eq!(code_of(&client.next_json()), "BAD_REQUEST");
    client.fence();
}
