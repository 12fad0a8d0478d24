//! Many publishers and subscribers at once: nobody pays for what others do, and every book is exact. Divided by what is
//! raced: [`crowds`] against a queue, [`publishing`] against others who publish, [`subscribing`] against everything, [`takeovers`] against each other,
//! [`endings`] against whatever still comes.

mod crowds;
mod endings;
mod publishing;
mod subscribing;
mod takeovers;

use crate::harness::{Account, TestServer, WsClient};

const PUBLISHERS: usize = 4;

fn subscriber(server: &TestServer, topic: &str, client_id: &str) -> (WsClient, Account) {
    let client = server.narrow_subscriber(topic, client_id);
    (client, Account::starting_after(topic, 0))
}
