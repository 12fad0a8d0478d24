//! More publishers at once than a queue holds events: a subscriber whose socket takes everything misses nothing.
//!
//! Threads: three publishers; a subscriber with a queue of one whose connection has replies to send, too, and its writer. There is no gap,
//! under any policy, and publishers that find no room come to their end.

use super::peer::{account, has_gap, reached};
use super::site::{Client, TOPIC, ping, publisher, small_broker, topic};
use super::socket::Takes;
use super::{finds, holds};
use crate::config::OverflowPolicy;
use crate::sync::{Mutation, Time};

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
fn a_round_that_passes_by_a_busy_connection_is_found() {
    finds(
        Mutation::PassByBusy,
        &["a gap for one that is not slow"],
        Time::Stands,
        drop_oldest,
    );
}

#[test]
fn skipping_what_was_not_offered_is_found() {
    finds(
        Mutation::SkipUnoffered,
        &["a gap for one that is not slow"],
        Time::Stands,
        drop_oldest,
    );
}
