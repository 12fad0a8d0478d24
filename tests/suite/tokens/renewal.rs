//! A further token on an open connection.

use serde_json::{Value, json};

use super::{
    API_KEY, authenticate, claims, claims_with, connect, create, get, guarded, now, signed,
};
use crate::harness::{
    Incoming, TestServer, TextFile, WsClient, assert_timestamp, code_of, entry, event_seqs, text_of,
};

#[test]
fn a_renewed_connection_outlives_its_first_token() {
    let server = guarded(|_| {});
    let mut client = connect(&server, &signed(&claims("ann", 3)));
    let first = client.next_info("token_expiring");
    client.subscribe("orders", "c");
    let ack = client.ask(authenticate(&signed(&claims("ann", 33))));
    assert_eq!(ack["type"], "ack", "{ack}");
    assert_eq!(ack["status"], "ok", "{ack}");
    assert_timestamp(&ack["exp"]);
    assert!(ack["exp"].as_str() > first["exp"].as_str());
    // The next one is that of the new token, and comes after the first one has expired.
    let second = client.next_info("token_expiring");
    assert_eq!(second["exp"], ack["exp"]);
    assert!(second["ts"].as_str() > first["exp"].as_str(), "{second}");
    client.publish("orders", &json!(1));
    assert_eq!(client.next_event()["seq"], 1);
}

#[test]
fn a_token_may_be_renewed_again_and_again_and_shortened() {
    let server = guarded(|_| {});
    let mut client = connect(&server, &signed(&claims("ann", 60)));
    for _ in 0..3 {
        let ack = client.ask(authenticate(&signed(&claims("ann", 600))));
        assert_eq!(ack["type"], "ack", "{ack}");
    }
    client.ask(authenticate(&signed(&claims("ann", 2))));
    client.next_info("token_expiring");
    assert_eq!(client.last_error_before_close(4001), "UNAUTHORIZED");
}

#[test]
fn a_refused_renewal_leaves_the_connection_with_its_token() {
    let server = guarded(|_| {});
    let mut client = connect(&server, &signed(&claims("ann", 60)));
    client.subscribe("orders", "c");
    let nobody = json!({"exp": now() + 60, "threadcast": {"subscribe": ["*"]}});
    for token in [
        signed(&claims("bob", 60)),
        signed(&nobody),
        signed(&claims("ann", 0)),
        "nonsense".to_owned(),
        API_KEY.to_owned(),
        "x".repeat(100_000),
    ] {
        let error = client.ask_refused(authenticate(&token), "UNAUTHORIZED");
        assert_eq!(
            text_of(&error),
            "a valid token of the same user is required"
        );
        client.publish("orders", &json!(1));
        client.next_event();
    }
    for (request, text) in [
        (json!({"type": "authenticate"}), "token is required"),
        (
            json!({"type": "authenticate", "token": null}),
            "token is required",
        ),
        (
            json!({"type": "authenticate", "token": ""}),
            "token is required",
        ),
        (
            json!({"type": "authenticate", "token": 7}),
            "token must be a string",
        ),
    ] {
        let error = client.ask_refused(request, "BAD_REQUEST");
        assert_eq!(text_of(&error), text);
    }
}

#[test]
fn a_token_without_a_user_is_renewed_by_another_one_without() {
    let server = guarded(|_| {});
    let nobody = |secs: u64| signed(&json!({"exp": now() + secs}));
    let mut client = connect(&server, &nobody(60));
    let ack = client.ask(authenticate(&nobody(600)));
    assert_eq!(ack["type"], "ack", "{ack}");
    client.ask_refused(authenticate(&signed(&claims("ann", 60))), "UNAUTHORIZED");
}

#[test]
fn where_no_token_was_presented_there_is_nothing_to_renew() {
    let open = TestServer::start();
    let guarded = guarded(|_| {});
    let token = signed(&claims("ann", 60));
    for mut client in [open.ws(), connect(&guarded, API_KEY)] {
        let error = client.ask_refused(authenticate(&token), "BAD_REQUEST");
        assert_eq!(
            text_of(&error),
            "this connection was not opened with a token"
        );
        client.fence();
    }
}

/// The frames up to the pong, which must hold the ack first.
fn frames_after(client: &mut WsClient, token: &str) -> Vec<Value> {
    let mut request = authenticate(token);
    request["request_id"] = json!("renew");
    client.send_text(&request.to_string());
    client.send_text(r#"{"type":"ping","request_id":"end"}"#);
    let mut frames = Vec::new();
    loop {
        let Incoming::Text(text) = client.receive("the pong") else {
            panic!("no text")
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["request_id"] == "end" {
            return frames;
        }
        frames.push(frame);
    }
}

#[test]
fn what_a_new_token_does_not_allow_ends_behind_the_ack() {
    let server = guarded(|_| {});
    for topic in ["logs", "shop.eu", "shop.us"] {
        create(&server, topic);
    }
    let mut watcher = connect(&server, API_KEY);
    watcher.subscribe_with("logs", "watcher", &json!({"presence": true}));
    watcher.next_info("presence");
    let mut client = connect(&server, &signed(&claims("ann", 60)));
    client.subscribe("orders", "a");
    client.subscribe("logs", "b");
    client.subscribe("logs", "c");
    let seen = |watcher: &mut WsClient, field: &str| {
        let mut names = Vec::new();
        while names.len() < 2 {
            let notice = watcher.next_info("presence");
            names.extend(notice[field].as_array().unwrap().iter().cloned());
        }
        names.sort_by_key(Value::to_string);
        names
    };
    assert_eq!(seen(&mut watcher, "joined"), [json!("b"), json!("c")]);
    let pattern = json!({"type": "subscribe", "topic": "shop.*", "client_id": "d"});
    assert_eq!(client.ask(pattern)["matched"], 2);
    client.next_info("subscribed");
    client.next_info("subscribed");
    client.publish("logs", &json!(1));
    assert_eq!(event_seqs(&client.next_events(2)), [1, 1]);

    let rights = json!({"publish": ["*"], "subscribe": ["orders", "shop.eu"]});
    let frames = frames_after(&mut client, &signed(&claims_with("ann", 60, rights)));
    let errors = match &frames[..] {
        [ack, errors @ ..] if ack["type"] == "ack" => errors,
        _ => panic!("{frames:?}"),
    };
    let ended: Vec<&Value> = errors
        .iter()
        .filter(|error| code_of(error) == "FORBIDDEN")
        .collect();
    assert_eq!(ended.len(), 3, "{frames:?}");
    assert_eq!(ended[0]["pattern"], "shop.*");
    assert_eq!(ended[0]["positions"]["shop.eu"]["seq"], 0);
    assert_eq!(ended[0]["positions"]["shop.us"]["seq"], 0);
    for error in &ended[1..] {
        assert_eq!(
            (&error["topic"], &error["seq"]),
            (&json!("logs"), &json!(1))
        );
    }
    assert_eq!(watcher.next_event()["seq"], 1);
    // The counts agree, and those who watch see them leave.
    for (topic, count) in [("orders", 1), ("logs", 1), ("shop.eu", 0), ("shop.us", 0)] {
        assert_eq!(
            get(&server, &format!("/topics/{topic}"))["subscribers"],
            count,
            "{topic}"
        );
    }
    assert_eq!(seen(&mut watcher, "left"), [json!("b"), json!("c")]);
    // Nothing of it comes any more, and the rest goes on.
    for topic in ["logs", "shop.eu", "orders"] {
        client.publish(topic, &json!(2));
    }
    assert_eq!(client.next_event()["topic"], "orders");
    assert!(client.fence().is_empty());
    client.subscribe("shop.eu", "e");
    client.subscribe_refused("logs", &json!({}), "FORBIDDEN");
    // With more rights again, it may subscribe again.
    client.ask(authenticate(&signed(&claims("ann", 60))));
    client.subscribe("logs", "b");
}

#[test]
fn the_new_rights_hold_for_publishes_too() {
    let server = guarded(|_| {});
    let mut client = connect(&server, &signed(&claims_with("ann", 60, json!({}))));
    let message = json!({"id": crate::harness::uuid_of(1), "payload": 1});
    let publish = json!({"type": "publish", "topic": "orders", "message": message});
    client.ask_refused(publish.clone(), "FORBIDDEN");
    client.ask(authenticate(&signed(&claims("ann", 60))));
    assert_eq!(client.ask(publish)["seq"], 1);
}

#[test]
fn a_reload_of_keys_ends_no_token() {
    let file = TextFile::new(&entry("one", "secret-1", "subscribe = [\"*\"]"));
    let server = guarded(|config| config.keys_file = Some(file.path().to_owned()));
    let mut bearer = connect(&server, &signed(&claims("ann", 60)));
    let mut holder = connect(&server, "secret-1");
    file.write(&entry("two", "secret-2", ""));
    server.reload_keys().unwrap();
    assert_eq!(holder.close_code(), Some(4001));
    bearer.subscribe("orders", "c");
    bearer.publish("orders", &json!(1));
    assert_eq!(bearer.next_event()["seq"], 1);
}
