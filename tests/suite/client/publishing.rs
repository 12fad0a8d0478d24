//! Publishing one message at a time, from one thread or many.

use std::collections::BTreeMap;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use threadcast::client::{Client, Error, Start};

use super::{builder, client_of, next_event};
use crate::harness::TestServer;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Order {
    id: String,
    amount: f64,
    note: Option<String>,
}

#[test]
fn client_is_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<Client>();
    shared::<threadcast::client::Subscription>();
    shared::<threadcast::client::Pipeline>();
    shared::<Error>();
}

#[test]
fn typed_payload_round_trips() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    let order = Order {
        id: "ORD-1 \"é\"".to_owned(),
        amount: 99.5,
        note: None,
    };
    let receipt = client.publish("orders", &order).unwrap();
    assert_eq!(receipt.seq, 1);
    let threadcast::client::Delivery::Event(event) = super::next(&mut subscription) else {
        panic!("must be an event")
    };
    assert_eq!(event.payload::<Order>().unwrap(), order);
    assert_eq!((event.topic(), event.seq()), ("orders", 1));
    assert_eq!(event.id(), receipt.id);
    assert_eq!(event.ts(), receipt.ts);
    assert!(event.time().is_some());
    assert!(matches!(event.payload::<u64>(), Err(Error::Payload(_))));
    let whole: serde_json::Value = serde_json::from_str(event.json()).unwrap();
    assert_eq!(whole["type"], "event");
}

#[test]
fn raw_json_is_delivered_verbatim() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let mut subscription = client.subscribe("orders", Start::Now).unwrap();
    for text in [
        r#"{"b": 1.50,"a":[ null ]}"#,
        "null",
        "99999999999999999999.0",
        r#""\u0041""#,
    ] {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        client.publish("orders", raw).unwrap();
        assert_eq!(next_event(&mut subscription).1, text);
    }
}

#[test]
fn given_message_id_is_delivered_verbatim() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let id = "urn:uuid:550E8400-e29b-41d4-a716-446655440000";
    assert_eq!(client.publish_with_id("orders", id, &1).unwrap().id, id);
    let history = client.history("orders", &Start::Last(1)).unwrap();
    assert_eq!(history.events[0].id(), id);
    let error = client.publish_with_id("orders", "7", &1).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
fn refused_message_does_not_end_the_connection() {
    let server = TestServer::with_topic("orders");
    let client = client_of(&server);
    let error = client.publish("nowhere", &1).unwrap_err();
    assert_eq!(error.code(), Some("TOPIC_NOT_FOUND"));
    let unwritable = BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(
        client.publish("orders", &unwritable),
        Err(Error::Payload(_))
    ));
    assert_eq!(client.publish("orders", &1).unwrap().seq, 1);
    // One for publishing, one for this request.
    assert_eq!(client.health().unwrap().connections, 2);
}

#[test]
fn concurrent_publishers_each_get_their_own_receipt() {
    let server = TestServer::with(|config| config.history_size = 1000);
    server.create_topic("orders");
    let client = client_of(&server);
    let receipts: BTreeMap<u64, String> = thread::scope(|scope| {
        let publish = |thread: u64| {
            let client = client.clone();
            move || {
                let one = |number| {
                    let payload = format!("{thread}-{number}");
                    (client.publish("orders", &payload).unwrap().seq, payload)
                };
                (0..50).map(one).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(publish(thread))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(receipts.len(), 400, "no seq is repeated");
    for event in client.history("orders", &Start::Last(400)).unwrap().events {
        assert_eq!(event.payload::<String>().unwrap(), receipts[&event.seq()]);
    }
}

#[test]
fn too_large_message_fails_only_for_its_publisher() {
    let server = TestServer::with(|config| config.max_message_bytes = 64 << 10);
    server.create_topic("orders");
    let client = client_of(&server);
    let huge = "x".repeat(200 << 10);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..100 {
                    match client.publish("orders", &1) {
                        Ok(_) | Err(Error::Unconfirmed { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let error = client.publish("orders", &huge).unwrap_err();
        assert_eq!(error.code(), Some("PAYLOAD_TOO_LARGE"), "{error}");
    });
    client.publish("orders", &1).unwrap();
}

#[test]
fn connecting_to_a_closed_port_fails_at_once() {
    let addr = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let error = builder(addr).connect().unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(
        error.to_string().contains("is the server running there?"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
}
