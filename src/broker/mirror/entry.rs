//! Entries: batches of events, as the stream keeps them and as the topic's channel carries them. Pure.
//!
//! An entry is a line of text, then its events. The line has the epoch, the first seq, the number of events, the token of
//! this entry and of the one before it, and the earliest time that an event may have. An event is the length of what
//! follows (4 bytes, big endian), its time in microseconds since 1970 (8 bytes), the length of its id (1 byte), its id and
//! its payload.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;

use uuid::Uuid;

use crate::protocol::{EpochName, Message, Timestamp, TopicName};

/// Bytes of an event before its id, without the length.
const FIXED_BYTES: usize = 9;
/// The longest line of an entry, with three numbers of 20 digits.
const MAX_LINE: usize = 120;

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
    keyed: Vec<Keyed>,
}

/// An idempotent message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyed {
    /// How many messages come before it.
    pub(crate) event: u64,
    pub(crate) id: Uuid,
    /// The time of its event, unless the batch comes after a later one.
    pub(crate) micros: u64,
}

impl Batch {
    pub(crate) fn new(topic: TopicName) -> Batch {
        Batch {
            topic,
            events: 0,
            newest: 0,
            bytes: Vec::new(),
            keyed: Vec::new(),
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
        self.keyed.extend(message.key().map(|id| Keyed {
            event: self.events,
            id,
            micros: self.newest,
        }));
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
        let keyed = other.keyed.iter().map(|keyed| Keyed {
            event: self.events + keyed.event,
            micros: self.newest.max(keyed.micros),
            ..*keyed
        });
        self.keyed.extend(keyed);
        self.newest = self.newest.max(other.newest);
        self.events += other.events;
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// Its idempotent messages, in order.
    pub(crate) fn keyed(&self) -> &[Keyed] {
        &self.keyed
    }

    /// Whether all its messages are idempotent.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.keyed.len() as u64 == self.events
    }

    /// The same without the messages of these numbers.
    pub(crate) fn without(&self, events: &BTreeSet<u64>) -> Batch {
        let mut left = Batch::new(self.topic.clone());
        let mut keyed = self.keyed.iter().peekable();
        for (number, (micros, bytes)) in (0..).zip(self.raw_events()) {
            let key = keyed.next_if(|keyed| keyed.event == number);
            if events.contains(&number) {
                continue;
            }
            left.newest = left.newest.max(micros);
            left.keyed.extend(key.map(|keyed| Keyed {
                event: left.events,
                micros: left.newest,
                ..*keyed
            }));
            left.bytes.extend_from_slice(bytes);
            left.events += 1;
        }
        left
    }

    /// The times of its events, each at least that of the one before, unless the batch comes after a later event.
    pub(crate) fn times(&self) -> impl Iterator<Item = u64> {
        self.raw_events().scan(0, |newest, (micros, _)| {
            *newest = micros.max(*newest);
            Some(*newest)
        })
    }

    /// Time and bytes of each event.
    fn raw_events(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (micros, _) = after.split_first_chunk::<8>()?;
            let (event, after) = rest.split_at_checked(4 + u32::from_be_bytes(*len) as usize)?;
            rest = after;
            Some((u64::from_be_bytes(*micros), event))
        })
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
    /// As the stream keeps it; [`parse`] reads it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Entry {
            epoch,
            first,
            count,
            token,
            previous,
            earliest,
            events,
        } = self;
        let mut bytes = Vec::with_capacity(MAX_LINE + events.len());
        let line = format_args!("e {epoch} {first} {count} {token} {previous} {earliest}\n");
        // A Vec takes whatever is written to it.
        let _ = bytes.write_fmt(line);
        bytes.extend_from_slice(events);
        bytes
    }

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
mod tests;
