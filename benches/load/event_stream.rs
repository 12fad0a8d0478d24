//! threadcast's Server-Sent Events, for subscribers.

use threadcast::load::{Connection, Failure};

use super::protocol::{Message, Protocol, TOPIC};
use super::threadcast::text_message;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const DATA: &[u8] = b"\ndata: ";
/// After the data of a block and its chunk.
const END: &[u8] = b"\n\n\r\n";
const ACK: &[u8] = b"\nevent: ack\n";

/// An event stream, which cannot publish.
#[derive(Debug)]
pub(crate) struct EventStream;

impl Protocol for EventStream {
    fn subscribe(&self, connection: &mut Connection, client_id: &str) -> Result<(), Failure> {
        let request = format!(
            "GET /topics/{TOPIC}/events?client_id={client_id} HTTP/1.1\r\nHost: bench\r\n\r\n"
        );
        let head = connection.exchange(request.as_bytes(), END_OF_HEAD)?;
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(format!("no stream: {}", String::from_utf8_lossy(&head)).into());
        }
        connection.exchange(b"", ACK)?;
        connection.exchange(b"", END)?;
        Ok(())
    }

    fn publish(&self, _number: u64, _payload: &str, _out: &mut Vec<u8>) {
        unreachable!("a stream only subscribes")
    }

    fn first_message(&self, received: &[u8]) -> Result<Option<(usize, Message)>, Failure> {
        let Some(line) = received.iter().take(9).position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let digits = std::str::from_utf8(&received[..line])?.trim_end();
        let length = usize::from_str_radix(digits, 16)?;
        let (start, end) = (line + 1, line + 1 + length + 2);
        if received.len() < end {
            return Ok(None);
        }
        let block = &received[start..end];
        // The id and the name come first, and both are short.
        let data = block.windows(DATA.len()).position(|part| part == DATA);
        let Some(data) = data.map(|at| start + at + DATA.len()) else {
            return Ok(Some((end, Message::Other)));
        };
        let text = data..end - END.len();
        Ok(Some((end, text_message(received, text)?)))
    }
}
