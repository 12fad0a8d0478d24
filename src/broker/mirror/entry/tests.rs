//! What is written into an entry is what is read from it.

use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

const F: &str = "000000000000000f";
const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

fn batch(payloads: &[String], times: impl Fn(usize) -> u64) -> Batch {
    let mut batch = Batch::new(TopicName::new("t").unwrap());
    for (at, text) in payloads.iter().enumerate() {
        let payload: Box<RawValue> =
            serde_json::from_str(&serde_json::to_string(text).unwrap()).unwrap();
        let message = Message::new(ID, &payload).unwrap();
        batch.push(&message, Timestamp::from_micros(times(at)));
    }
    batch
}

proptest! {
    #[test]
    fn an_entry_has_the_messages_of_its_batch_and_times_that_never_go_back(
        payloads in prop::collection::vec(".{0,200}", 1..20),
        times in prop::collection::vec(0..1_000_000_u64, 20),
        earliest in 0..1_000_000_u64,
    ) {
        let batch = batch(&payloads, |at| times[at]);
        let written = Entry {
            epoch: EpochName::parse(F).unwrap(),
            first: 7,
            count: batch.len(),
            token: Token(1),
            previous: Token::NONE,
            earliest,
            events: batch.bytes(),
        };
        let message = written.to_bytes();
        let Some(TopicMessage::Entry(entry)) = parse(&message) else { panic!("an entry") };
        prop_assert_eq!((entry.epoch.as_str(), entry.first, entry.last()), (F, 7, 6 + payloads.len() as u64));
        prop_assert_eq!((entry.token, entry.previous), (Token(1), Token::NONE));
        let read: Vec<_> = entry.messages().collect();
        prop_assert_eq!(read.len(), payloads.len());
        let mut newest = earliest;
        for (at, (message, ts)) in read.iter().enumerate() {
            newest = newest.max(times[at]);
            prop_assert_eq!(ts.micros(), newest);
            prop_assert_eq!(message.id(), ID);
            let text: String = serde_json::from_str(message.payload()).unwrap();
            prop_assert_eq!(&text, &payloads[at]);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(TopicMessage::Entry(entry)) = parse(&message) {
            let _ = entry.messages().count();
        }
        let mut framed = b"e 000000000000000f 1 1 0000000000000001 0000000000000000 0\n".to_vec();
        framed.extend_from_slice(&message);
        let Some(TopicMessage::Entry(entry)) = parse(&framed) else { panic!("an entry") };
        let _ = entry.messages().count();
    }
}

proptest! {
    /// Compared with a batch that never had the messages.
    #[test]
    fn a_batch_without_messages_is_one_of_the_others(
        messages in prop::collection::vec((any::<bool>(), any::<bool>(), 0..100_u64, ".{0,20}"), 0..20),
        split in 0..20_usize,
    ) {
        let put = |batch: &mut Batch, at: usize| {
            let (is_keyed, _, micros, text) = &messages[at];
            let payload: Box<RawValue> =
                serde_json::from_str(&serde_json::to_string(text).unwrap()).unwrap();
            let id = Uuid::from_u128(at as u128).to_string();
            let message = Message::new(id, &payload).unwrap();
            let message = if *is_keyed { message.idempotent() } else { message };
            batch.push(&message, Timestamp::from_micros(*micros));
        };
        let topic = || TopicName::new("t").unwrap();
        let joined = |goes: &dyn Fn(usize) -> bool| {
            let mut halves = [Batch::new(topic()), Batch::new(topic())];
            for at in (0..messages.len()).filter(|at| goes(*at)) {
                put(&mut halves[usize::from(at >= split)], at);
            }
            let [mut first, second] = halves;
            first.append(&second);
            first
        };
        let taken: BTreeSet<u64> = (0..).zip(&messages).filter(|(_, one)| one.1).map(|(at, _)| at).collect();
        let left = joined(&|_| true).without(&taken);
        let ids: Vec<_> = left.keyed().iter().map(|keyed| keyed.id).collect();
        let expected = joined(&|at| !messages[at].1);
        prop_assert_eq!(left.len(), expected.len());
        prop_assert_eq!(ids, expected.keyed().iter().map(|keyed| keyed.id).collect::<Vec<_>>());
        let numbers = left.keyed().iter().map(|keyed| keyed.event);
        prop_assert!(numbers.eq(expected.keyed().iter().map(|keyed| keyed.event)));
        let times: Vec<u64> = left.times().collect();
        prop_assert!(left.keyed().iter().all(|keyed| keyed.micros == times[keyed.event as usize]));
        prop_assert_eq!(times.len() as u64, left.len());
        prop_assert_eq!(times.last().copied().unwrap_or(0), left.newest_micros());
    }
}

#[test]
fn batches_of_one_topic_can_be_joined() {
    let mut first = batch(&["a".into(), "b".into()], |_| 5);
    let second = batch(&["c".into()], |_| 3);
    first.append(&second);
    assert_eq!((first.len(), first.newest_micros()), (3, 5));
    let all = batch(&["a".into(), "b".into(), "c".into()], |at| [5, 5, 3][at]);
    assert_eq!(first.bytes().len(), all.bytes().len());
}

#[test]
fn deletions_and_new_epochs_are_read_and_anything_else_is_not() {
    let deleted = TopicMessage::Deleted {
        epoch: EpochName::parse(F).unwrap(),
        seq: 9,
    };
    assert_eq!(parse(b"d 000000000000000f 9\n"), Some(deleted));
    assert_eq!(parse(b"n g\n"), Some(TopicMessage::NewEpoch));
    let no_events = format!("e {F} 0 0 {} {} 0\n", Token(1), Token::NONE);
    for wrong in ["", "d f 9", "d f x\n", "x\n", "e f 1 1 1 1 1\n", &no_events] {
        assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
    }
}
