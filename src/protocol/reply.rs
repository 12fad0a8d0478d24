//! Replies and notices: acks, pongs, errors, gaps and infos, each appended as a complete text frame.

use super::frame::push_text;
use super::{EpochName, ErrorCode, ErrorReply, Gap, GapReason, Timestamp, TopicName};

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
    pub(crate) ts: Timestamp,
}

/// An info that is not the answer to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notice<'a> {
    TopicDeleted {
        topic: &'a TopicName,
    },
    SubscriptionReplaced {
        topic: &'a TopicName,
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
            raw(out, "recovered", if recovered { "true" } else { "false" });
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
        let (topic, msg, seq) = match notice {
            Notice::TopicDeleted { topic } => (Some(topic), "topic_deleted", None),
            Notice::SubscriptionReplaced { topic, seq } => {
                (Some(topic), "subscription_replaced", Some(seq))
            }
            Notice::EpochChanged { topic, seq, .. } => (Some(topic), "gap", Some(seq)),
            Notice::ServerShutdown => (None, "server_shutdown", None),
            Notice::Ping => (None, "ping", None),
        };
        if let Some(topic) = topic {
            field(out, "topic", topic.as_str());
        }
        field(out, "msg", msg);
        if let Notice::EpochChanged { epoch, .. } = notice {
            out.extend_from_slice(br#","gap":"#);
            json(out, &Gap::epoch_changed());
            field(out, "epoch", epoch.as_str());
        }
        if let Some(seq) = seq {
            number(out, "seq", seq);
        }
        end(out);
    });
}

fn begin(out: &mut Vec<u8>, kind: &str, request_id: Option<&str>) {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
    if let Some(id) = request_id {
        out.extend_from_slice(br#","request_id":"#);
        json(out, id);
    }
}

fn error_object(out: &mut Vec<u8>, code: ErrorCode, message: &str) {
    out.extend_from_slice(br#","error":{"code":""#);
    out.extend_from_slice(code.as_str().as_bytes());
    out.extend_from_slice(br#"","message":"#);
    json(out, message);
    out.push(b'}');
}

/// Appends a field whose value needs no escaping.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    raw(out, name, "\"");
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Appends a field whose value is JSON text.
fn raw(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value.as_bytes());
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    raw(out, name, itoa::Buffer::new().format(value));
}

fn json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Serializing strings and gaps cannot fail, and neither can writing to a Vec.
    let _ = serde_json::to_writer(out, value);
}

fn end(out: &mut Vec<u8>) {
    end_at(out, Timestamp::now());
}

fn end_at(out: &mut Vec<u8>, ts: Timestamp) {
    out.extend_from_slice(br#","ts":""#);
    out.extend_from_slice(ts.as_bytes());
    out.extend_from_slice(br#""}"#);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        push(&mut out);
        let header = if out[1] == 126 { 4 } else { 2 };
        let mut value: Value = serde_json::from_slice(&out[header..]).unwrap();
        assert!(
            value["ts"]
                .as_str()
                .is_some_and(|ts| ts.len() == Timestamp::LEN)
        );
        value.as_object_mut().unwrap().remove("ts");
        value
    }

    fn topic() -> TopicName {
        TopicName::new("orders").unwrap()
    }

    #[test]
    fn ack_omits_absent_fields() {
        let ack = Ack {
            request_id: None,
            topic: "orders",
            seq: 7,
            epoch: None,
            recovered: None,
            ts: Timestamp::now(),
        };
        assert_eq!(
            pushed(|out| push_ack(out, &ack)),
            json!({"type":"ack","topic":"orders","status":"ok","seq":7})
        );
        let ack = Ack {
            request_id: Some("\"\u{1}"),
            epoch: Some("e"),
            recovered: Some(false),
            ..ack
        };
        let expected = json!({"type":"ack","request_id":"\"\u{1}","topic":"orders","status":"ok","seq":7,"epoch":"e","recovered":false});
        assert_eq!(pushed(|out| push_ack(out, &ack)), expected);
    }

    #[test]
    fn gap_is_an_error_for_a_slow_consumer_and_else_an_info() {
        let slow = pushed(|out| push_gap(out, &topic(), &Gap::slow_consumer(101, 137)));
        assert_eq!(
            slow,
            json!({"type":"error","topic":"orders","error":{"code":"SLOW_CONSUMER","message":"37 events dropped"},
                   "gap":{"from_seq":101,"to_seq":137,"count":37,"reason":"slow_consumer"}})
        );
        let epoch = pushed(|out| push_gap(out, &topic(), &Gap::epoch_changed()));
        assert_eq!(
            epoch,
            json!({"type":"info","topic":"orders","msg":"gap","gap":{"reason":"epoch_changed"}})
        );
    }

    #[test]
    fn notices_contain_topic_and_seq() {
        let replaced = pushed(|out| {
            push_notice(
                out,
                Notice::SubscriptionReplaced {
                    topic: &topic(),
                    seq: 3,
                },
            );
        });
        assert_eq!(
            replaced,
            json!({"type":"info","topic":"orders","msg":"subscription_replaced","seq":3})
        );
        let changed = Notice::EpochChanged {
            topic: &topic(),
            epoch: EpochName::parse("00000000000000ee").unwrap(),
            seq: 0,
        };
        assert_eq!(
            pushed(|out| push_notice(out, changed)),
            json!({"type":"info","topic":"orders","msg":"gap","gap":{"reason":"epoch_changed"},"epoch":"00000000000000ee","seq":0})
        );
        assert_eq!(
            pushed(|out| push_notice(out, Notice::ServerShutdown)),
            json!({"type":"info","msg":"server_shutdown"})
        );
    }
}
