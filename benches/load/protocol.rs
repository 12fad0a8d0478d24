//! What the load needs to know of a protocol.

use std::fmt;
use std::ops::Range;

use threadcast::load::{Connection, Failure};

/// The one topic of all measurements.
pub(crate) const TOPIC: &str = "bench";

/// A whole message at the start of the received bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// An event, and where its payload begins and ends.
    Event(Range<usize>),
    /// Events that were dropped.
    Gap { from: u64, to: u64, count: u64 },
    /// A message was published.
    Ack,
    /// Anything that means nothing to the load.
    Other,
}

/// One protocol, as a client speaks it.
pub(crate) trait Protocol: fmt::Debug + Sync {
    /// Whether every published message is acknowledged.
    fn has_acks(&self) -> bool {
        true
    }

    /// Makes a subscriber of a fresh connection; returns when the server has confirmed it.
    fn subscribe(&self, connection: &mut Connection, client_id: &str) -> Result<(), Failure>;

    /// Makes a publisher of a fresh connection.
    fn open_publisher(&self, _connection: &mut Connection) -> Result<(), Failure> {
        Ok(())
    }

    /// Appends the request that publishes a JSON string, given without its quotation marks.
    fn publish(&self, number: u64, payload: &str, out: &mut Vec<u8>);

    /// The first message and its length, if all of it is there. An error of the server is a failure.
    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure>;
}

/// The length of the HTTP answer at the start of the received bytes, if all of it is there. A status other than 2xx is a failure.
pub(crate) fn first_answer(received: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(head_end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&received[..head_end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 20") {
        return Err(format!("not published: {}", String::from_utf8_lossy(received)).into());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .ok_or("an answer without a length")?;
    let end = head_end + 4 + length.trim().parse::<usize>()?;
    Ok((received.len() >= end).then_some(end))
}
