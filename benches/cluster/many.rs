//! Many topics at once: a publisher that takes them in turn, and a subscriber of all of them. The sequence of each topic is
//! checked for itself: the load takes it for that of one of several publishers.

use threadcast::load::{Connection, Failure};

use super::load::protocol::{Message, Protocol};
use super::load::threadcast::{WebSocket, publish_to, read_ack, subscribe_request};
use super::servers::Servers;

/// Subscribes that wait for their acks at the same time.
const SUBSCRIBES_AT_ONCE: u64 = 100;

/// The protocol over WebSocket, with so many topics.
#[derive(Debug)]
pub(crate) struct ManyTopics(u64);

impl ManyTopics {
    /// Lives as long as the process.
    pub(crate) fn of(count: u64) -> &'static ManyTopics {
        Box::leak(Box::new(ManyTopics(count)))
    }
}

impl Protocol for ManyTopics {
    fn subscribe(&self, connection: &mut Connection, client_id: &str) -> Result<(), Failure> {
        connection.upgrade("/ws", None)?;
        for first in (0..self.0).step_by(SUBSCRIBES_AT_ONCE as usize) {
            let some = first..self.0.min(first + SUBSCRIBES_AT_ONCE);
            for number in some.clone() {
                let request = subscribe_request(&topic_name(number), client_id);
                connection.add_text(request.as_bytes());
            }
            connection.send()?;
            some.into_iter().try_for_each(|_| read_ack(connection))?;
        }
        Ok(())
    }

    fn open_publisher(&self, connection: &mut Connection) -> Result<(), Failure> {
        WebSocket.open_publisher(connection)
    }

    fn publish(&self, number: u64, payload: &str, out: &mut Vec<u8>) {
        publish_to(&topic_name((number - 1) % self.0), number, payload, out);
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        WebSocket.first_message(received)
    }
}

/// The name of one of many topics: as long as that of the one topic of the other loads.
pub(crate) fn topic_name(number: u64) -> String {
    format!("t{number:04}")
}

/// Creates so many topics.
pub(crate) fn create_topics(servers: &Servers, count: u64) -> Result<(), Failure> {
    let client = servers.client()?;
    for number in 0..count {
        client.create_topic(&topic_name(number))?;
    }
    Ok(())
}
