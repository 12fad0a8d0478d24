//! The frame of an event: encoded once, into the log, and sent from there to all subscribers.

use super::frame::{frame_lengths, header_len, text_header};
use super::{Message, Timestamp, TopicName};

/// The JSON text after the timestamp.
const END: &str = r#""}"#;

const EVENT_BEGINS: &str = r#"{"type":"event""#;

/// An event to be encoded. The types of its parts guarantee that nothing needs escaping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEvent<'a> {
    topic: &'a TopicName,
    message: &'a Message<'a>,
    seq: u64,
    ts: Timestamp,
    /// Length of the JSON text in bytes.
    text_len: usize,
}

impl<'a> NewEvent<'a> {
    pub(crate) fn new(
        topic: &'a TopicName,
        message: &'a Message<'a>,
        seq: u64,
        ts: Timestamp,
    ) -> NewEvent<'a> {
        let mut event = NewEvent {
            topic,
            message,
            seq,
            ts,
            text_len: 0,
        };
        let mut digits = itoa::Buffer::new();
        let parts = event.parts(&mut digits);
        let text = parts.iter().map(|part| part.len()).sum::<usize>();
        event.text_len = text + Timestamp::LEN + END.len();
        event
    }

    /// Length of the whole frame in bytes.
    pub(crate) fn frame_len(&self) -> usize {
        header_len(self.text_len) + self.text_len
    }

    /// Appends the whole frame: header and JSON text.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        out.reserve(self.frame_len());
        self.each_part(|part| out.extend_from_slice(part));
    }

    /// Writes the whole frame into `out`, which has exactly its length.
    pub(crate) fn write(&self, out: &mut [u8]) {
        let mut at = 0;
        self.each_part(|part| {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        });
        debug_assert_eq!(at, out.len());
    }

    fn each_part(&self, mut put: impl FnMut(&[u8])) {
        let (header, header_len) = text_header(self.text_len);
        put(&header[..header_len]);
        let mut digits = itoa::Buffer::new();
        for part in self.parts(&mut digits) {
            put(part.as_bytes());
        }
        put(self.ts.as_bytes());
        put(END.as_bytes());
    }

    /// The whole frame in a buffer of its own.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn to_frame(self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.frame_len());
        self.push(&mut frame);
        frame
    }

    /// The JSON text before the timestamp.
    fn parts<'b>(&self, digits: &'b mut itoa::Buffer) -> [&'b str; 10]
    where
        'a: 'b,
    {
        [
            EVENT_BEGINS,
            r#","topic":""#,
            self.topic.as_str(),
            r#"","message":{"id":""#,
            self.message.id(),
            r#"","payload":"#,
            self.message.payload(),
            r#"},"seq":"#,
            digits.format(self.seq),
            r#","ts":""#,
        ]
    }
}

/// The WebSocket frame of one event: header and JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventFrame<'a>(&'a [u8]);

impl<'a> EventFrame<'a> {
    /// `frame` was written by [`NewEvent::push`].
    pub(crate) fn new(frame: &'a [u8]) -> EventFrame<'a> {
        EventFrame(frame)
    }

    /// When it was published.
    pub(crate) fn ts(self) -> &'a str {
        let ts = self.ts_bytes().map(|ts| std::str::from_utf8(ts));
        ts.and_then(Result::ok).unwrap_or_default()
    }

    /// The timestamp in microseconds since 1970.
    pub(crate) fn ts_micros(self) -> u64 {
        self.ts_bytes().map_or(0, Timestamp::read_micros)
    }

    /// `ts` is the last field of the JSON text.
    fn ts_bytes(self) -> Option<&'a [u8; Timestamp::LEN]> {
        self.0.strip_suffix(END.as_bytes())?.last_chunk()
    }

    /// The JSON text inside the frame.
    pub(crate) fn json(self) -> &'a str {
        let (header, _) = frame_lengths(self.0);
        // The frame was built from valid UTF-8.
        std::str::from_utf8(&self.0[header..]).unwrap_or_default()
    }
}

/// Splits adjacent frames.
pub(super) fn split_frames(mut frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if frames.is_empty() {
            return None;
        }
        let (header, payload) = frame_lengths(frames);
        let (first, rest) = frames.split_at(header + payload);
        frames = rest;
        Some(first)
    })
}

/// How many whole events the first `upto` bytes of `frames` contain, and the offset of the frame that `upto` splits.
pub(super) fn whole_events(frames: &[u8], upto: usize) -> (u64, usize) {
    let (mut events, mut at) = (0, 0);
    while at < upto {
        let (header, payload) = frame_lengths(&frames[at..]);
        let end = at + header + payload;
        if end > upto {
            break;
        }
        events += u64::from(frames[at + header..].starts_with(EVENT_BEGINS.as_bytes()));
        at = end;
    }
    (events, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    #[test]
    fn only_whole_events_are_counted() {
        let payload: Box<RawValue> =
            serde_json::from_str(&format!("\"{}\"", "x".repeat(200))).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let topic = TopicName::new("t").unwrap();
        let event = NewEvent::new(&topic, &message, 1, Timestamp::now()).to_frame();
        let mut frames = event.clone();
        crate::protocol::push_pong(&mut frames, None);
        let second = frames.len();
        frames.extend_from_slice(&event);
        for (upto, expected) in [
            (0, (0, 0)),
            (second - 1, (1, event.len())),
            (second, (1, second)),
            (frames.len() - 1, (1, second)),
            (frames.len(), (2, frames.len())),
        ] {
            assert_eq!(whole_events(&frames, upto), expected);
        }
    }

    proptest! {
        #[test]
        fn id_and_payload_are_encoded_verbatim(seq: u64, pad in 0usize..70_000) {
            let raw = format!("{{ \"pad\" : \"{}\", \"n\":1.50 }}", "x".repeat(pad));
            let payload: Box<RawValue> = serde_json::from_str(&raw).unwrap();
            let id = "urn:uuid:550E8400-e29b-41d4-a716-446655440000";
            let message = Message::new(id, &payload).unwrap();
            let ts = Timestamp::now();
            let topic = TopicName::new("t").unwrap();
            let event = NewEvent::new(&topic, &message, seq, ts);
            let bytes = event.to_frame();
            prop_assert_eq!(bytes.len(), event.frame_len());
            let frame = EventFrame::new(&bytes);
            prop_assert_eq!(bytes.len(), header_len(frame.json().len()) + frame.json().len());
            let text = frame.json();
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            prop_assert_eq!(value["seq"].as_u64(), Some(seq));
            prop_assert_eq!(value["message"]["id"].as_str(), Some(id));
            prop_assert_eq!(value["ts"].as_str(), Some(frame.ts()));
            prop_assert!(text.contains(&raw));
            prop_assert_eq!(frame.ts_micros(), ts.micros());
        }
    }
}
