//! The peer of a model: decodes the frames that it received, and checks that events are complete and in order.

use serde_json::Value;

use super::decoder;
use crate::protocol::Encoding;

/// A received frame, as far as the models check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// With the `request_id` that it answers.
    Ack {
        to: String,
        seq: u64,
    },
    /// Errors and pongs.
    Reply {
        to: String,
        code: Option<String>,
    },
    Event {
        topic: String,
        seq: u64,
    },
    Gap {
        topic: String,
        from: u64,
        to: u64,
    },
    Notice {
        msg: String,
        seq: Option<u64>,
    },
    Presence(PresenceNotice),
    Close(u16),
    /// Of an event stream: the head of the response, a comment, a reconnection time, the end of the body.
    Head,
    Comment(String),
    Retry,
    EndOfBody,
}

/// Who is subscribed: everybody, or who came and left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PresenceNotice {
    pub(crate) total: usize,
    pub(crate) all: Option<Vec<String>>,
    pub(crate) joined: Vec<String>,
    pub(crate) left: Vec<String>,
}

/// The bytes received, and the frames in them.
pub(crate) struct Stream {
    encoding: Encoding,
    /// The bytes of an incomplete frame.
    rest: Vec<u8>,
    pub(crate) received: Vec<Received>,
}

impl Stream {
    pub(crate) fn new(encoding: Encoding) -> Stream {
        Stream {
            encoding,
            rest: Vec::new(),
            received: Vec::new(),
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some((received, end)) = self.first() {
            let last = self.received.last();
            let after_close = matches!(last, Some(Received::Close(_)));
            assert!(!after_close, "{received:?} after the close frame");
            let after_end = matches!(last, Some(Received::EndOfBody));
            assert!(!after_end, "{received:?} after the end of the body");
            self.received.push(received);
            self.rest.drain(..end);
        }
    }

    /// What comes first in the rest, if it is complete, and where it ends.
    fn first(&self) -> Option<(Received, usize)> {
        match self.encoding {
            Encoding::WebSocket => {
                let (opcode, range) = whole_frame(&self.rest)?;
                let end = range.end;
                Some((read(opcode, &self.rest[range]), end))
            }
            Encoding::EventStream(coding) => {
                decoder::first(coding, &self.rest, self.received.is_empty())
            }
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The opcode and the range of the payload of the first frame, if it is complete.
fn whole_frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    let is_ours = matches!(first, 0x81 | 0x88) && second < 127;
    assert!(is_ours, "no frame begins with {first:#x} {second:#x}");
    let range = match second {
        126 => {
            let length = bytes.get(2..4)?;
            4..4 + usize::from(u16::from_be_bytes([length[0], length[1]]))
        }
        short => 2..2 + usize::from(short),
    };
    (bytes.len() >= range.end).then_some((first & 0xf, range))
}

fn read(opcode: u8, payload: &[u8]) -> Received {
    if opcode == 8 {
        return Received::Close(u16::from_be_bytes([payload[0], payload[1]]));
    }
    read_json(&serde_json::from_slice(payload).expect("a frame holds JSON"))
}

/// Reads the JSON text of a frame or of an event of a stream.
pub(super) fn read_json(json: &Value) -> Received {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (seq, to) = (json["seq"].as_u64(), text(&json["request_id"]));
    let (topic, gap) = (text(&json["topic"]), &json["gap"]);
    if let (Some(from), Some(to)) = (gap["from_seq"].as_u64(), gap["to_seq"].as_u64()) {
        return Received::Gap { topic, from, to };
    }
    match json["type"].as_str() {
        Some("event") => Received::Event {
            topic,
            seq: seq.expect("an event has a seq"),
        },
        Some("ack") => match seq {
            Some(seq) => Received::Ack { to, seq },
            // Of a pattern.
            None => Received::Reply { to, code: None },
        },
        Some("info") if json["msg"] == "presence" => {
            Received::Presence(read_presence(json).expect("a list, or changes"))
        }
        Some("info") => Received::Notice {
            msg: text(&json["msg"]),
            seq,
        },
        _ => Received::Reply {
            to,
            code: json["error"]["code"].as_str().map(str::to_owned),
        },
    }
}

fn read_presence(json: &Value) -> Option<PresenceNotice> {
    let names = |field: &str| {
        let names = json.get(field)?.as_array()?.iter();
        let names = names.map(|name| name.as_str().unwrap_or_default().to_owned());
        Some(names.collect())
    };
    let total = json["total"].as_u64()? as usize;
    let all = names("subscribers");
    let is_all = all.is_some();
    let [joined, left] = ["joined", "left"].map(names);
    Some(PresenceNotice {
        total,
        all,
        joined: if is_all { Vec::new() } else { joined? },
        left: if is_all { Vec::new() } else { left? },
    })
}

/// Whether this request was answered, with an ack or another reply.
pub(crate) fn answered(received: &[Received], request: &str) -> bool {
    received.iter().any(
        |received| matches!(received, Received::Ack { to, .. } | Received::Reply { to, .. } if to == request),
    )
}

/// Checks a subscription that began after `after`: each event was received once and in order, or reported as a gap. Returns
/// its last seq.
pub(crate) fn check_events(received: &[Received], topic: &str, after: u64) -> u64 {
    let mut at = after;
    for received in received {
        match received {
            Received::Event { topic: of, seq } if of == topic => {
                assert_eq!(
                    *seq,
                    at + 1,
                    "events of '{topic}' with a hole or out of order"
                );
                at = *seq;
            }
            Received::Gap {
                topic: of,
                from,
                to,
            } if of == topic => {
                assert_eq!(*from, at + 1, "a gap of '{topic}' in the wrong place");
                assert!(to >= from, "an empty gap");
                at = *to;
            }
            _ => {}
        }
    }
    at
}

/// The seq of the last event or gap, without checks.
pub(crate) fn reached(received: &[Received], topic: &str) -> u64 {
    let last = received.iter().rev().find_map(|received| match received {
        Received::Event { topic: of, seq }
        | Received::Gap {
            topic: of, to: seq, ..
        } if of == topic => Some(*seq),
        _ => None,
    });
    last.unwrap_or(0)
}

pub(crate) fn has_gap(received: &[Received]) -> bool {
    received
        .iter()
        .any(|received| matches!(received, Received::Gap { .. }))
}

/// The index of the notice with this text.
pub(crate) fn notice(received: &[Received], text: &str) -> Option<usize> {
    received
        .iter()
        .position(|received| matches!(received, Received::Notice { msg, .. } if msg == text))
}

/// The index of the ack of this request, and its seq.
pub(crate) fn ack(received: &[Received], request: &str) -> Option<(usize, u64)> {
    received
        .iter()
        .enumerate()
        .find_map(|(at, received)| match received {
            Received::Ack { to, seq } if to == request => Some((at, *seq)),
            _ => None,
        })
}
