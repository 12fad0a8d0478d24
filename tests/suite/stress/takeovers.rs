//! Connections that take over each other's subscriptions, at the same moment and while the topic is created and deleted.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::harness::TestServer;

/// Two connections subscribe as the same client, repeatedly and at the same moment.
#[test]
fn mutual_takeovers_notify_each_connection_after_its_ack() {
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
        assert_eq!(too_early, [0, 0], "notices before their own ack");
    });
}

/// Every request is answered while connections take over each other and the topic is created and deleted.
#[test]
fn takeovers_during_topic_deletion_leave_no_request_unanswered() {
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
                    client.discard_earlier();
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
