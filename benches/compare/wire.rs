//! What the load needs to know of a protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;

use super::Failure;

/// The one topic of all measurements.
pub(crate) const TOPIC: &str = "bench";

/// A whole message at the start of what was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Bytes it takes.
    pub(crate) length: usize,
    /// Where its payload is; `None` for answers and notices.
    pub(crate) payload: Option<Range<usize>>,
}

/// One protocol, as a client speaks it.
pub(crate) trait Wire {
    /// Connects a subscriber to its topic; returns when the server has said so.
    fn subscribe(&self, stream: &mut TcpStream, index: usize) -> Result<(), Failure>;

    /// Prepares a connection for publishing.
    fn introduce(&self, stream: &mut TcpStream) -> Result<(), Failure>;

    /// Appends the request that publishes this.
    fn publish(&self, payload: &[u8], out: &mut Vec<u8>);

    /// The first message, if it is there whole; an error of the server is a failure.
    fn next(&self, received: &[u8]) -> Result<Option<Message>, Failure>;
}

/// Says something and reads until the answer ends with `end`.
pub(crate) fn ask(stream: &mut TcpStream, request: &[u8], end: &[u8]) -> Result<Vec<u8>, Failure> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut byte = [0];
    // Byte by byte: what follows the answer belongs to the load.
    while !answer.ends_with(end) {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    Ok(answer)
}

/// Where the first line ends, without its line break.
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|two| two == b"\r\n")
}
