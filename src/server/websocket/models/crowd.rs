//! More publishers at once than a queue holds events: a subscriber whose socket takes everything misses nothing.
//!
//! Threads: three publishers; a subscriber with a queue of one whose connection has replies to send, too, and its writer. There is no gap,
//! under any policy, and publishers that find no room come to their end.

use super::holds;
use super::peer::{account, has_gap, reached};
use super::site::{Client, TOPIC, ping, publish, publisher, small_broker, topic};
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
        .wait_until(|heard| reached(heard, TOPIC) == all);
    let socket = client.socket.clone();
    client.close();
    let heard = socket.heard_whole();
    assert!(!has_gap(&heard), "a gap for one that is not slow");
    assert_eq!(account(&heard, TOPIC, 0), all);
}

/// The socket has refused this many events once, and the writer has sent them since.
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
    socket.wait_until(|heard| reached(heard, TOPIC) == all);
    client.close();
    let heard = socket.heard_whole();
    assert!(!has_gap(&heard), "a gap for one that is not slow");
    assert_eq!(account(&heard, TOPIC, 0), all);
}

fn drop_oldest() {
    crowd(OverflowPolicy::DropOldest);
}

#[test]
fn with_drop_oldest_nothing_is_dropped() {
    holds(Time::Stands, drop_oldest);
}

#[test]
fn with_disconnect_nobody_is_disconnected() {
    holds(Time::Stands, || crowd(OverflowPolicy::Disconnect));
}

#[test]
fn with_block_everybody_gets_on() {
    holds(Time::Stands, || crowd(OverflowPolicy::Block));
}

#[test]
fn one_that_was_slow_and_has_caught_up_is_not_slow() {
    holds(Time::Stands, || after_a_refusal(1));
}

#[test]
fn one_that_was_slow_for_longer_and_has_caught_up_is_not_slow() {
    holds(Time::Stands, || after_a_refusal(2));
}
