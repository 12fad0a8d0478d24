//! What a client hears of its pattern: how many topics match, which do not join, and where its subscriptions ended.

use std::io::Write;

use super::fields::{begin, end, error_object, field, number};
use crate::protocol::frame::push_text;
use crate::protocol::{EpochName, ErrorReply, TopicName, TopicPattern};

/// The answer to a subscribe with a pattern: how many topics match.
pub(crate) fn push_pattern_ack(
    out: &mut Vec<u8>,
    request_id: Option<&str>,
    pattern: &TopicPattern,
    matched: usize,
) {
    push_text(out, |out| {
        begin(out, "ack", request_id);
        field(out, "topic", pattern.as_str());
        field(out, "status", "ok");
        number(out, "matched", matched as u64);
        end(out);
    });
}

/// The answer to an unsubscribe with a pattern: where each of its subscriptions ended.
pub(crate) fn push_pattern_end(
    out: &mut Vec<u8>,
    request_id: Option<&str>,
    pattern: &TopicPattern,
    positions: &[(TopicName, u64, EpochName)],
) {
    push_text(out, |out| {
        begin(out, "ack", request_id);
        field(out, "topic", pattern.as_str());
        field(out, "status", "ok");
        positions_field(out, positions);
        end(out);
    });
}

pub(super) fn positions_field(out: &mut Vec<u8>, positions: &[(TopicName, u64, EpochName)]) {
    out.extend_from_slice(br#","positions":{"#);
    for (at, (topic, seq, epoch)) in positions.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        // Names and epochs need no escaping, and writing to a Vec cannot fail.
        let _ = write!(
            out,
            r#"{comma}"{topic}":{{"seq":{seq},"epoch":"{}"}}"#,
            epoch.as_str()
        );
    }
    out.push(b'}');
}

/// What matches a pattern and would be one subscription too many.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NotJoined<'a> {
    /// A topic that appeared.
    Topic(&'a TopicName),
    /// Some of those that a subscribe found: how many.
    Found(usize),
}

pub(crate) fn push_not_joined(
    out: &mut Vec<u8>,
    pattern: &TopicPattern,
    what: NotJoined<'_>,
    error: &ErrorReply,
) {
    push_text(out, |out| {
        begin(out, "error", None);
        if let NotJoined::Topic(topic) = what {
            field(out, "topic", topic.as_str());
        }
        field(out, "pattern", pattern.as_str());
        if let NotJoined::Found(count) = what {
            number(out, "count", count as u64);
        }
        error_object(out, error.code, &error.message);
        end(out);
    });
}
