//! Invariant 6: of every subscription, delivered + told as gaps = published since it began.
//!
//! Threads: two publishers; two subscribers that share what is gathered, one of them slow, with their writers; a third that comes in the
//! middle of it and asks for a replay. The topic keeps two events, so that there are gaps. Each peer must hear of
//! every event once, in order: itself, or that it is in a gap.

use super::holds;
use super::peer::{account, reached};
use super::site::{Client, TOPIC, publisher, resume, small_broker, subscribe_as, topic};
use super::socket::Takes;
use crate::config::OverflowPolicy;
use crate::sync::Time;

fn accounts() {
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
        client.socket.wait_until(|heard| reached(heard, TOPIC) == 4);
        let socket = client.socket.clone();
        client.close();
        assert_eq!(account(&socket.heard_whole(), TOPIC, 0), 4);
    }
}

#[test]
fn what_is_delivered_and_told_adds_up() {
    holds(Time::Stands, accounts);
}
