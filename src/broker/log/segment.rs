//! Adjacent small events in one piece of memory.

use super::memory::{MAPPED_BYTES, Memory};
use crate::protocol::NewEvent;

/// Bytes of a segment of a large log; a small log has smaller ones.
const FULL_BYTES: usize = 1 << 20;
/// Bytes up to which a segment of a small log grows.
const QUIET_BYTES: usize = 4 << 10;
/// Logs from this size on have mapped segments.
const BUSY_LOG_BYTES: usize = 16 << 10;
/// A new segment is at most this part of a large log, so that what is unused in the first and the last one is little.
const PART: usize = 16;
/// Most events of a segment. Large ones count, though their bytes are elsewhere.
const MAX_EVENTS: usize = 8192;

/// The frames of some adjacent events, without a gap between them. Only the end is appended to.
#[derive(Debug)]
pub(super) struct Segment {
    /// The seq of its first event, evicted or not.
    pub(super) first_seq: u64,
    /// Bytes of all small events that the log ever had before it.
    pub(super) start: u64,
    memory: Memory,
    /// Where each event ends. A large event has no bytes here: it ends where it begins.
    ends: Vec<u32>,
}

impl Segment {
    pub(super) fn new(first_seq: u64, start: u64, memory: Memory) -> Segment {
        Segment {
            first_seq,
            start,
            memory,
            ends: Vec::new(),
        }
    }

    /// Bytes that a segment of a log with this many bytes may have.
    pub(super) fn limit(log_bytes: usize) -> usize {
        if log_bytes < BUSY_LOG_BYTES {
            return QUIET_BYTES;
        }
        let part = (log_bytes / PART).next_power_of_two() / 2;
        part.clamp(MAPPED_BYTES, FULL_BYTES)
    }

    /// Bytes that a new segment takes at once; a quiet log's grows from its first event on.
    pub(super) fn first_capacity(limit: usize) -> usize {
        if limit > QUIET_BYTES { limit } else { 0 }
    }

    /// Memory it takes.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Segment>() + self.memory.held_bytes() + self.ends.capacity() * size_of::<u32>()
    }

    /// One past the seq of its last event.
    pub(super) fn end_seq(&self) -> u64 {
        self.first_seq + self.ends.len() as u64
    }

    /// Bytes of its events up to and with this seq, which may be the one before its first.
    pub(super) fn bytes_upto(&self, seq: u64) -> usize {
        let events = (seq + 1 - self.first_seq) as usize;
        events.checked_sub(1).map_or(0, |last| self.end_of(last))
    }

    /// Bytes of one of its events; none, if it is a large one.
    pub(super) fn bytes_of(&self, seq: u64) -> usize {
        self.bytes_upto(seq) - self.bytes_upto(seq - 1)
    }

    /// Whether this many bytes more may stand here, if it grows up to a limit.
    pub(super) fn takes(&self, len: usize, limit: usize) -> bool {
        self.ends.len() < MAX_EVENTS && self.memory.len() + len <= limit.max(self.memory.capacity())
    }

    /// Appends an event that is kept elsewhere.
    pub(super) fn push_large(&mut self) {
        self.ends.push(self.memory.len() as u32);
    }

    /// Appends an event for which [`Segment::takes`] holds, or the first.
    pub(super) fn push(&mut self, event: &NewEvent<'_>, limit: usize) {
        let needed = self.memory.len() + event.frame_len();
        if needed > self.memory.capacity() {
            let grown = (self.memory.capacity() * 3 / 2).min(limit);
            self.memory.resize(grown.max(needed));
        }
        self.memory.push(event);
        self.ends.push(self.memory.len() as u32);
    }

    /// The frames from this seq on, up to a seq and to a number of bytes, and how many they are.
    pub(super) fn run(&self, from: u64, upto: u64, limit_bytes: usize) -> (&[u8], u64) {
        let begin = self.bytes_upto(from - 1);
        let first = (from - self.first_seq) as usize;
        let last = (upto.min(self.end_seq() - 1) + 1 - self.first_seq) as usize;
        let ends = &self.ends[first..last];
        let events = ends.partition_point(|end| *end as usize - begin <= limit_bytes);
        let end = events
            .checked_sub(1)
            .map_or(begin, |last| ends[last] as usize);
        (&self.memory.bytes()[begin..end], events as u64)
    }

    /// Whether the events before this seq take at least a third of it, so that it pays to move the others.
    pub(super) fn is_worth_compacting(&self, seq: u64) -> bool {
        self.bytes_upto(seq - 1) * 3 >= self.memory.len()
    }

    /// Whether the events from this seq on take less than half of its memory.
    pub(super) fn is_sparse_from(&self, seq: u64) -> bool {
        (self.memory.len() - self.bytes_upto(seq - 1)) * 2 < self.memory.held_bytes()
    }

    /// Forgets the events before this seq.
    pub(super) fn compact(&mut self, seq: u64) {
        let gone = self.bytes_upto(seq - 1);
        self.memory.forget(gone);
        self.ends.drain(..(seq - self.first_seq) as usize);
        for end in &mut self.ends {
            *end -= gone as u32;
        }
        self.start += gone as u64;
        self.first_seq = seq;
    }

    /// Gives back the memory that no event takes.
    pub(super) fn shrink(&mut self) {
        self.memory.resize(0);
        self.ends.shrink_to_fit();
    }

    /// Its memory, for another segment.
    pub(super) fn into_memory(self) -> Memory {
        self.memory
    }

    fn end_of(&self, event: usize) -> usize {
        self.ends[event] as usize
    }
}
