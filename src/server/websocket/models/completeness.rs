//! Invariant 6: for every subscription, received + reported as gaps = published since it began.
//!
//! Threads: two publishers; two subscribers that share read batches, one of them slow, with their writers; a third
//! subscriber that joins later with a replay. The topic keeps two events, so that there are gaps. Each peer must get every
//! event once and in order, as an event or within a gap.

use super::holds;
use super::peer::{check_events, reached};
use super::setup::{Client, TOPIC, publisher, resume, small_broker, subscribe_as, topic};
use super::socket::Takes;
use crate::config::OverflowPolicy;
use crate::sync::Time;

fn completeness() {
    let broker = small_broker(2, OverflowPolicy::DropOldest);
    let topic = topic(&broker);
    let mut clients = [
        Client::connect(&broker, 1, Takes::Everything),
        Client::connect(&broker, 2, Takes::Some),
        Client::connect(&broker, 3, Takes::Some),
    ];
    clients[0].ask(&subscribe_as(TOPIC, "fast", "s"));
    clients[1].ask(&subscribe_as(TOPIC, "slow", "s"));
    let publishers = [publisher(&topic, 2), publisher(&topic, 2)];
    clients[2].ask(&resume(0, "s"));
    for publisher in publishers {
        publisher.join().unwrap();
    }
    for client in clients {
        client
            .socket
            .wait_until(|received| reached(received, TOPIC) == 4);
        let socket = client.socket.clone();
        client.close();
        assert_eq!(check_events(&socket.received_whole(), TOPIC, 0), 4);
    }
}

#[test]
fn received_plus_reported_gaps_equals_published() {
    holds(Time::Stands, completeness);
}
