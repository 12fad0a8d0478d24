//! The log of one topic: bounded, append-only, numbered from 1 without holes.
//!
//! It is the history and every subscriber's queue at once. Small events stand one behind the other in segments, large
//! ones by themselves, so that they can be shared. Pure: no lock, no clock, no I/O.

mod memory;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::memory::Memory;
pub(crate) use self::memory::SharedFrame;
use self::segment::Segment;
use crate::protocol::{EventFrame, NewEvent};

/// Frames from this size on are shared with whoever sends them, smaller ones are copied.
const LARGE_FRAME_BYTES: usize = 32 << 10;

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogBounds {
    /// Events a replay may reach back.
    pub(super) history_size: usize,
    /// Events a subscription may lag behind.
    pub(super) max_queue_size: usize,
    /// Bytes of all retained events. The newest event is kept even if it alone is larger.
    pub(super) bytes: usize,
}

/// The retained events. Positions in it are seqs; a byte position counts all bytes that the log ever had.
#[derive(Debug)]
pub(super) struct Log {
    /// Oldest first, none empty. The first may begin with events that are evicted.
    segments: VecDeque<Segment>,
    /// The retained large events, oldest first.
    large: VecDeque<LargeEvent>,
    first_seq: u64,
    head: u64,
    bytes: usize,
    /// Bytes of all small events there ever were.
    small_end: u64,
    /// Bytes of all large events there ever were.
    large_end: u64,
    /// Memory of the last segment that was evicted. Boxed, because most logs have none.
    spare: Option<Box<Memory>>,
    /// Memory of the segments, of the spare one, and of the large events.
    held_bytes: usize,
    bounds: LogBounds,
}

#[derive(Debug)]
struct LargeEvent {
    seq: u64,
    /// Bytes of all large events before it.
    start: u64,
    frame: SharedFrame,
}

impl LargeEvent {
    fn held_bytes(&self) -> usize {
        size_of::<LargeEvent>() + self.frame.held_bytes()
    }
}

/// Adjacent events: what can be sent in one go.
#[derive(Debug)]
pub(super) enum Run<'a> {
    /// Whole frames of this many events; none if the next one is over the limit.
    Small { frames: &'a [u8], events: u64 },
    /// The frame of one event.
    Large(&'a SharedFrame),
}

impl Log {
    pub(super) fn new(bounds: LogBounds) -> Log {
        Log {
            segments: VecDeque::new(),
            large: VecDeque::new(),
            first_seq: 1,
            head: 0,
            bytes: 0,
            small_end: 0,
            large_end: 0,
            spare: None,
            held_bytes: 0,
            bounds,
        }
    }

    /// The newest seq ever appended, 0 before the first.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The oldest retained seq; one past the head when nothing is retained.
    pub(super) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Bytes of the retained events.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory that the retained events take: with what is unused in the segments, and what goes with each event.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of all events that were ever appended.
    pub(super) fn total_bytes(&self) -> u64 {
        self.small_end + self.large_end
    }

    /// Bytes of the retained events behind a position.
    pub(super) fn bytes_after(&self, seq: u64) -> usize {
        (self.total_bytes() - self.end_of(seq.max(self.first_seq - 1))) as usize
    }

    /// Appends the event numbered `head + 1` and evicts what is over the bounds, but nothing newer than `evictable`. What
    /// is not evictable may exceed the bounds.
    pub(super) fn append(&mut self, event: &NewEvent<'_>, evictable: u64) {
        let len = event.frame_len();
        if len < LARGE_FRAME_BYTES {
            self.in_last_segment(len, |tail, limit| tail.push(event, limit));
            self.small_end += len as u64;
        } else {
            self.in_last_segment(0, |tail, _| tail.push_large());
            let large = LargeEvent {
                seq: self.head + 1,
                start: self.large_end,
                frame: SharedFrame::new(event),
            };
            self.large_end += len as u64;
            self.held_bytes += large.held_bytes();
            self.large.push_back(large);
        }
        self.head += 1;
        self.bytes += len;
        while self.first_seq <= evictable && self.is_over_bounds() {
            if let Some(segment) = self.drop_oldest() {
                self.keep_spare(segment.into_memory());
            }
        }
    }

    /// Makes the log smaller for others: gives back unused memory, or drops the oldest event, but none that is newer than
    /// `evictable`. `false`: there is nothing to give.
    pub(super) fn evict_oldest(&mut self, evictable: u64) -> bool {
        if self.take_spare().is_some() {
            return true;
        }
        if self.segments.len() == 1 && self.segments[0].is_sparse_from(self.first_seq) {
            let first_seq = self.first_seq;
            self.changing(0, |only| {
                only.compact(first_seq);
                only.shrink();
            });
            return true;
        }
        let has_one = self.first_seq <= self.head.min(evictable);
        if has_one {
            self.drop_oldest();
        }
        has_one
    }

    /// The newest seq that appending an event of this many bytes would evict for the byte bound; 0 if none.
    pub(super) fn eviction_horizon(&self, incoming_bytes: usize) -> u64 {
        let before = self.first_seq - 1;
        let fits = |after: u64| self.bytes_after(after) + incoming_bytes <= self.bounds.bytes;
        if before == self.head || fits(before) {
            return 0;
        }
        first_where(before, self.head, fits)
    }

    /// The oldest seq a replay may start with; one past the head when there is no history. The newest events within both
    /// bounds are the history, also while more is retained.
    pub(super) fn history_start(&self) -> u64 {
        let within_count = self.head.saturating_sub(self.bounds.history_size as u64);
        let fits = |after: u64| self.bytes_after(after) <= self.bounds.bytes;
        first_where(within_count.max(self.first_seq - 1), self.head, fits) + 1
    }

    /// The retained events behind a position, oldest first.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = EventFrame<'_>> {
        let first = self.first_seq.max(seq + 1);
        (first..=self.head).filter_map(|seq| match self.run(seq - 1, seq, usize::MAX)? {
            Run::Small { frames, .. } => Some(EventFrame::new(frames)),
            Run::Large(frame) => Some(EventFrame::new(frame)),
        })
    }

    /// The next events behind a retained position, as many as lie together, up to a seq and to a number of bytes (which
    /// does not bound a large one). `None` at the end.
    pub(super) fn run(&self, after: u64, upto: u64, limit_bytes: usize) -> Option<Run<'_>> {
        let next = after + 1;
        let upto = upto.min(self.head);
        if next < self.first_seq || next > upto {
            return None;
        }
        let large = self.large.get(self.large_upto(after));
        if let Some(large) = large
            && large.seq == next
        {
            return Some(Run::Large(&large.frame));
        }
        let upto = large.map_or(upto, |large| upto.min(large.seq - 1));
        let segment = &self.segments[self.segment_of(next)?];
        let (frames, events) = segment.run(next, upto, limit_bytes);
        Some(Run::Small { frames, events })
    }

    fn is_over_bounds(&self) -> bool {
        let events = self.head + 1 - self.first_seq;
        let most = self.bounds.history_size.max(self.bounds.max_queue_size);
        events > most as u64 || (self.bytes > self.bounds.bytes && events > 1)
    }

    /// Drops the oldest event, and returns the segment it was the last of.
    fn drop_oldest(&mut self) -> Option<Segment> {
        let seq = self.first_seq;
        let small = self.segments.front()?.bytes_of(seq);
        self.bytes -= small;
        let is_large = self.large.front().is_some_and(|large| large.seq == seq);
        if is_large && let Some(large) = self.large.pop_front() {
            self.bytes -= large.frame.len();
            self.held_bytes -= large.held_bytes();
        }
        self.first_seq += 1;
        if self.segments.front()?.end_seq() != seq + 1 {
            return None;
        }
        let segment = self.segments.pop_front()?;
        self.held_bytes -= segment.held_bytes();
        Some(segment)
    }

    /// Appends to the last segment, or to a new one if that does not take so many bytes.
    fn in_last_segment(&mut self, len: usize, push: impl FnOnce(&mut Segment, usize)) {
        let limit = Segment::limit(self.bytes + len);
        let first_seq = self.first_seq;
        if self.segments.len() == 1
            && !self.segments[0].takes(len, 0)
            && self.segments[0].is_worth_compacting(first_seq)
        {
            self.segments[0].compact(first_seq);
        }
        let takes = |tail: &Segment| tail.takes(len, limit);
        if !self.segments.back().is_some_and(takes) {
            let memory = self.memory(Segment::first_capacity(limit));
            let tail = Segment::new(self.head + 1, self.small_end, memory);
            self.held_bytes += tail.held_bytes();
            if self.segments.is_empty() {
                // Most logs have one.
                self.segments.reserve_exact(1);
            }
            self.segments.push_back(tail);
        }
        self.changing(self.segments.len() - 1, |tail| push(tail, limit));
    }

    /// The spare memory if it has the capacity, otherwise new memory.
    fn memory(&mut self, capacity: usize) -> Memory {
        match self.take_spare() {
            Some(spare) if spare.capacity() == capacity => *spare,
            _ => Memory::with_capacity(capacity),
        }
    }

    fn take_spare(&mut self) -> Option<Box<Memory>> {
        let spare = self.spare.take()?;
        self.held_bytes -= spare.held_bytes();
        Some(spare)
    }

    /// Keeps the memory of an evicted segment for the next one, so that a log at its bounds maps and unmaps nothing.
    fn keep_spare(&mut self, mut memory: Memory) {
        if memory.is_mapped() {
            self.take_spare();
            memory.forget(memory.len());
            self.held_bytes += memory.held_bytes();
            self.spare = Some(Box::new(memory));
        }
    }

    /// Changes a segment and keeps count of its memory.
    fn changing(&mut self, at: usize, change: impl FnOnce(&mut Segment)) {
        let segment = &mut self.segments[at];
        let before = segment.held_bytes();
        change(segment);
        self.held_bytes = self.held_bytes - before + segment.held_bytes();
    }

    /// Bytes of all events there ever were up to and with this one, which is the one before the first retained, or retained.
    fn end_of(&self, seq: u64) -> u64 {
        let at = self.large_upto(seq);
        let large = self.large.get(at).map_or(self.large_end, |next| next.start);
        let small = match self.segment_of(seq) {
            Some(at) => self.segments[at].start + self.segments[at].bytes_upto(seq) as u64,
            None => self
                .segments
                .front()
                .map_or(self.small_end, |first| first.start),
        };
        small + large
    }

    /// Where the segment is that has this seq; `None`: it is before all.
    fn segment_of(&self, seq: u64) -> Option<usize> {
        let behind = self
            .segments
            .partition_point(|segment| segment.first_seq <= seq);
        behind.checked_sub(1)
    }

    /// How many of the retained large events are not behind this seq.
    fn large_upto(&self, seq: u64) -> usize {
        self.large.partition_point(|large| large.seq <= seq)
    }
}

/// The first of these numbers for which it holds, if it then holds for all behind it; the last if it holds for none.
fn first_where(first: u64, last: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (first, last);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
