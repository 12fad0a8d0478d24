//! The user of a token: where it is shown, and how many connections it may have.

use serde_json::{Value, json};
use threadcast::client::Client;

use super::{API_KEY, claims, connect, get, guarded, now, signed, stream};
use crate::harness::{Dial, HttpClient, Reply, TestServer, eventually};

const USER: &str = "Ann \"7\" of 9 – ä";

#[test]
fn the_user_is_in_the_list_of_connections() {
    let server = guarded(|_| {});
    let _bearer = connect(&server, &signed(&claims(USER, 60)));
    let _stream = stream(&server, "", &signed(&claims("bob", 60)));
    let _nobody = connect(&server, &signed(&json!({"exp": now() + 60})));
    let _holder = connect(&server, API_KEY);
    let list = get(&server, "/connections");
    let of_kind = |protocol: &str| -> Vec<(Value, Value)> {
        let connections = list["connections"].as_array().unwrap().iter();
        let of_kind = connections.filter(|one| one["protocol"] == protocol);
        of_kind
            .map(|one| (one["user"].clone(), one["key"].clone()))
            .collect()
    };
    let none = Value::Null;
    assert_eq!(
        of_kind("websocket"),
        [
            (json!(USER), none.clone()),
            (none.clone(), none.clone()),
            (none.clone(), json!("api_key"))
        ]
    );
    assert_eq!(of_kind("sse"), [(json!("bob"), none)]);
}

#[test]
fn the_user_is_in_the_list_of_subscribers() {
    let server = guarded(|_| {});
    let mut bearer = connect(&server, &signed(&claims(USER, 60)));
    bearer.subscribe("orders", "a");
    let pattern = json!({"type": "subscribe", "topic": "ord*", "client_id": "b"});
    bearer.ask(pattern);
    let mut holder = connect(&server, API_KEY);
    holder.subscribe("orders", "c");
    let _stream = stream(&server, "?client_id=d", &signed(&claims("bob", 60)));
    let mut listed = Vec::new();
    eventually("four subscribers", || {
        let list = get(&server, "/topics/orders/subscribers");
        let subscribers = list["subscribers"].as_array().unwrap().iter();
        listed = subscribers
            .map(|one| (one["client_id"].clone(), one["user"].clone()))
            .collect();
        listed.len() == 4
    });
    let expected = [
        ("a", json!(USER)),
        ("b", json!(USER)),
        ("c", Value::Null),
        ("d", json!("bob")),
    ];
    assert_eq!(listed, expected.map(|(id, user)| (json!(id), user)));
    let url = format!("ws://{}/ws", server.addr());
    let client = Client::builder(&url).key(API_KEY).connect().unwrap();
    let users = client.subscribers("orders", 9).unwrap().subscribers;
    let users = users.iter().map(|one| one.user.as_deref());
    assert_eq!(
        users.collect::<Vec<_>>(),
        [Some(USER), Some(USER), None, Some("bob")]
    );
    let open = client.connections(10).unwrap().connections;
    assert!(open.iter().any(|one| one.user.as_deref() == Some("bob")));
    let embedded = server.embedded().subscribers("orders", 1).unwrap();
    assert_eq!(embedded.subscribers[0].user.as_deref(), Some(USER));
}

fn handshake(server: &TestServer, token: &str) -> Reply {
    let dial = Dial::to(server.addr()).field("X-API-Key", token);
    let mut http = HttpClient::connect(server.addr());
    http.send_raw(dial.request().as_bytes());
    http.read_reply()
}

fn expect_full(reply: &Reply) {
    let detail = reply.expect_problem(503, "UNAVAILABLE");
    assert_eq!(detail, "This user has as many connections as it may have");
    assert_eq!(reply.header("Retry-After"), Some("1"));
}

#[test]
fn a_user_has_as_many_connections_as_it_may_have() {
    let server = guarded(|config| config.max_connections_per_user = 2);
    let (ann, bob) = (signed(&claims("ann", 60)), signed(&claims("bob", 60)));
    for _ in 0..3 {
        let socket = connect(&server, &ann);
        let mut events = stream(&server, "", &ann);
        events.expect("ack");
        expect_full(&handshake(&server, &ann));
        let fields = [("X-API-Key", ann.as_str())];
        let reply = server
            .http()
            .request("GET", "/topics/orders/events", &fields, "");
        expect_full(&reply);
        // A request is no connection of that kind, and others have places of their own.
        server
            .http()
            .request("GET", "/topics/orders", &fields, "")
            .expect(200);
        let of_bob = [connect(&server, &bob), connect(&server, &bob)];
        let nobody = signed(&json!({"exp": now() + 60}));
        let _others = [(); 3].map(|()| connect(&server, &nobody));
        let _keys = [(); 3].map(|()| connect(&server, API_KEY));
        drop(of_bob);
        socket.close();
        drop(events);
        // Both places are free again, whichever way a connection ended.
        eventually("two free places", || {
            let first = handshake_and_keep(&server, &ann);
            let second = handshake_and_keep(&server, &ann);
            first.is_some() && second.is_some()
        });
        eventually("nobody of them is connected", || {
            let list = get(&server, "/connections");
            let connections = list["connections"].as_array().unwrap();
            connections.iter().all(|one| one["user"].is_null())
        });
    }
    let page = server
        .http()
        .request("GET", "/metrics", &[("X-API-Key", API_KEY)], "");
    let page = crate::harness::Page::parse(std::str::from_utf8(&page.body).unwrap());
    assert!(page.count("pubsub_connections_rejected_total{reason=\"user\"}") >= 6);
}

/// An open connection, if there is a place for it.
fn handshake_and_keep(server: &TestServer, token: &str) -> Option<HttpClient> {
    let dial = Dial::to(server.addr()).field("X-API-Key", token);
    let mut http = HttpClient::connect(server.addr());
    http.send_raw(dial.request().as_bytes());
    (http.read_reply().status == 101).then_some(http)
}
