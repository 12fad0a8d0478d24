//! A topic that lost events: on an open connection, and behind a position that the client resumes from.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use threadcast::client::{Delivery, GapReason, Position, Start, Subscription};
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

use super::hostile::FakeServer;
use super::{builder, next, next_event};
use crate::harness::DEADLINE;

/// A server that answers the subscribe of each connection with a script, and then loses the connection.
struct Scripted {
    server: FakeServer,
    subscribes: Receiver<Value>,
}

impl Scripted {
    /// One script per connection. After the last one the connection stays open.
    fn new(scripts: Vec<Vec<Value>>) -> Scripted {
        let (sender, subscribes) = channel();
        let connections = AtomicUsize::new(0);
        let server = FakeServer::new(move |stream| {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
            let Some(request) = read(&mut socket) else {
                return;
            };
            let request_id = request["request_id"].clone();
            let _is_over = sender.send(request);
            for frame in scripts.get(number).into_iter().flatten() {
                let mut frame = frame.clone();
                if frame["type"] == "ack" {
                    frame["request_id"] = request_id.clone();
                }
                let _gone = socket.send(frame.to_string().into());
            }
            if number + 1 >= scripts.len() {
                while read(&mut socket).is_some() {}
            }
        });
        Scripted { server, subscribes }
    }

    fn subscribe(&self) -> Subscription {
        let client = builder(self.server.addr()).connect().unwrap();
        client.subscribe("t", Start::Now).unwrap()
    }

    /// The position in the next subscribe.
    fn resumed_from(&self) -> (Value, Value) {
        let request = self.subscribes.recv_timeout(DEADLINE).expect("a subscribe");
        (request["after_seq"].clone(), request["epoch"].clone())
    }
}

fn read(socket: &mut WebSocket<TcpStream>) -> Option<Value> {
    let text = socket.read().ok()?.into_text().ok()?;
    serde_json::from_str(&text).ok()
}

fn ack(seq: u64, epoch: &str) -> Value {
    json!({"type": "ack", "topic": "t", "status": "ok", "seq": seq, "epoch": epoch, "ts": "z"})
}

fn resumed(seq: u64, epoch: &str, recovered: bool) -> Value {
    let mut ack = ack(seq, epoch);
    ack["recovered"] = json!(recovered);
    ack
}

fn event(seq: u64) -> Value {
    json!({"type": "event", "topic": "t", "message": {"id": "i", "payload": seq}, "seq": seq, "ts": "z"})
}

fn gap() -> Value {
    json!({"type": "info", "topic": "t", "msg": "gap", "gap": {"reason": "epoch_changed"}, "ts": "z"})
}

fn live_gap(seq: u64, epoch: &str) -> Value {
    let mut gap = gap();
    (gap["seq"], gap["epoch"]) = (json!(seq), json!(epoch));
    gap
}

#[track_caller]
fn expect_epoch_change(subscription: &mut Subscription) {
    match next(subscription) {
        Delivery::Gap(gap) => {
            assert_eq!((gap.reason(), gap.range()), (GapReason::EpochChanged, None));
        }
        other => panic!("expected a gap, got {other:?}"),
    }
}

#[track_caller]
fn expect_events(subscription: &mut Subscription, seqs: &[u64]) {
    for seq in seqs {
        assert_eq!(next_event(subscription).0, *seq);
    }
}

fn position(subscription: &Subscription) -> (u64, String) {
    let Position { seq, epoch } = subscription.position("t").expect("a position");
    (seq, epoch.to_string())
}

#[test]
fn live_epoch_change_is_a_gap_and_the_subscription_goes_on_in_the_new_epoch() {
    let scripted = Scripted::new(vec![
        vec![ack(5, "old"), event(6), live_gap(2, "new"), event(3)],
        vec![resumed(4, "new", true), event(4)],
    ]);
    let mut subscription = scripted.subscribe();
    expect_events(&mut subscription, &[6]);
    assert_eq!(position(&subscription), (6, "old".to_owned()));
    expect_epoch_change(&mut subscription);
    assert_eq!(position(&subscription), (2, "new".to_owned()));
    expect_events(&mut subscription, &[3, 4]);
    assert_eq!(scripted.resumed_from(), (Value::Null, Value::Null));
    assert_eq!(scripted.resumed_from(), (json!(3), json!("new")));
}

#[test]
fn position_of_a_live_epoch_change_is_resumed_from_before_its_first_event() {
    let scripted = Scripted::new(vec![
        vec![ack(5, "old"), live_gap(0, "new"), live_gap(0, "newer")],
        vec![resumed(1, "newer", true), event(1)],
    ]);
    let mut subscription = scripted.subscribe();
    expect_epoch_change(&mut subscription);
    assert_eq!(position(&subscription), (0, "new".to_owned()));
    expect_epoch_change(&mut subscription);
    expect_events(&mut subscription, &[1]);
    scripted.resumed_from();
    assert_eq!(scripted.resumed_from(), (json!(0), json!("newer")));
}

#[test]
fn topic_that_is_behind_the_position_in_its_epoch_is_read_anew() {
    let scripted = Scripted::new(vec![
        vec![ack(5, "e"), event(6)],
        vec![resumed(2, "e", false), gap(), event(1), event(2), event(3)],
        vec![resumed(4, "e", true), event(4)],
    ]);
    let mut subscription = scripted.subscribe();
    expect_events(&mut subscription, &[6]);
    expect_epoch_change(&mut subscription);
    expect_events(&mut subscription, &[1, 2, 3, 4]);
    scripted.resumed_from();
    assert_eq!(scripted.resumed_from(), (json!(6), json!("e")));
    assert_eq!(scripted.resumed_from(), (json!(3), json!("e")));
}
