//! What every scene begins with: the topic, its subscribers, the publisher.

use super::Failure;
use super::client::Client;
use super::load::{Load, Subscriber};
use super::server::ServerProcess;
use super::verify::Reading;

/// The topic of every scene.
const TOPIC: &str = "bench";
/// The payload of every figure.
pub(crate) const PAYLOAD_BYTES: usize = 128;

/// Creates the topic and connects the publisher and all subscribers.
pub(crate) fn open_load(server: &ServerProcess, subscribers: usize) -> Result<Load, Failure> {
    server.create_topic(TOPIC)?;
    let subscribers = (0..subscribers)
        .map(|index| subscribe(server, &format!("reader-{index}"), None))
        .collect::<Result<_, _>>()?;
    Load::new(TOPIC, Client::connect(server.address(), None)?, subscribers)
}

/// One more subscriber of the topic.
pub(crate) fn subscribe(
    server: &ServerProcess,
    client_id: &str,
    receive_buffer_bytes: Option<usize>,
) -> Result<Subscriber, Failure> {
    let mut client = Client::connect(server.address(), receive_buffer_bytes)?;
    client.subscribe(TOPIC, client_id)?;
    Ok(Subscriber {
        client,
        reading: Reading::new(),
    })
}
