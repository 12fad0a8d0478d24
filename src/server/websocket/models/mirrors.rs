//! A mirror is appended to from several sides: the thread of a publisher appends its own batch at once, and the link brings
//! the same entry, perhaps not at all, twice or too late, while the stream is read. Each event is in the log once and in
//! order; a gap has only events that Redis has trimmed; every thread ends.
//!
//! Threads: two publishers of this node; one of another node; the one that applies what the link brings; one that reads the
//! stream; a subscriber and its writer. In the second model a subscriber also comes and goes, and the mirror is closed whenever
//! nobody is subscribed.

use super::holds;
use super::peer::{Received, ack, check_events, reached};
use super::setup::{Client, TOPIC, config, subscribe, unsubscribe};
use super::socket::Takes;
use crate::broker::Broker;
use crate::broker::redis::model::{ModelNode, Work};
use crate::sync::channel::Receiver;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Time};

/// The most entries that Redis keeps.
const KEEP: usize = 2;

fn node() -> (Arc<Broker>, Arc<ModelNode>, Receiver<Work>) {
    let broker = Arc::new(Broker::new(&config()));
    let (node, works) = ModelNode::new(&broker, TOPIC, KEEP);
    (broker, node, works)
}

fn spawn(node: &Arc<ModelNode>, run: impl FnOnce(&ModelNode) + Send + 'static) -> JoinHandle<()> {
    let node = Arc::clone(node);
    thread::spawn(move || run(&node))
}

/// Subscribes, to a mirror that is open then. Returns the request that was acknowledged.
fn subscribe_to_mirror(node: &ModelNode, client: &mut Client, request: &str) -> String {
    for attempt in 0.. {
        let request = format!("{request}-{attempt}");
        node.open_mirror();
        client.ask(&subscribe(TOPIC, &request));
        if ack(&client.socket.received(), &request).is_some() {
            return request;
        }
        // Somebody is closing the mirror, and may be about to remove it.
        thread::yield_now();
    }
    unreachable!("the loop has no other end")
}

/// Asserts that everything after `after` was received once and in order, up to `head`, and that nothing but trimmed events is
/// in a gap.
fn assert_exact(received: &[Received], after: u64, head: u64, trimmed: u64) {
    assert_eq!(check_events(received, TOPIC, after), head);
    for received in received {
        if let Received::Gap { to, .. } = received {
            assert!(*to <= trimmed, "a gap with events that Redis has");
        }
    }
}

fn from_two_sides() {
    let (broker, node, works) = node();
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    let request = subscribe_to_mirror(&node, &mut client, "s");
    let applier = spawn(&node, move |node| node.apply(&works));
    let others = [
        spawn(&node, |node| {
            (1..=2).for_each(|events| node.publish(events));
        }),
        spawn(&node, |node| node.publish(1)),
        spawn(&node, |node| drop((node.number(1), node.number(2)))),
        spawn(&node, ModelNode::look),
    ];
    others.into_iter().for_each(|other| other.join().unwrap());
    node.stop();
    applier.join().unwrap();
    // What the link lost last is found by the next look.
    node.look();
    let (head, trimmed) = node.head();
    let socket = client.socket.clone();
    socket.wait_until(|received| reached(received, TOPIC) == head);
    client.close();
    let received = socket.received_whole();
    let (at, seq) = ack(&received, &request).unwrap();
    assert_exact(&received[at..], seq, head, trimmed);
}

fn while_it_is_closed() {
    let (broker, node, works) = node();
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    let applier = spawn(&node, move |node| node.apply(&works));
    let others = [
        spawn(&node, |node| {
            (1..=2).for_each(|events| node.publish(events));
        }),
        spawn(&node, |node| drop(node.number(2))),
        spawn(&node, |node| (0..2).for_each(|_| node.close_unused())),
    ];
    let first = subscribe_to_mirror(&node, &mut client, "first");
    client.ask(&unsubscribe("u"));
    let second = subscribe_to_mirror(&node, &mut client, "second");
    others.into_iter().for_each(|other| other.join().unwrap());
    node.stop();
    applier.join().unwrap();
    node.look();
    let (head, trimmed) = node.head();
    let socket = client.socket.clone();
    socket.wait_until(|received| {
        let (at, seq) = ack(received, &second).unwrap();
        seq.max(reached(&received[at..], TOPIC)) == head
    });
    client.close();
    let received = socket.received_whole();
    let (began, seq) = ack(&received, &first).unwrap();
    let (ended, last) = ack(&received, "u").unwrap();
    let read = check_events(&received[began..ended], TOPIC, seq);
    assert!(read <= last, "an event after the end of its subscription");
    let (at, seq) = ack(&received, &second).unwrap();
    assert!(seq >= last, "the mirror is behind the one before it");
    assert_exact(&received[at..], seq, head, trimmed);
    assert_eq!(node.mirror().unwrap().subscriber_count(), 0);
    node.close_unused();
    assert!(node.mirror().is_none(), "an unused mirror stays open");
}

#[test]
fn a_mirror_has_each_event_once_and_in_order_whoever_appends() {
    holds(Time::Stands, from_two_sides);
}

#[test]
fn a_mirror_that_is_closed_and_opened_again_loses_nothing() {
    holds(Time::Stands, while_it_is_closed);
}
