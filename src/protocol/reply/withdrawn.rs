//! The errors that end subscriptions which a renewed token does not allow any more.

use super::fields::{begin, end, error_object, field, number};
use super::pattern::positions_field;
use crate::protocol::frame::push_text;
use crate::protocol::{EpochName, ErrorReply, TopicName, TopicPattern};

/// Ends a subscription by name. `seq` is the last event that it was sent or reported as a gap.
pub(crate) fn push_withdrawn(out: &mut Vec<u8>, topic: &TopicName, seq: u64) {
    let error = ErrorReply::may_not_subscribe(topic.as_str());
    push_text(out, |out| {
        begin(out, "error", None);
        field(out, "topic", topic.as_str());
        number(out, "seq", seq);
        error_object(out, error.code, &error.message);
        end(out);
    });
}

/// Ends a pattern. The positions say where each of its subscriptions ended.
pub(crate) fn push_withdrawn_pattern(
    out: &mut Vec<u8>,
    pattern: &TopicPattern,
    positions: &[(TopicName, u64, EpochName)],
) {
    let error = ErrorReply::may_not_subscribe(pattern.as_str());
    push_text(out, |out| {
        begin(out, "error", None);
        field(out, "pattern", pattern.as_str());
        positions_field(out, positions);
        error_object(out, error.code, &error.message);
        end(out);
    });
}
