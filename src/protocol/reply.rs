//! Replies and notices: acks, pongs, errors, gaps and infos, each appended as a complete text frame.

mod fields;
mod pattern;
mod presence;
mod withdrawn;

use super::frame::push_text;
use super::{EpochName, ErrorCode, ErrorReply, Gap, GapReason, Timestamp, TopicName, TopicPattern};
use fields::{begin, end, end_at, error_object, field, flag, json, number, raw};
pub(crate) use pattern::{NotJoined, push_not_joined, push_pattern_ack, push_pattern_end};
pub(crate) use presence::{push_presence_changes, push_presence_list};
pub(crate) use withdrawn::{push_withdrawn, push_withdrawn_pattern};

/// Larger than most acks.
const ACK_BYTES: usize = 256;

/// The answer to a successful subscribe, unsubscribe or publish.
pub(crate) struct Ack<'a> {
    pub(crate) request_id: Option<&'a str>,
    pub(crate) topic: &'a str,
    pub(crate) seq: u64,
    /// In acks of a subscribe.
    pub(crate) epoch: Option<&'a str>,
    /// In acks of a resume: whether no event is missing.
    pub(crate) recovered: Option<bool>,
    /// In acks of a publish: whether the message had been published before.
    pub(crate) duplicate: bool,
    pub(crate) ts: Timestamp,
}

/// An info that is not the answer to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notice<'a> {
    /// The subscription of a topic that matches a pattern begins. What the ack is to a subscribe with a name.
    Subscribed {
        topic: &'a TopicName,
        pattern: &'a TopicPattern,
        seq: u64,
        epoch: EpochName,
        recovered: Option<bool>,
    },
    TopicDeleted {
        topic: &'a TopicName,
        /// If the subscription came from a pattern.
        pattern: Option<&'a TopicPattern>,
    },
    SubscriptionReplaced {
        topic: &'a TopicName,
        /// If the subscription came from a pattern.
        pattern: Option<&'a TopicPattern>,
        seq: u64,
    },
    /// The topic goes on in another epoch; its next event is the one after `seq`.
    EpochChanged {
        topic: &'a TopicName,
        epoch: EpochName,
        seq: u64,
    },
    ServerShutdown,
    Ping,
    /// The token of the connection expires then, unless it is renewed.
    TokenExpiring {
        exp: Timestamp,
    },
}

/// The answer to a further token.
pub(crate) fn push_renewed(out: &mut Vec<u8>, request_id: Option<&str>, exp: Timestamp) {
    push_text(out, |out| {
        begin(out, "ack", request_id);
        field(out, "status", "ok");
        field(out, "exp", exp.as_str());
        end(out);
    });
}

pub(crate) fn push_ack(out: &mut Vec<u8>, ack: &Ack<'_>) {
    out.reserve(ACK_BYTES);
    push_text(out, |out| {
        begin(out, "ack", ack.request_id);
        field(out, "topic", ack.topic);
        field(out, "status", "ok");
        number(out, "seq", ack.seq);
        if let Some(epoch) = ack.epoch {
            field(out, "epoch", epoch);
        }
        if let Some(recovered) = ack.recovered {
            flag(out, "recovered", recovered);
        }
        if ack.duplicate {
            raw(out, "duplicate", "true");
        }
        end_at(out, ack.ts);
    });
}

pub(crate) fn push_pong(out: &mut Vec<u8>, request_id: Option<&str>) {
    push_text(out, |out| {
        begin(out, "pong", request_id);
        end(out);
    });
}

pub(crate) fn push_error(out: &mut Vec<u8>, request_id: Option<&str>, error: &ErrorReply) {
    push_text(out, |out| {
        begin(out, "error", request_id);
        error_object(out, error.code, &error.message);
        end(out);
    });
}

/// Sent before the overflow policy closes the connection of a subscriber.
pub(crate) fn push_slow_consumer(out: &mut Vec<u8>, topic: &TopicName) {
    push_text(out, |out| {
        begin(out, "error", None);
        field(out, "topic", topic.as_str());
        error_object(
            out,
            ErrorCode::SlowConsumer,
            "too many undelivered events; resume from the last seq received",
        );
        end(out);
    });
}

/// Appends an error for a slow consumer, an info for any other reason.
pub(crate) fn push_gap(out: &mut Vec<u8>, topic: &TopicName, gap: &Gap) {
    push_text(out, |out| {
        if gap.reason == GapReason::SlowConsumer {
            begin(out, "error", None);
            field(out, "topic", topic.as_str());
            error_object(
                out,
                ErrorCode::SlowConsumer,
                &format!("{} events dropped", gap.count()),
            );
        } else {
            begin(out, "info", None);
            field(out, "topic", topic.as_str());
            field(out, "msg", "gap");
        }
        out.extend_from_slice(br#","gap":"#);
        json(out, gap);
        end(out);
    });
}

pub(crate) fn push_notice(out: &mut Vec<u8>, notice: Notice<'_>) {
    push_text(out, |out| {
        begin(out, "info", None);
        let (msg, topic, pattern, seq) = match notice {
            Notice::Subscribed {
                topic,
                pattern,
                seq,
                ..
            } => ("subscribed", Some(topic), Some(pattern), Some(seq)),
            Notice::TopicDeleted { topic, pattern } => {
                ("topic_deleted", Some(topic), pattern, None)
            }
            Notice::SubscriptionReplaced {
                topic,
                pattern,
                seq,
            } => ("subscription_replaced", Some(topic), pattern, Some(seq)),
            Notice::EpochChanged { topic, seq, .. } => ("gap", Some(topic), None, Some(seq)),
            Notice::ServerShutdown => ("server_shutdown", None, None, None),
            Notice::Ping => ("ping", None, None, None),
            Notice::TokenExpiring { .. } => ("token_expiring", None, None, None),
        };
        if let Some(topic) = topic {
            field(out, "topic", topic.as_str());
        }
        field(out, "msg", msg);
        if let Some(pattern) = pattern {
            field(out, "pattern", pattern.as_str());
        }
        if let Notice::EpochChanged { .. } = notice {
            out.extend_from_slice(br#","gap":"#);
            json(out, &Gap::epoch_changed());
        }
        if let Notice::EpochChanged { epoch, .. } | Notice::Subscribed { epoch, .. } = notice {
            field(out, "epoch", epoch.as_str());
        }
        if let Some(seq) = seq {
            number(out, "seq", seq);
        }
        if let Notice::TokenExpiring { exp } = notice {
            field(out, "exp", exp.as_str());
        }
        if let Notice::Subscribed {
            recovered: Some(recovered),
            ..
        } = notice
        {
            flag(out, "recovered", recovered);
        }
        end(out);
    });
}

#[cfg(test)]
mod tests;
