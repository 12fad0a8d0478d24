//! What the client understands of a frame, and what it refuses.

use super::*;
use proptest::prelude::*;

#[test]
fn event_borrows_from_its_text() {
    let text = r#"{"type":"event","topic":"t","message":{"id":"i","payload":[1.50, null]},"seq":7,"ts":"z","new":1}"#;
    let Ok(Frame::Event(event)) = parse(text) else {
        panic!("must be an event")
    };
    assert_eq!((event.payload.get(), event.seq), ("[1.50, null]", 7));
    assert!(matches!(
        (event.topic, event.id, event.ts),
        (Cow::Borrowed("t"), Cow::Borrowed("i"), Cow::Borrowed("z"))
    ));
}

#[test]
fn null_is_a_payload() {
    let text =
        r#"{"type":"event","topic":"t","message":{"id":"i","payload":null},"seq":7,"ts":"z"}"#;
    assert!(matches!(parse(text), Ok(Frame::Event(event)) if event.payload.get() == "null"));
}

#[test]
fn only_a_live_epoch_change_says_where_the_next_epoch_begins() {
    let next = |reason: &str, more: &str| {
        let text = format!(
            r#"{{"type":"info","topic":"t","msg":"gap","gap":{{"reason":"{reason}"}}{more},"ts":"z"}}"#
        );
        let Ok(Frame::Gap { next, .. }) = parse(&text) else {
            panic!("must be a gap: {text}")
        };
        next.map(|next| (next.seq, next.epoch.into_owned()))
    };
    let both = r#","epoch":"new","seq":7"#;
    assert_eq!(next("epoch_changed", both), Some((7, "new".to_owned())));
    assert_eq!(next("epoch_changed", ""), None, "on a resume");
    assert_eq!(next("epoch_changed", r#","seq":7"#), None);
    assert_eq!(next("a_new_reason", both), None);
}

#[test]
fn ack_of_a_pattern_has_no_seq() {
    let ack = r#"{"type":"ack","request_id":"1","topic":"t*","matched":2,"ts":"z"}"#;
    assert!(matches!(
        parse(ack),
        Ok(Frame::PatternAck {
            request_id: Cow::Borrowed("1")
        })
    ));
}

#[test]
fn topics_that_do_not_join_are_one_or_a_count() {
    let not_joined = |more: &str| {
        let text = format!(
            r#"{{"type":"error","pattern":"t*",{more},"error":{{"code":"LIMIT_REACHED","message":"m"}}}}"#
        );
        let Ok(Frame::NotJoined { topic, count, .. }) = parse(&text) else {
            panic!("must be topics that do not join: {text}")
        };
        (topic.map(Cow::into_owned), count)
    };
    assert_eq!(not_joined(r#""topic":"t1""#), (Some("t1".to_owned()), 1));
    assert_eq!(not_joined(r#""count":7"#), (None, 7));
}

#[test]
fn unknown_frames_are_ignored() {
    for text in [
        r#"{"type":"hello"}"#,
        r#"{"type":"info","msg":"news"}"#,
        r#"{"type":"info"}"#,
        r#"{"type":"pong","ts":"z"}"#,
        r#"{"type":"error","error":{"code":"NEW","message":""}}"#,
    ] {
        assert!(matches!(parse(text), Ok(Frame::Other)), "{text}");
    }
}

#[test]
fn frame_with_a_missing_field_is_an_error() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"type":"event"}"#,
        r#"{"type":"ack","request_id":"1"}"#,
        r#"{"type":"error"}"#,
        r#"{"type":"event","topic":"t","message":{"id":"i","payload":1},"seq":-1,"ts":"z"}"#,
        r#"{"type":"info","msg":"presence","topic":"t","subscribers":[]}"#,
        r#"{"type":"info","msg":"presence","topic":"t","total":1,"joined":["a"]}"#,
        r#"{"type":"info","msg":"presence","total":1,"subscribers":["a"]}"#,
        r#"{"type":"info","msg":"gap","topic":"t","gap":{"from_seq":5,"to_seq":4,"reason":"x"}}"#,
    ] {
        assert!(matches!(parse(text), Err(Error::Protocol { .. })), "{text}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[\\[\\]{}\":,a-z\\\\0-9 ]{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("{{\"type\":\"event\",{text}"));
    }
}
