//! Many publishers and subscribers at once: no client is affected by others, and every event is accounted for.
//! Races against a queue ([`crowds`]), other publishers ([`publishing`]), all kinds of subscribers ([`subscribing`]),
//! another takeover ([`takeovers`]), and the end of a connection ([`endings`]).

mod crowds;
mod endings;
mod publishing;
mod subscribing;
mod takeovers;

use crate::harness::{SequenceChecker, TestServer, WsClient};

const PUBLISHERS: usize = 4;

fn subscriber(server: &TestServer, topic: &str, client_id: &str) -> (WsClient, SequenceChecker) {
    let client = server.small_buffer_subscriber(topic, client_id);
    (client, SequenceChecker::starting_after(topic, 0))
}
