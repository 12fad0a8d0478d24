//! The peer of a model: reads the frames, and keeps the accounts of what it was told.

use serde_json::Value;

/// One frame, as far as the models look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// With the `request_id` it answers.
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
    Close(u16),
}

/// The bytes received, and the frames in them.
#[derive(Default)]
pub(crate) struct Stream {
    /// What does not make a frame yet.
    rest: Vec<u8>,
    pub(crate) heard: Vec<Heard>,
}

impl Stream {
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some((opcode, range)) = whole_frame(&self.rest) {
            let end = range.end;
            let heard = read(opcode, &self.rest[range]);
            let after_close = matches!(self.heard.last(), Some(Heard::Close(_)));
            assert!(!after_close, "{heard:?} behind the close frame");
            self.heard.push(heard);
            self.rest.drain(..end);
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The opcode and the payload of the frame that begins here, if it is whole.
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

fn read(opcode: u8, payload: &[u8]) -> Heard {
    if opcode == 8 {
        return Heard::Close(u16::from_be_bytes([payload[0], payload[1]]));
    }
    let json: Value = serde_json::from_slice(payload).expect("a frame holds JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (seq, to) = (json["seq"].as_u64(), text(&json["request_id"]));
    let (topic, gap) = (text(&json["topic"]), &json["gap"]);
    if let (Some(from), Some(to)) = (gap["from_seq"].as_u64(), gap["to_seq"].as_u64()) {
        return Heard::Gap { topic, from, to };
    }
    match json["type"].as_str() {
        Some("event") => Heard::Event {
            topic,
            seq: seq.expect("an event has a seq"),
        },
        Some("ack") => Heard::Ack {
            to,
            seq: seq.expect("an ack has a seq"),
        },
        Some("info") => Heard::Notice {
            msg: text(&json["msg"]),
            seq,
        },
        _ => Heard::Reply {
            to,
            code: json["error"]["code"].as_str().map(str::to_owned),
        },
    }
}

/// Whether this request was answered, one way or the other.
pub(crate) fn answered(heard: &[Heard], request: &str) -> bool {
    heard.iter().any(
        |heard| matches!(heard, Heard::Ack { to, .. } | Heard::Reply { to, .. } if to == request),
    )
}

/// How far a subscription that began behind `after` has come: each event once, in order, or told as a gap.
pub(crate) fn account(heard: &[Heard], topic: &str, after: u64) -> u64 {
    let mut at = after;
    for heard in heard {
        match heard {
            Heard::Event { topic: of, seq } if of == topic => {
                assert_eq!(
                    *seq,
                    at + 1,
                    "events of '{topic}' with a hole or out of order"
                );
                at = *seq;
            }
            Heard::Gap {
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

/// How far it has come by the last frame, without looking at the rest.
pub(crate) fn reached(heard: &[Heard], topic: &str) -> u64 {
    let last = heard.iter().rev().find_map(|heard| match heard {
        Heard::Event { topic: of, seq }
        | Heard::Gap {
            topic: of, to: seq, ..
        } if of == topic => Some(*seq),
        _ => None,
    });
    last.unwrap_or(0)
}

pub(crate) fn has_gap(heard: &[Heard]) -> bool {
    heard.iter().any(|heard| matches!(heard, Heard::Gap { .. }))
}

/// Where the notice with this text stands.
pub(crate) fn notice(heard: &[Heard], text: &str) -> Option<usize> {
    heard
        .iter()
        .position(|heard| matches!(heard, Heard::Notice { msg, .. } if msg == text))
}

/// Where the ack of this request stands, and its seq.
pub(crate) fn ack(heard: &[Heard], request: &str) -> Option<(usize, u64)> {
    heard
        .iter()
        .enumerate()
        .find_map(|(at, heard)| match heard {
            Heard::Ack { to, seq } if to == request => Some((at, *seq)),
            _ => None,
        })
}
