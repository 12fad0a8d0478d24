//! Batches that become one entry, and those of their messages that are not published again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::receipts::{BatchError, Number, Receipt};
use crate::broker::mirror::{Batch, Token};
use crate::protocol::TopicName;
use crate::sync::HashMap;

/// An entry takes no further batch above this.
const MAX_ENTRY_EVENTS: u64 = 1024;
const MAX_ENTRY_BYTES: usize = 256 << 10;

pub(super) struct Joined {
    /// What is to be published.
    pub(super) batch: Batch,
    pub(super) token: Token,
    parts: Vec<Part>,
    /// What became of the messages that were taken out, by their numbers among all.
    taken_out: BTreeMap<u64, Earlier>,
}

/// A batch of these.
struct Part {
    /// Its place among all batches that are published at the same time.
    at: usize,
    /// The messages and the newest time before it.
    start: u64,
    newest: u64,
    len: u64,
}

/// What a message became that is not published again.
#[derive(Clone, Copy)]
enum Earlier {
    /// An event of the topic.
    Event(Number),
    /// The same as this message before it.
    Message(u64),
}

/// Joins batches of one topic, in their order. Takes out messages that are equal to an earlier one in the same entry.
pub(super) fn join(batches: Vec<Batch>) -> Vec<Joined> {
    let mut joined: Vec<Joined> = Vec::new();
    let mut open: HashMap<TopicName, usize> = HashMap::default();
    for (at, batch) in batches.into_iter().enumerate() {
        let into = open.get(batch.topic()).map(|at| &mut joined[*at]);
        match into.filter(|into| into.takes(&batch)) {
            Some(into) => into.add(at, &batch),
            None => {
                open.insert(batch.topic().clone(), joined.len());
                joined.push(Joined::new(at, batch));
            }
        }
    }
    for joined in &mut joined {
        joined.take_out_equal();
    }
    joined
}

impl Joined {
    fn new(at: usize, batch: Batch) -> Joined {
        let part = Part {
            at,
            start: 0,
            newest: 0,
            len: batch.len(),
        };
        Joined {
            batch,
            token: Token::random(),
            parts: vec![part],
            taken_out: BTreeMap::new(),
        }
    }

    fn takes(&self, batch: &Batch) -> bool {
        self.batch.len() + batch.len() <= MAX_ENTRY_EVENTS
            && self.batch.bytes().len() + batch.bytes().len() <= MAX_ENTRY_BYTES
    }

    fn add(&mut self, at: usize, batch: &Batch) {
        self.parts.push(Part {
            at,
            start: self.batch.len(),
            newest: self.batch.newest_micros(),
            len: batch.len(),
        });
        self.batch.append(batch);
    }

    /// How many messages were taken out.
    pub(super) fn duplicates(&self) -> u64 {
        self.taken_out.len() as u64
    }

    fn take_out_equal(&mut self) {
        let keyed = self.batch.keyed();
        if keyed.len() < 2 {
            return;
        }
        let mut first: HashMap<Uuid, u64> = HashMap::default();
        let equal = keyed.iter().filter_map(|keyed| {
            let first = *first.entry(keyed.id).or_insert(keyed.event);
            (first != keyed.event).then_some((keyed.event, Earlier::Message(first)))
        });
        let equal: Vec<_> = equal.collect();
        self.remove(&equal);
    }

    /// Takes out messages that were published before: how many come before each in the batch, and what it became.
    pub(super) fn take_out(&mut self, numbers: &[(u64, Number)]) {
        let earlier = numbers.iter();
        let earlier: Vec<_> = earlier
            .map(|(event, number)| (*event, Earlier::Event(*number)))
            .collect();
        self.remove(&earlier);
    }

    fn remove(&mut self, earlier: &[(u64, Earlier)]) {
        if earlier.is_empty() {
            return;
        }
        let all = 0..self.len();
        let left: Vec<u64> = all.filter(|n| !self.taken_out.contains_key(n)).collect();
        let found = earlier
            .iter()
            .filter_map(|(event, earlier)| Some((*left.get(*event as usize)?, *earlier)));
        self.taken_out.extend(found);
        let events: BTreeSet<u64> = earlier.iter().map(|(event, _)| *event).collect();
        self.batch = self.batch.without(&events);
    }

    /// How many messages were joined.
    fn len(&self) -> u64 {
        self.parts.last().map_or(0, |last| last.start + last.len)
    }

    /// Notes the result of each batch, at its place.
    pub(super) fn share(
        &self,
        result: &Result<Receipt, BatchError>,
        results: &mut [Result<Receipt, BatchError>],
    ) {
        let numbers = match result {
            Ok(whole) if !self.taken_out.is_empty() => self.numbers(whole),
            _ => Vec::new(),
        };
        for part in &self.parts {
            let its = part.start as usize..(part.start + part.len) as usize;
            results[part.at] = result.clone().map(|whole| Receipt {
                first: whole.first + part.start,
                earliest: whole.earliest.max(part.newest),
                numbers: numbers.get(its).map(<[_]>::to_vec).unwrap_or_default(),
                ..whole
            });
        }
    }

    /// What each message became.
    fn numbers(&self, whole: &Receipt) -> Vec<Number> {
        let mut numbers: Vec<Number> = Vec::with_capacity(self.len() as usize);
        let mut published = (whole.first..).zip(self.batch.times());
        for message in 0..self.len() {
            let number = match self.taken_out.get(&message) {
                None => published.next().map(|(seq, micros)| Number {
                    epoch: whole.epoch,
                    seq,
                    micros: micros.max(whole.earliest),
                    is_duplicate: false,
                }),
                Some(Earlier::Event(number)) => Some(*number),
                Some(Earlier::Message(first)) => {
                    let first = numbers.get(*first as usize);
                    first.map(|first| Number {
                        is_duplicate: true,
                        ..*first
                    })
                }
            };
            numbers.extend(number);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{EpochName, Message, Timestamp};
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    const EPOCH: &str = "00000000000000aa";

    /// A message: which one of a few, whether it is idempotent, and when it arrived.
    type Spec = (u8, bool, u64);

    fn batch(messages: &[Spec]) -> Batch {
        let mut batch = Batch::new(TopicName::new("t").unwrap());
        let payload: &RawValue = serde_json::from_str("1").unwrap();
        for (n, is_keyed, micros) in messages {
            let id = Uuid::from_u128(u128::from(*n)).to_string();
            let message = Message::new(id, payload).unwrap();
            let message = if *is_keyed {
                message.idempotent()
            } else {
                message
            };
            batch.push(&message, Timestamp::from_micros(*micros));
        }
        batch
    }

    fn epoch() -> EpochName {
        EpochName::parse(EPOCH).unwrap()
    }

    /// A Redis that numbers messages one by one.
    #[derive(Default)]
    struct Model {
        seq: u64,
        newest: u64,
        remembered: HashMap<u8, Number>,
    }

    impl Model {
        fn publish(&mut self, (n, is_keyed, micros): Spec) -> Number {
            if is_keyed && let Some(first) = self.remembered.get(&n) {
                return Number {
                    is_duplicate: true,
                    ..*first
                };
            }
            self.seq += 1;
            self.newest = self.newest.max(micros);
            let number = Number {
                epoch: epoch(),
                seq: self.seq,
                micros: self.newest,
                is_duplicate: false,
            };
            if is_keyed {
                self.remembered.insert(n, number);
            }
            number
        }
    }

    proptest! {
        /// Compared with a Redis that gets the same messages one by one.
        #[test]
        fn every_message_of_every_batch_has_its_number(
            before in prop::collection::vec((0..6_u8, any::<bool>(), 0..50_u64), 0..6),
            batches in prop::collection::vec(prop::collection::vec((0..10_u8, any::<bool>(), 0..100_u64), 1..6), 1..5),
        ) {
            let mut model = Model::default();
            for message in &before {
                model.publish(*message);
            }
            let known: HashMap<Uuid, Number> = model.remembered.iter()
                .map(|(n, number)| (Uuid::from_u128(u128::from(*n)), Number { is_duplicate: true, ..*number }))
                .collect();
            let (first, earliest) = (model.seq + 1, model.newest);
            let mut joined = join(batches.iter().map(|messages| batch(messages)).collect());
            prop_assert_eq!(joined.len(), 1);
            let mut joined = joined.remove(0);
            let found = joined.batch.keyed().iter();
            let found: Vec<_> = found.filter_map(|keyed| Some((keyed.event, *known.get(&keyed.id)?))).collect();
            joined.take_out(&found);
            let whole = Receipt { epoch: epoch(), first, earliest, mirror: None, is_late: false, numbers: Vec::new() };
            let mut results = vec![Err(BatchError::Unavailable); batches.len()];
            joined.share(&Ok(whole), &mut results);
            let mut duplicates = 0;
            for (messages, result) in batches.iter().zip(results) {
                let receipt = result.unwrap();
                // A session makes no message earlier than the one before it.
                let mut micros = 0;
                for (event, message) in (0..).zip(messages) {
                    micros = micros.max(message.2);
                    let expected = model.publish((message.0, message.1, micros));
                    duplicates += u64::from(expected.is_duplicate);
                    prop_assert_eq!(receipt.number(event, micros), expected);
                }
            }
            prop_assert_eq!(joined.duplicates(), duplicates);
            prop_assert_eq!(joined.batch.len(), model.seq + 1 - first);
        }
    }
}
