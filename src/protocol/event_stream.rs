//! Server-Sent Events: the text of one event, the ids, and the chunks of HTTP/1.1 around them.
//!
//! Each event is one chunk, so that an event can be counted, split and shared as a WebSocket frame can.

use std::io::Write;

use super::EpochName;
use super::frame::frame_lengths;

/// What ends a chunked body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the body of the response is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferCoding {
    /// For HTTP/1.1: one chunk for each event.
    Chunked,
    /// For HTTP/1.0: the end of the connection is the end of the body.
    UntilClose,
}

/// The `id` of an event: the position that a resume needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) epoch: EpochName,
    pub(crate) seq: u64,
}

impl EventId {
    pub(crate) fn next(self) -> EventId {
        let seq = self.seq + 1;
        EventId { seq, ..self }
    }
}

/// One event of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamEvent<'a> {
    /// The reconnection time from now on.
    pub(crate) retry_millis: Option<u32>,
    pub(crate) id: Option<EventId>,
    /// The value of `event:`.
    pub(crate) name: &'a str,
    /// One JSON text; it may have line breaks between its values.
    pub(crate) json: &'a [u8],
}

impl<'a> StreamEvent<'a> {
    pub(crate) fn named(name: &'a str) -> StreamEvent<'a> {
        StreamEvent {
            retry_millis: None,
            id: None,
            name,
            json: b"",
        }
    }

    /// Appends the event as the coding wants it.
    pub(crate) fn push(&self, coding: TransferCoding, out: &mut Vec<u8>) {
        let has_line_breaks = self.json.iter().filter(|byte| is_line_break(byte)).count() > 0;
        if has_line_breaks {
            let lines = split_lines(self.json);
            return StreamEvent {
                json: &lines,
                ..*self
            }
            .push_lines(coding, out);
        }
        self.push_lines(coding, out);
    }

    /// Appends the event, whose JSON has `data: ` behind each line break.
    fn push_lines(&self, coding: TransferCoding, out: &mut Vec<u8>) {
        let mut numbers = (itoa::Buffer::new(), itoa::Buffer::new());
        let retry = self.retry_millis.map(|millis| numbers.0.format(millis));
        let retry: [&[u8]; 3] = match retry {
            Some(millis) => [b"retry: ", millis.as_bytes(), b"\n"],
            None => [b""; 3],
        };
        let id: [&[u8]; 5] = match &self.id {
            Some(EventId { epoch, seq }) => [
                b"id: ",
                epoch.as_bytes(),
                b":",
                numbers.1.format(*seq).as_bytes(),
                b"\n",
            ],
            None => [b""; 5],
        };
        let rest = [
            b"event: ",
            self.name.as_bytes(),
            b"\ndata: ",
            self.json,
            b"\n\n",
        ];
        let parts = || retry.iter().chain(&id).chain(&rest);
        let len = parts().map(|part| part.len()).sum();
        coding.push(out, len, |out| {
            parts().for_each(|part| out.extend_from_slice(part));
        });
    }
}

impl TransferCoding {
    /// Appends a comment, which a client ignores.
    pub(crate) fn push_comment(self, out: &mut Vec<u8>, text: &str) {
        let line = format!(": {text}\n\n");
        self.push(out, line.len(), |out| {
            out.extend_from_slice(line.as_bytes());
        });
    }

    /// Appends a reconnection time that is not part of an event.
    pub(crate) fn push_retry(self, out: &mut Vec<u8>, millis: u32) {
        let line = format!("retry: {millis}\n\n");
        self.push(out, line.len(), |out| {
            out.extend_from_slice(line.as_bytes());
        });
    }

    /// Appends what ends the body.
    pub(crate) fn push_end(self, out: &mut Vec<u8>) {
        if self == TransferCoding::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
    }

    /// Appends `len` bytes, which `write` appends.
    fn push(self, out: &mut Vec<u8>, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        out.reserve(len + 2 * size_of::<usize>() + 4);
        match self {
            TransferCoding::UntilClose => write(out),
            TransferCoding::Chunked => {
                // Writing into a Vec cannot fail.
                let _ = write!(out, "{len:x}\r\n");
                write(out);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// See [`Encoding::whole_events`](super::Encoding::whole_events). What follows [`LAST_CHUNK`] is not looked at.
    pub(super) fn whole_events(self, bytes: &[u8], upto: usize) -> (u64, usize) {
        let (mut events, mut at) = (0, 0);
        while at < upto {
            let Some((text, end)) = self.first(&bytes[at..]) else {
                break;
            };
            if at + end > upto {
                break;
            }
            events += u64::from(is_event(text));
            at += end;
        }
        (events, at)
    }

    /// The first event of these bytes, and where its chunk ends.
    fn first(self, bytes: &[u8]) -> Option<(&[u8], usize)> {
        match self {
            TransferCoding::UntilClose => {
                let blank = bytes.windows(2).position(|pair| pair == b"\n\n")?;
                Some((&bytes[..blank + 2], blank + 2))
            }
            TransferCoding::Chunked => {
                let line = bytes.iter().position(|byte| *byte == b'\r')?;
                let digits = std::str::from_utf8(&bytes[..line]).ok()?;
                let len = usize::from_str_radix(digits, 16).ok()?;
                let text = bytes.get(line + 2..line + 2 + len)?;
                Some((text, line + 2 + len + 2))
            }
        }
    }
}

/// Whether a text is that of a published event: its `id` and its name come first. Without an id, the name is the first line.
fn is_event(text: &[u8]) -> bool {
    const NAME: &[u8] = b"event: event\n";
    let after_id = text
        .strip_prefix(b"id: ")
        .and_then(|id| id.splitn(2, |byte| *byte == b'\n').nth(1));
    after_id.unwrap_or(text).starts_with(NAME)
}

/// The JSON text in a WebSocket text frame of this server.
pub(super) fn frame_json(frame: &[u8]) -> &[u8] {
    let (header, payload) = frame_lengths(frame);
    &frame[header..header + payload]
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Puts `data: ` behind each line break. A line ends with CR LF, LF or CR; a client joins lines with LF.
fn split_lines(json: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(json.len() * 2);
    let mut bytes = json.iter().peekable();
    while let Some(byte) = bytes.next() {
        if !is_line_break(byte) {
            lines.push(*byte);
            continue;
        }
        if *byte == b'\r' {
            bytes.next_if(|next| **next == b'\n');
        }
        lines.extend_from_slice(b"\ndata: ");
    }
    lines
}

#[cfg(test)]
mod tests;
