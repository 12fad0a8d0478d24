//! Entries: batches of events, as the stream keeps them and as the topic's channel carries them. Pure.
//!
//! An entry is a line of text, then its events. The line has the epoch, the first seq, the number of events, the token of
//! this entry and of the one before it, and the earliest time that an event may have. An event is the length of what
//! follows (4 bytes, big endian), its time in microseconds since 1970 (8 bytes), the length of its id (1 byte), its id and
//! its payload.

use std::fmt;

use crate::protocol::{EpochName, Message, Timestamp, TopicName};

/// Bytes of an event before its id, without the length.
const FIXED_BYTES: usize = 9;

/// The random number of an entry. Two entries with the same seq and different tokens are different events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    /// Before the first entry of an epoch.
    pub(crate) const NONE: Token = Token(0);

    pub(crate) fn random() -> Token {
        Token(uuid::Uuid::new_v4().as_u64_pair().0)
    }

    pub(crate) fn parse(text: &str) -> Option<Token> {
        let is_token = text.len() == 16;
        let number = u64::from_str_radix(text, 16).ok();
        number.filter(|_| is_token).map(Token)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Messages of one topic that are numbered together.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    topic: TopicName,
    events: u64,
    /// The time of the newest event, in microseconds since 1970.
    newest: u64,
    bytes: Vec<u8>,
}

impl Batch {
    pub(crate) fn new(topic: TopicName) -> Batch {
        Batch {
            topic,
            events: 0,
            newest: 0,
            bytes: Vec::new(),
        }
    }

    pub(crate) fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub(crate) fn len(&self) -> u64 {
        self.events
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn newest_micros(&self) -> u64 {
        self.newest
    }

    pub(crate) fn push(&mut self, message: &Message<'_>, arrived: Timestamp) {
        let (id, payload) = (message.id().as_bytes(), message.payload().as_bytes());
        self.newest = self.newest.max(arrived.micros());
        self.events += 1;
        let len = FIXED_BYTES + id.len() + payload.len();
        self.bytes.reserve(4 + len);
        // A message is at most 1 GiB, and the text of a UUID at most 45 bytes.
        self.bytes.extend_from_slice(&(len as u32).to_be_bytes());
        self.bytes.extend_from_slice(&self.newest.to_be_bytes());
        self.bytes.push(id.len() as u8);
        self.bytes.extend_from_slice(id);
        self.bytes.extend_from_slice(payload);
    }

    /// Appends the messages of another batch for the same topic.
    pub(crate) fn append(&mut self, other: &Batch) {
        self.newest = self.newest.max(other.newest);
        self.events += other.events;
        self.bytes.extend_from_slice(&other.bytes);
    }
}

/// A batch that was numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) epoch: EpochName,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) token: Token,
    pub(crate) previous: Token,
    /// No event is earlier than this, in microseconds since 1970.
    pub(crate) earliest: u64,
    pub(crate) events: &'a [u8],
}

/// What a message on a topic's channel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicMessage<'a> {
    Entry(Entry<'a>),
    /// The topic was deleted; this was its newest event.
    Deleted {
        epoch: EpochName,
        seq: u64,
    },
    /// The topic continues in a new epoch.
    NewEpoch,
}

/// `None` if this is no message of a topic.
pub(crate) fn parse(message: &[u8]) -> Option<TopicMessage<'_>> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&message[..end]).ok()?;
    let mut words = line.split(' ');
    match words.next()? {
        "e" => {
            let mut word = || words.next();
            let entry = Entry {
                epoch: EpochName::parse(word()?)?,
                first: word()?.parse().ok()?,
                count: word()?.parse().ok()?,
                token: Token::parse(word()?)?,
                previous: Token::parse(word()?)?,
                earliest: word()?.parse().ok()?,
                events: &message[end + 1..],
            };
            let has_seqs = entry.first > 0 && entry.count > 0;
            let is_valid = has_seqs && entry.first.checked_add(entry.count).is_some();
            is_valid.then_some(TopicMessage::Entry(entry))
        }
        "d" => Some(TopicMessage::Deleted {
            epoch: EpochName::parse(words.next()?)?,
            seq: words.next()?.parse().ok()?,
        }),
        "n" => Some(TopicMessage::NewEpoch),
        _ => None,
    }
}

impl<'a> Entry<'a> {
    /// The seq of its last event.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.count - 1
    }

    /// Its messages with their times, in order. Ends early if the bytes are not what [`Batch::push`] wrote.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (Message<'a>, Timestamp)> + use<'a> {
        let mut rest = self.events;
        let mut earliest = self.earliest;
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (event, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            rest = after;
            let (micros, event) = event.split_first_chunk::<8>()?;
            let (id_len, event) = event.split_first()?;
            let (id, payload) = event.split_at_checked(usize::from(*id_len))?;
            let id = std::str::from_utf8(id).ok()?;
            let payload = std::str::from_utf8(payload).ok()?;
            earliest = earliest.max(u64::from_be_bytes(*micros));
            let ts = Timestamp::from_micros(earliest);
            Some((Message::taken_before(id, payload), ts))
        })
    }
}

#[cfg(test)]
mod tests {
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
            let mut message = format!("e {F} 7 {} {} {} {earliest}\n", batch.len(), Token(1), Token::NONE).into_bytes();
            message.extend_from_slice(batch.bytes());
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
}
