use super::*;
use crate::protocol::{Encoding, Gap, Message, NewEvent, Notice, Timestamp, TopicName};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

const CODINGS: [TransferCoding; 2] = [TransferCoding::Chunked, TransferCoding::UntilClose];

fn epoch() -> EpochName {
    EpochName::parse("9f2c61d0a7b34e18").unwrap()
}

fn topic() -> TopicName {
    TopicName::new("orders").unwrap()
}

fn frame(payload: &str, seq: u64) -> Vec<u8> {
    let payload = RawValue::from_string(payload.to_owned()).unwrap();
    let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
    NewEvent::new(&topic(), &message, seq, Timestamp::EARLIEST).to_frame()
}

fn encoded(coding: TransferCoding, frames: &[u8], first_seq: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let first = EventId {
        epoch: epoch(),
        seq: first_seq,
    };
    Encoding::EventStream(coding).push_events(&mut out, frames, || Some(first));
    out
}

/// The body without its chunks.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some((text, end)) = TransferCoding::Chunked.first(bytes) {
        assert_eq!(&bytes[end - 2..end], b"\r\n");
        body.extend_from_slice(text);
        bytes = &bytes[end..];
    }
    assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(bytes));
    body
}

#[test]
fn an_event_has_an_id_a_name_and_its_json() {
    let text = encoded(TransferCoding::UntilClose, &frame("{\"a\": 1}", 7), 7);
    let expected = "id: 9f2c61d0a7b34e18:7\nevent: event\ndata: {\"type\":\"event\",\"topic\":\"orders\",\"message\":{\"id\":\"550e8400-e29b-41d4-a716-446655440000\",\"payload\":{\"a\": 1}},\"seq\":7,\"ts\":\"1970-01-01T00:00:00.000000Z\"}\n\n";
    assert_eq!(String::from_utf8(text.clone()).unwrap(), expected);
    let chunked = encoded(TransferCoding::Chunked, &frame("{\"a\": 1}", 7), 7);
    let expected = format!("{:x}\r\n{expected}\r\n", text.len());
    assert_eq!(String::from_utf8(chunked).unwrap(), expected);
}

#[test]
fn gaps_and_notices_have_the_id_that_a_resume_needs() {
    let encoding = Encoding::EventStream(TransferCoding::UntilClose);
    let head = |push: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        push(&mut out);
        let text = String::from_utf8(out).unwrap();
        text.split_once("data: ").unwrap().0.to_owned()
    };
    let topic = &topic();
    let gap = |gap: Gap| head(&|out| encoding.push_gap(out, topic, &gap, || Some(epoch())));
    let id = "id: 9f2c61d0a7b34e18:9\nevent: gap\n";
    assert_eq!(gap(Gap::slow_consumer(3, 9)), id);
    assert_eq!(gap(Gap::history_evicted(3, 9)), id);
    assert_eq!(gap(Gap::epoch_changed()), "event: gap\n");
    let notice = |notice| head(&|out| encoding.push_notice(out, notice));
    let (epoch, seq) = (epoch(), 9);
    assert_eq!(notice(Notice::EpochChanged { topic, epoch, seq }), id);
    let late = "retry: 30000\nevent: info\n";
    assert_eq!(
        notice(Notice::TopicDeleted {
            topic,
            pattern: None
        }),
        late
    );
    assert_eq!(
        notice(Notice::SubscriptionReplaced {
            topic,
            pattern: None,
            seq
        }),
        late
    );
    assert_eq!(notice(Notice::ServerShutdown), "event: info\n");
}

#[test]
fn only_events_are_counted() {
    for coding in CODINGS {
        let encoding = Encoding::EventStream(coding);
        let event = encoded(coding, &frame("1", 1), 1);
        let mut bytes = Vec::new();
        coding.push_retry(&mut bytes, 2000);
        bytes.extend_from_slice(&event);
        let second = bytes.len();
        encoding.push_gap(&mut bytes, &topic(), &Gap::slow_consumer(2, 4), || {
            Some(epoch())
        });
        coding.push_comment(&mut bytes, "heartbeat");
        encoding.push_events(&mut bytes, &frame("\"event: event\"", 5), || None);
        let end = bytes.len();
        coding.push_end(&mut bytes);
        assert_eq!(encoding.whole_events(&bytes, second - 1).0, 0, "{coding:?}");
        assert_eq!(encoding.whole_events(&bytes, second), (1, second));
        assert_eq!(encoding.whole_events(&bytes, end - 1).0, 1);
        assert_eq!(encoding.whole_events(&bytes, bytes.len()).0, 2);
    }
}

proptest! {
    /// What a client joins is the same JSON, however the payload is laid out, and each event is found again.
    #[test]
    fn every_layout_of_json_arrives_as_the_same_json(
        breaks in prop::collection::vec(prop::sample::select(&["", "\n", "\r", "\r\n", "\n\r", "\n\n", " \t\n "][..]), 4),
        count in 1_u64..5,
    ) {
        let payload = format!("{}{{{}\"a\":{}[\"event: event\"]{}}}", breaks[0], breaks[1], breaks[2], breaks[3]);
        let payload = payload.trim().to_owned();
        let value: Value = serde_json::from_str(&payload).unwrap();
        let frames: Vec<u8> = (1..=count).flat_map(|seq| frame(&payload, seq)).collect();
        for coding in CODINGS {
            let bytes = encoded(coding, &frames, 1);
            prop_assert_eq!(coding.whole_events(&bytes, bytes.len()), (count, bytes.len()));
            prop_assert_eq!(coding.whole_events(&bytes, bytes.len() - 1).0, count - 1);
            let body = if coding == TransferCoding::Chunked { unchunked(&bytes) } else { bytes };
            let body = String::from_utf8(body).unwrap();
            prop_assert!(!body.contains('\r'));
            for (text, seq) in body.split_terminator("\n\n").zip(1_u64..) {
                let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                let event: Value = serde_json::from_str(&data.join("\n")).unwrap();
                prop_assert_eq!(&event["message"]["payload"], &value);
                prop_assert_eq!(event["seq"].as_u64(), Some(seq));
                prop_assert_eq!(text.lines().next(), Some(&*format!("id: 9f2c61d0a7b34e18:{seq}")));
                prop_assert_eq!(text.lines().count(), 2 + data.len());
            }
            prop_assert_eq!(body.matches("\n\n").count() as u64, count);
        }
    }
}
