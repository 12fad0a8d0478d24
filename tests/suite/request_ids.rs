//! Request ids, and the values that a request's fields may have.

use serde_json::{Value, json};

use crate::harness::{TestServer, WsClient, code_of, text_of, uuid_of};

/// Sends `text` and returns its reply.
fn answer(client: &mut WsClient, text: &str) -> Value {
    client.send_text(text);
    client.next_json()
}

#[test]
fn request_id_is_echoed_in_each_kind_of_reply() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    let message = json!({"id": uuid_of(1), "payload": 1});
    for (request, kind) in [
        (
            json!({"type": "subscribe", "topic": "orders", "client_id": "c"}),
            "ack",
        ),
        (
            json!({"type": "unsubscribe", "topic": "orders", "client_id": "c"}),
            "ack",
        ),
        (
            json!({"type": "publish", "topic": "orders", "message": message}),
            "ack",
        ),
        (json!({"type": "ping"}), "pong"),
        (
            json!({"type": "subscribe", "topic": "x", "client_id": "c"}),
            "error",
        ),
        (json!({"type": "shout"}), "error"),
        (json!({"type": "publish"}), "error"),
    ] {
        assert_eq!(client.ask(request.clone())["type"], kind, "{request}");
    }
}

#[test]
fn request_id_behind_an_invalid_field_is_echoed() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for text in [
        r#"{"type":"shout","request_id":"late"}"#,
        r#"{"type":5,"request_id":"late"}"#,
        r#"{"topic":{"a":[1]},"type":"subscribe","request_id":"late"}"#,
        r#"{"type":"subscribe","topic":"orders","client_id":5,"request_id":"late"}"#,
        r#"{"type":"subscribe","topic":"orders","client_id":"c","last_n":-1,"request_id":"late"}"#,
        r#"{"type":"subscribe","topic":"orders","client_id":"c","last_n":"5","request_id":"late"}"#,
        r#"{"type":"publish","topic":"orders","message":"text","request_id":"late"}"#,
        r#"{"type":"publish","topic":"orders","message":{"id":"bad","payload":1},"request_id":"late"}"#,
        r#"{"type":"publish","topic":"orders","message":{"id":1,"id":2},"request_id":"late"}"#,
        r#"{"type":"ping","type":"ping","request_id":"late"}"#,
    ] {
        let reply = answer(&mut client, text);
        assert_eq!(
            code_of(&reply),
            "BAD_REQUEST",
            "{text} was answered {reply}"
        );
        assert_eq!(reply["request_id"], "late", "{text} was answered {reply}");
    }
}

#[test]
fn request_without_id_gets_a_reply_without_id() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for text in [
        r#"{"type":"ping"}"#,
        r#"{"type":"ping","request_id":null}"#,
        r#"{"type":"subscribe","topic":"orders","client_id":"c"}"#,
        r#"{"type":"shout"}"#,
    ] {
        let reply = answer(&mut client, text);
        assert_eq!(reply.get("request_id"), None, "{text} was answered {reply}");
    }
}

#[test]
fn request_id_is_opaque_up_to_128_characters() {
    let server = TestServer::start();
    let mut client = server.ws();
    for id in [
        "",
        "r",
        " r-1\n\"\\/",
        "\u{1F980}",
        &"x".repeat(128),
        &"\u{e9}".repeat(128),
    ] {
        client.send(&json!({"type": "ping", "request_id": id}));
        let reply = client.next_json();
        assert_eq!(reply["type"], "pong", "{reply}");
        assert_eq!(reply["request_id"], id, "{reply}");
    }
}

#[test]
fn request_id_that_is_too_long_or_not_a_string_is_refused() {
    let server = TestServer::start();
    let mut client = server.ws();
    for id in [
        json!("x".repeat(129)),
        json!(5),
        json!(true),
        json!({}),
        json!(["r"]),
    ] {
        client.send(&json!({"type": "ping", "request_id": id}));
        assert_eq!(code_of(&client.next_json()), "BAD_REQUEST", "{id}");
    }
}

#[test]
fn topic_names_follow_one_rule() {
    let server = TestServer::start();
    let mut client = server.ws();
    for name in ["a", "_", "7", "A.b_c:d-e", "x--", &"n".repeat(128)] {
        server.create_topic(name);
        client.subscribe(name, "c");
    }
    for name in [
        "-a",
        ".a",
        ":a",
        "a b",
        "a/b",
        "a/*",
        "\u{e9}",
        "a\n",
        " ",
        &"n".repeat(129),
    ] {
        client.subscribe_refused(name, &json!({}), "BAD_REQUEST");
        let message = json!({"id": uuid_of(1), "payload": 1});
        let publish = json!({"type": "publish", "topic": name, "message": message});
        client.ask_refused(publish, "BAD_REQUEST");
    }
    let request = json!({"type": "subscribe", "topic": 5, "client_id": "c"});
    client.ask_refused(request, "BAD_REQUEST");
}

#[test]
fn client_ids_have_1_to_128_characters() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    for id in [
        "c",
        "any thing at all \n",
        &"x".repeat(128),
        &"\u{1F980}".repeat(128),
    ] {
        client.subscribe("orders", id);
        client.unsubscribe("orders", id);
    }
    for id in [json!(""), json!("x".repeat(129)), json!(5), json!(["c"])] {
        let request = json!({"type": "subscribe", "topic": "orders", "client_id": id});
        client.ask_refused(request, "BAD_REQUEST");
    }
}

#[test]
fn last_n_is_a_non_negative_integer_and_null_is_0() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.publish("orders", &json!(1));
    for last_n in [json!(null), json!(0)] {
        client.subscribe_with("orders", "c", &json!({"last_n": last_n}));
        assert_eq!(client.fence(), Vec::<Value>::new());
    }
    for last_n in [json!(u64::MAX), json!(1.0)] {
        client.subscribe_with("orders", "c", &json!({"last_n": last_n}));
        assert_eq!(client.fence().len(), 1);
    }
    for last_n in [json!(-1), json!(1.5), json!("1"), json!(true), json!([])] {
        client.subscribe_refused("orders", &json!({"last_n": last_n}), "BAD_REQUEST");
    }
}

#[test]
fn unknown_fields_are_ignored() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe_with(
        "orders",
        "c",
        &json!({"colour": "red", "nested": {"a": [1, null]}}),
    );
    let reply = client.ask(json!({"type": "ping", "topic": 5, "extra": {}}));
    assert_eq!(reply["type"], "pong", "{reply}");
}

#[test]
fn unsubscribe_of_another_connection_is_refused_without_effect() {
    let server = TestServer::with_topic("orders");
    let (mut owner, mut stranger) = (server.ws(), server.ws());
    owner.subscribe("orders", "mine");
    let request = json!({"type": "unsubscribe", "topic": "orders", "client_id": "mine"});
    let reply = stranger.ask_refused(request, "TOPIC_NOT_FOUND");
    assert_eq!(
        text_of(&reply),
        "Topic 'orders' not found or client not subscribed"
    );
    stranger.publish("orders", &json!(1));
    owner.next_event();
    assert_eq!(server.topic("orders")["subscribers"], 1);
}

#[test]
fn many_errors_leave_the_connection_open() {
    let server = TestServer::with_topic("orders");
    let mut client = server.ws();
    client.subscribe("orders", "c");
    for _ in 0..200 {
        client.send_text("nonsense");
    }
    for _ in 0..200 {
        assert_eq!(code_of(&client.next_json()), "BAD_REQUEST");
    }
    client.publish("orders", &json!(1));
    client.next_event();
}
