//! A segment: adjacent small events of a log in one block of memory.

use super::memory::{MAPPED_BYTES, Memory};
use crate::protocol::NewEvent;

/// The most bytes of a segment.
const MAX_BYTES: usize = 1 << 20;
/// The most bytes of a segment of a small log.
const SMALL_LOG_SEGMENT_BYTES: usize = 4 << 10;
/// Logs of at least this size have mapped segments.
const LARGE_LOG_BYTES: usize = 16 << 10;
/// A new segment of a large log takes at most one part in this many of the log, but at least [`MAPPED_BYTES`]. So little
/// memory is unused in the first and the last segment.
const SEGMENTS_PER_LOG: usize = 16;
/// The most events of a segment. Large events count, though their bytes are elsewhere.
const MAX_EVENTS: usize = 8192;

/// The frames of adjacent events, one after the other. Events are appended at the end only.
#[derive(Debug)]
pub(super) struct Segment {
    /// The seq of its first event, evicted or not.
    pub(super) first_seq: u64,
    /// Bytes of all small events ever appended to the log before this segment.
    pub(super) start: u64,
    memory: Memory,
    /// The end of each event in `memory`. A large event has no bytes here, so it ends where the previous event ends.
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

    /// The most bytes of a new segment in a log of this size.
    pub(super) fn limit(log_bytes: usize) -> usize {
        if log_bytes < LARGE_LOG_BYTES {
            return SMALL_LOG_SEGMENT_BYTES;
        }
        let part = (log_bytes / SEGMENTS_PER_LOG).next_power_of_two() / 2;
        part.clamp(MAPPED_BYTES, MAX_BYTES)
    }

    /// The initial capacity of a new segment. Segments of a small log start empty and grow with each event.
    pub(super) fn first_capacity(limit: usize) -> usize {
        if limit > SMALL_LOG_SEGMENT_BYTES {
            limit
        } else {
            0
        }
    }

    /// Memory that the segment takes.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Segment>() + self.memory.held_bytes() + self.ends.capacity() * size_of::<u32>()
    }

    /// One past the seq of its last event.
    pub(super) fn end_seq(&self) -> u64 {
        self.first_seq + self.ends.len() as u64
    }

    /// Bytes of its events up to and including this seq, which may be the one before its first.
    pub(super) fn bytes_upto(&self, seq: u64) -> usize {
        let events = (seq + 1 - self.first_seq) as usize;
        events.checked_sub(1).map_or(0, |last| self.end_of(last))
    }

    /// Bytes that one of its events takes here; 0 for a large event.
    pub(super) fn bytes_of(&self, seq: u64) -> usize {
        self.bytes_upto(seq) - self.bytes_upto(seq - 1)
    }

    /// Whether another event of this many bytes fits, if the segment may grow up to a limit.
    pub(super) fn takes(&self, len: usize, limit: usize) -> bool {
        self.ends.len() < MAX_EVENTS && self.memory.len() + len <= limit.max(self.memory.capacity())
    }

    /// Appends a large event, whose bytes are elsewhere.
    pub(super) fn push_large(&mut self) {
        self.ends.push(self.memory.len() as u32);
    }

    /// Appends an event. [`Segment::takes`] must be true for it, unless it is the first.
    pub(super) fn push(&mut self, event: &NewEvent<'_>, limit: usize) {
        let needed = self.memory.len() + event.frame_len();
        if needed > self.memory.capacity() {
            let grown = (self.memory.capacity() * 3 / 2).min(limit);
            self.memory.resize(grown.max(needed));
        }
        self.memory.push(event);
        self.ends.push(self.memory.len() as u32);
    }

    /// The frames of `from..=upto` as far as they are in this segment and within the limit, and their number.
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

    /// Whether the events before this seq take at least a third of the bytes: then moving the others is worth its cost.
    pub(super) fn is_worth_compacting(&self, seq: u64) -> bool {
        self.bytes_upto(seq - 1) * 3 >= self.memory.len()
    }

    /// Whether the events from this seq on take less than half of the memory.
    pub(super) fn is_sparse_from(&self, seq: u64) -> bool {
        (self.memory.len() - self.bytes_upto(seq - 1)) * 2 < self.memory.held_bytes()
    }

    /// Removes the events before this seq.
    pub(super) fn compact(&mut self, seq: u64) {
        let removed = self.bytes_upto(seq - 1);
        self.memory.remove_first(removed);
        self.ends.drain(..(seq - self.first_seq) as usize);
        for end in &mut self.ends {
            *end -= removed as u32;
        }
        self.start += removed as u64;
        self.first_seq = seq;
    }

    /// Frees the unused memory.
    pub(super) fn shrink(&mut self) {
        self.memory.resize(0);
        self.ends.shrink_to_fit();
    }

    /// Returns its memory for reuse by another segment.
    pub(super) fn into_memory(self) -> Memory {
        self.memory
    }

    fn end_of(&self, event: usize) -> usize {
        self.ends[event] as usize
    }
}
