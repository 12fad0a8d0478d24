//! The notices of presence: who is subscribed to a topic, and who came and left.

use super::fields::{begin, end, field, json, number, raw};
use crate::protocol::frame::push_text;
use crate::protocol::{ClientId, TopicName};

/// Who is subscribed to a topic: how many, and some of their names.
pub(crate) fn push_presence_list(
    out: &mut Vec<u8>,
    topic: &TopicName,
    total: usize,
    names: &[ClientId],
) {
    push_presence(out, topic, total, |out| list(out, "subscribers", names));
}

/// Who came and left, and how many are subscribed now.
pub(crate) fn push_presence_changes(
    out: &mut Vec<u8>,
    topic: &TopicName,
    total: usize,
    joined: &[ClientId],
    left: &[ClientId],
) {
    push_presence(out, topic, total, |out| {
        list(out, "joined", joined);
        list(out, "left", left);
    });
}

fn push_presence(
    out: &mut Vec<u8>,
    topic: &TopicName,
    total: usize,
    lists: impl FnOnce(&mut Vec<u8>),
) {
    push_text(out, |out| {
        begin(out, "info", None);
        field(out, "topic", topic.as_str());
        field(out, "msg", "presence");
        number(out, "total", total as u64);
        lists(out);
        end(out);
    });
}

fn list(out: &mut Vec<u8>, name: &str, client_ids: &[ClientId]) {
    raw(out, name, "[");
    for (at, client_id) in client_ids.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json(out, client_id.as_str());
    }
    out.push(b']');
}
