//! More concurrent publishers than a queue holds events: a subscriber whose socket takes everything misses nothing.
//!
//! Threads: three publishers; a subscriber with a queue of one event, whose connection also sends replies; its writer.
//! There is no gap under any policy, and publishers that find no room finish.

use super::holds;
use super::peer::{check_events, has_gap, reached};
use super::setup::{Client, TOPIC, ping, publish, publisher, small_broker, topic};
use super::socket::Takes;
use crate::config::OverflowPolicy;
use crate::sync::{Time, thread};

const PUBLISHERS: u64 = 3;
const EACH: u64 = 2;

fn crowd(overflow: OverflowPolicy) {
    let broker = small_broker(1, overflow);
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    let publishers: Vec<_> = (0..PUBLISHERS).map(|_| publisher(&topic, EACH)).collect();
    client.ask(&ping("p"));
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let all = PUBLISHERS * EACH;
    client
        .socket
        .wait_until(|received| reached(received, TOPIC) == all);
    let socket = client.socket.clone();
    client.close();
    let received = socket.received_whole();
    assert!(
        !has_gap(&received),
        "a gap for a subscriber that is not slow"
    );
    assert_eq!(check_events(&received, TOPIC, 0), all);
}

/// The socket first refuses this many events, and the writer sends them later.
fn after_a_refusal(refused: u64) {
    let broker = small_broker(1, OverflowPolicy::DropOldest);
    let topic = topic(&broker);
    let mut client = Client::connect(&broker, 1, Takes::Everything);
    client.subscribe("s");
    client.socket.take(Takes::Nothing);
    for _ in 0..refused {
        publish(&topic);
    }
    client.socket.take(Takes::Everything);
    let subscription = client.connection.subscriptions().remove(0);
    while client.connection.tally().0 < refused || subscription.lags() {
        thread::yield_now();
    }
    let publishers: Vec<_> = (0..PUBLISHERS).map(|_| publisher(&topic, EACH)).collect();
    client.ask(&ping("p"));
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let all = refused + PUBLISHERS * EACH;
    let socket = client.socket.clone();
    socket.wait_until(|received| reached(received, TOPIC) == all);
    client.close();
    let received = socket.received_whole();
    assert!(
        !has_gap(&received),
        "a gap for a subscriber that is not slow"
    );
    assert_eq!(check_events(&received, TOPIC, 0), all);
}

fn drop_oldest() {
    crowd(OverflowPolicy::DropOldest);
}

#[test]
fn drop_oldest_drops_nothing_for_a_subscriber_that_keeps_up() {
    holds(Time::Stands, drop_oldest);
}

#[test]
fn disconnect_ends_no_subscriber_that_keeps_up() {
    holds(Time::Stands, || crowd(OverflowPolicy::Disconnect));
}

#[test]
fn block_lets_all_publishers_finish_when_the_subscriber_keeps_up() {
    holds(Time::Stands, || crowd(OverflowPolicy::Block));
}

#[test]
fn a_subscriber_that_caught_up_after_one_refused_event_gets_no_gap() {
    holds(Time::Stands, || after_a_refusal(1));
}

#[test]
fn a_subscriber_that_caught_up_after_two_refused_events_gets_no_gap() {
    holds(Time::Stands, || after_a_refusal(2));
}
