//! What every scene begins with: the topic, its subscribers, its publishers.

use super::Failure;
use super::client::Client;
use super::load::{Load, Subscriber};
use super::server::ServerProcess;
use super::verify::Reading;

/// The topic of every scene.
pub(crate) const TOPIC: &str = "bench";
/// The payload of every figure.
pub(crate) const PAYLOAD_BYTES: usize = 128;

/// Creates the topic and connects its publishers and all subscribers.
pub(crate) fn open_load(
    server: &ServerProcess,
    publishers: usize,
    subscribers: usize,
) -> Result<Load, Failure> {
    server.create_topic(TOPIC)?;
    let subscribers = (0..subscribers)
        .map(|index| subscribe(server, &format!("reader-{index}"), publishers, None))
        .collect::<Result<_, _>>()?;
    let publishers = (0..publishers)
        .map(|_| Client::connect(server.address(), None))
        .collect::<Result<_, _>>()?;
    Load::new(TOPIC, publishers, subscribers)
}

/// One more subscriber of the topic, to which so many publish.
pub(crate) fn subscribe(
    server: &ServerProcess,
    client_id: &str,
    publishers: usize,
    receive_buffer_bytes: Option<usize>,
) -> Result<Subscriber, Failure> {
    let mut client = Client::connect(server.address(), receive_buffer_bytes)?;
    client.subscribe(TOPIC, client_id)?;
    Ok(Subscriber {
        client,
        reading: Reading::of(publishers),
    })
}
