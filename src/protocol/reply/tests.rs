//! Each frame has the fields that the protocol has for it, and no others.

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
        duplicate: false,
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
        duplicate: true,
        ..ack
    };
    let expected = json!({"type":"ack","request_id":"\"\u{1}","topic":"orders","status":"ok","seq":7,"epoch":"e","recovered":false,"duplicate":true});
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
fn acks_of_a_pattern_have_its_topics() {
    let pattern = TopicPattern::new("o*").unwrap();
    assert_eq!(
        pushed(|out| push_pattern_ack(out, Some("r"), &pattern, 2)),
        json!({"type":"ack","request_id":"r","topic":"o*","status":"ok","matched":2})
    );
    let epoch = EpochName::parse("00000000000000ee").unwrap();
    let positions = [
        (topic(), 7, epoch),
        (TopicName::new("o").unwrap(), 0, epoch),
    ];
    for count in 0..=2 {
        let ended = pushed(|out| push_pattern_end(out, None, &pattern, &positions[..count]));
        let mut expected = json!({"type":"ack","topic":"o*","status":"ok","positions":{}});
        for (topic, seq, _) in &positions[..count] {
            expected["positions"][topic.as_str()] =
                json!({"seq": seq, "epoch": "00000000000000ee"});
        }
        assert_eq!(ended, expected);
    }
}

#[test]
fn topics_that_do_not_join_are_named_or_counted() {
    let (pattern, topic) = (TopicPattern::new("o*").unwrap(), topic());
    let error = ErrorReply::new(ErrorCode::LimitReached, "enough");
    let told = |what| pushed(|out| push_not_joined(out, &pattern, what, &error));
    assert_eq!(
        told(NotJoined::Topic(&topic)),
        json!({"type":"error","topic":"orders","pattern":"o*","error":{"code":"LIMIT_REACHED","message":"enough"}})
    );
    assert_eq!(
        told(NotJoined::Found(3)),
        json!({"type":"error","pattern":"o*","count":3,"error":{"code":"LIMIT_REACHED","message":"enough"}})
    );
}

#[test]
fn notices_contain_topic_and_seq() {
    let replaced = pushed(|out| {
        push_notice(
            out,
            Notice::SubscriptionReplaced {
                topic: &topic(),
                pattern: None,
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
    let pattern = &TopicPattern::new("o*").unwrap();
    let subscribed = Notice::Subscribed {
        topic: &topic(),
        pattern,
        seq: 5,
        epoch: EpochName::parse("00000000000000ee").unwrap(),
        recovered: Some(true),
    };
    assert_eq!(
        pushed(|out| push_notice(out, subscribed)),
        json!({"type":"info","topic":"orders","msg":"subscribed","pattern":"o*","epoch":"00000000000000ee","seq":5,"recovered":true})
    );
    let deleted = Notice::TopicDeleted {
        topic: &topic(),
        pattern: Some(pattern),
    };
    assert_eq!(
        pushed(|out| push_notice(out, deleted)),
        json!({"type":"info","topic":"orders","msg":"topic_deleted","pattern":"o*"})
    );
    assert_eq!(
        pushed(|out| push_notice(out, Notice::ServerShutdown)),
        json!({"type":"info","msg":"server_shutdown"})
    );
}
