//! The sizes and times of the events in the history of one topic: what its figures are made of, in about 5 bytes an event.
//! Pure.
//!
//! The history is the newest events within both bounds. So events that come later never bring older ones back, and it is
//! enough to append what is new and to drop what exceeds the bounds.

use std::collections::VecDeque;

use super::records::Record;
use crate::broker::log::LogBounds;
use crate::broker::mirror::{Entry, Place};
use crate::broker::topic::{HistoryFigures, TopicStats};
use crate::protocol::{NewEvent, Timestamp, TopicName};

#[derive(Debug, Clone)]
pub(crate) struct EventSizes {
    /// The topic was here, and had these bounds.
    place: Place,
    bounds: LogBounds,
    /// For each event the bytes of its frame, and the time since the event before it.
    packed: VecDeque<u8>,
    count: usize,
    /// Bytes of all frames.
    bytes: usize,
    /// The times of the event before the oldest one, and of the newest one.
    before: u64,
    newest: u64,
}

impl EventSizes {
    /// Of all entries that a topic has.
    pub(crate) fn of(topic: &TopicName, record: &Record, entries: &[Entry<'_>]) -> EventSizes {
        let mut sizes = EventSizes {
            place: record.place.clone(),
            bounds: record.settings.bounds,
            packed: VecDeque::new(),
            count: 0,
            bytes: 0,
            before: 0,
            newest: 0,
        };
        sizes.append(topic, record, entries);
        sizes
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether these are the events of the topic with this record.
    pub(crate) fn is_of(&self, record: &Record) -> bool {
        self.place == record.place && self.bounds == record.settings.bounds
    }

    /// Whether events may be missing here that the topic has, and no others.
    pub(crate) fn is_before(&self, record: &Record) -> bool {
        let there = &record.place;
        let is_before = self.place.epoch == there.epoch && self.place.seq < there.seq;
        is_before && self.bounds == record.settings.bounds
    }

    /// Bytes of memory.
    pub(crate) fn held_bytes(&self) -> usize {
        self.packed.capacity()
    }

    /// Appends the entries that a topic has after this place. Returns `false` if they do not continue it: Redis has lost
    /// events, or the topic is another one.
    pub(crate) fn continue_with(
        &mut self,
        topic: &TopicName,
        record: &Record,
        entries: &[Entry<'_>],
    ) -> bool {
        let continues = record.place.epoch == self.place.epoch
            && match entries.first() {
                None => record.place == self.place,
                Some(first) if first.first == self.place.seq + 1 => {
                    first.previous == self.place.token
                }
                // The entries between are trimmed: these are all that the topic has.
                Some(first) => first.first > self.place.seq,
            };
        if continues {
            self.append(topic, record, entries);
        }
        continues
    }

    pub(crate) fn figures(&self, record: &Record) -> TopicStats {
        let oldest = record.oldest_time();
        let mut packed = self.packed.iter().copied();
        let (mut count, mut bytes, mut time) = (self.count, self.bytes, self.before);
        let mut first = None;
        while count > 0 {
            let size = unpack(&mut packed) as usize;
            time = time.wrapping_add(unpack(&mut packed));
            if time >= oldest {
                first = Some(Timestamp::from_micros(time));
                break;
            }
            (count, bytes) = (count - 1, bytes - size);
        }
        let history = HistoryFigures {
            count,
            bytes,
            first_ts: first.map(|ts| ts.as_str().to_owned()),
        };
        let Place { epoch, seq, .. } = self.place;
        TopicStats::new(epoch, seq, history, &record.settings)
    }

    fn append(&mut self, topic: &TopicName, record: &Record, entries: &[Entry<'_>]) {
        let mut seq = self.place.seq;
        for entry in entries {
            self.clear_unless(seq + 1 == entry.first);
            seq = entry.first - 1;
            for (message, ts) in entry.messages().take(entry.count as usize) {
                seq += 1;
                let event = NewEvent::new(topic, &message, seq, ts);
                self.push(event.frame_len(), ts.micros());
            }
            // Its bytes are broken: what is before them is no history.
            self.clear_unless(seq == entry.last());
            seq = entry.last();
        }
        self.clear_unless(seq == record.place.seq);
        self.place = record.place.clone();
    }

    fn push(&mut self, bytes: usize, micros: u64) {
        let bounds = self.bounds;
        pack(&mut self.packed, bytes as u64);
        pack(&mut self.packed, micros.wrapping_sub(self.newest));
        self.newest = micros;
        self.count += 1;
        self.bytes += bytes;
        while self.count > bounds.history_size || self.bytes > bounds.bytes {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let mut packed = std::iter::from_fn(|| self.packed.pop_front());
        let bytes = unpack(&mut packed);
        self.before = self.before.wrapping_add(unpack(&mut packed));
        self.bytes -= bytes as usize;
        self.count -= 1;
    }

    fn clear_unless(&mut self, is_continued: bool) {
        if !is_continued {
            self.packed.clear();
            (self.count, self.bytes, self.before) = (0, 0, self.newest);
        }
    }
}

/// Appends a number: 7 bits in each byte, the lowest first; the highest bit of a byte says that more follow.
fn pack(packed: &mut VecDeque<u8>, mut number: u64) {
    while number > 0x7f {
        packed.push_back(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push_back(number as u8);
}

fn unpack(packed: &mut impl Iterator<Item = u8>) -> u64 {
    let mut number = 0;
    for (at, byte) in packed.enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests;
