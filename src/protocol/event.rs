//! An event as it goes on the wire, encoded once and shared by all subscribers.

use std::sync::Arc;

use super::frame::{frame_lengths, header_len, push_text_header};
use super::{Message, Timestamp, TopicName};

/// What stands behind the time of an event.
const END: &str = r#""}"#;

const EVENT_BEGINS: &str = r#"{"type":"event""#;

/// Frames from this size on are shared with whoever sends them, smaller ones are copied.
const LARGE_FRAME_BYTES: usize = 32 << 10;

/// The whole WebSocket frame of one event: header and JSON text.
#[derive(Debug)]
pub(crate) enum EventFrame {
    Small(Box<[u8]>),
    Large(Arc<[u8]>),
}

impl EventFrame {
    fn new(frame: Vec<u8>) -> EventFrame {
        if frame.len() < LARGE_FRAME_BYTES {
            EventFrame::Small(frame.into_boxed_slice())
        } else {
            EventFrame::Large(frame.into())
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            EventFrame::Small(frame) => frame,
            EventFrame::Large(frame) => frame,
        }
    }

    /// When it was published.
    pub(crate) fn ts(&self) -> &str {
        let ts = self.ts_bytes().map(|ts| std::str::from_utf8(ts));
        ts.and_then(Result::ok).unwrap_or_default()
    }

    /// The same in microseconds since 1970.
    pub(crate) fn ts_micros(&self) -> u64 {
        self.ts_bytes().map_or(0, Timestamp::read_micros)
    }

    /// The `ts` is the last of the JSON text.
    fn ts_bytes(&self) -> Option<&[u8; Timestamp::LEN]> {
        self.bytes().strip_suffix(END.as_bytes())?.last_chunk()
    }

    /// The JSON text inside the frame.
    pub(crate) fn json(&self) -> &str {
        let (header, _) = frame_lengths(self.bytes());
        // Built from text, so it always is text.
        std::str::from_utf8(&self.bytes()[header..]).unwrap_or_default()
    }
}

/// Encodes an event. The parts are valid by their types, so nothing needs escaping.
pub(crate) fn encode_event(
    topic: &TopicName,
    message: &Message<'_>,
    seq: u64,
    ts: Timestamp,
) -> EventFrame {
    let mut digits = itoa::Buffer::new();
    let parts = [
        EVENT_BEGINS,
        r#","topic":""#,
        topic.as_str(),
        r#"","message":{"id":""#,
        message.id(),
        r#"","payload":"#,
        message.payload(),
        r#"},"seq":"#,
        digits.format(seq),
        r#","ts":""#,
    ];
    let text = parts.iter().map(|part| part.len()).sum::<usize>() + Timestamp::LEN + END.len();
    let mut frame = Vec::with_capacity(header_len(text) + text);
    push_text_header(text, &mut frame);
    parts
        .iter()
        .for_each(|part| frame.extend_from_slice(part.as_bytes()));
    frame.extend_from_slice(ts.as_bytes());
    frame.extend_from_slice(END.as_bytes());
    debug_assert_eq!(frame.len(), header_len(text) + text);
    EventFrame::new(frame)
}

/// How many events stand whole in the first `upto` bytes of a run of frames, and where the frame that `upto` cuts begins.
pub(crate) fn whole_events(frames: &[u8], upto: usize) -> (u64, usize) {
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
    fn only_whole_events_count() {
        let payload: Box<RawValue> =
            serde_json::from_str(&format!("\"{}\"", "x".repeat(200))).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let event = encode_event(&TopicName::new("t").unwrap(), &message, 1, Timestamp::now());
        let mut frames = event.bytes().to_vec();
        crate::protocol::push_pong(&mut frames, None);
        let second = frames.len();
        frames.extend_from_slice(event.bytes());
        for (upto, expected) in [
            (0, (0, 0)),
            (second - 1, (1, event.bytes().len())),
            (second, (1, second)),
            (frames.len() - 1, (1, second)),
            (frames.len(), (2, frames.len())),
        ] {
            assert_eq!(whole_events(&frames, upto), expected);
        }
    }

    proptest! {
        #[test]
        fn id_and_payload_come_out_as_they_went_in(seq: u64, pad in 0usize..70_000) {
            let raw = format!("{{ \"pad\" : \"{}\", \"n\":1.50 }}", "x".repeat(pad));
            let payload: Box<RawValue> = serde_json::from_str(&raw).unwrap();
            let id = "urn:uuid:550E8400-e29b-41d4-a716-446655440000";
            let message = Message::new(id, &payload).unwrap();
            let ts = Timestamp::now();
            let frame = encode_event(&TopicName::new("t").unwrap(), &message, seq, ts);
            prop_assert_eq!(frame.bytes().len(), header_len(frame.json().len()) + frame.json().len());
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
