//! The log of one topic: bounded, append-only, numbered from 1 without holes.
//!
//! One log serves as the history and as every subscriber's queue. Small events are stored one after the other in segments;
//! large events are stored individually, so that they can be shared. Pure: no lock, no clock, no I/O.

mod memory;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::memory::Memory;
pub(crate) use self::memory::SharedFrame;
use self::segment::Segment;
use crate::protocol::{EventFrame, NewEvent};

/// Frames of at least this size are shared with the senders; smaller ones are copied.
const LARGE_FRAME_BYTES: usize = if cfg!(shuttle) { 256 } else { 32 << 10 };

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogBounds {
    /// The most events in a replay.
    pub(super) history_size: usize,
    /// The most events a subscription may lag behind.
    pub(super) max_queue_size: usize,
    /// The most bytes of all retained events. The newest event is retained even if it alone is larger.
    pub(super) bytes: usize,
}

impl LogBounds {
    /// The most events that are kept, for the history and for subscriptions.
    pub(super) fn max_events(&self) -> usize {
        self.history_size.max(self.max_queue_size)
    }
}

/// The retained events. Positions are seqs; byte positions count all bytes ever appended.
#[derive(Debug)]
pub(super) struct Log {
    /// Oldest first, none empty. The first segment may begin with evicted events.
    segments: VecDeque<Segment>,
    /// The retained large events, oldest first.
    large: VecDeque<LargeEvent>,
    first_seq: u64,
    head: u64,
    bytes: usize,
    /// Bytes of all small events ever appended.
    small_end: u64,
    /// Bytes of all large events ever appended.
    large_end: u64,
    /// Memory of the last evicted segment, for reuse. Boxed, because most logs have none.
    spare: Option<Box<Memory>>,
    /// Memory used by the segments, the spare memory and the large events.
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

/// Adjacent events whose frames lie together in memory.
#[derive(Debug)]
pub(super) enum Run<'a> {
    /// Whole frames of this many events; none if the next event exceeds the limit.
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

    /// An empty log whose first event gets the position after this one.
    pub(super) fn starting_after(position: u64, bounds: LogBounds) -> Log {
        Log {
            first_seq: position + 1,
            head: position,
            ..Log::new(bounds)
        }
    }

    /// Drops all events; the next one gets the position after this one.
    pub(super) fn skip_to(&mut self, position: u64) {
        while self.first_seq <= self.head {
            self.drop_oldest();
        }
        self.head = self.head.max(position);
        self.first_seq = self.head + 1;
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

    /// Memory that the retained events take, including unused space in segments and the bookkeeping of each event.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of all events that were ever appended.
    pub(super) fn total_bytes(&self) -> u64 {
        self.small_end + self.large_end
    }

    /// Bytes of the retained events after a position.
    pub(super) fn bytes_after(&self, seq: u64) -> usize {
        (self.total_bytes() - self.end_of(seq.max(self.first_seq - 1))) as usize
    }

    /// Appends the event numbered `head + 1`, then evicts events until the log is within its bounds. Events newer than
    /// `evictable` are never evicted, so they may exceed the bounds.
    pub(super) fn append(&mut self, event: &NewEvent<'_>, evictable: u64) {
        let len = event.frame_len();
        if len < LARGE_FRAME_BYTES {
            self.append_to_last_segment(len, |tail, limit| tail.push(event, limit));
            self.small_end += len as u64;
        } else {
            self.append_to_last_segment(0, |tail, _| tail.push_large());
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

    pub(super) fn bounds(&self) -> LogBounds {
        self.bounds
    }

    /// Changes the bounds, and evicts what exceeds them.
    pub(super) fn set_bounds(&mut self, bounds: LogBounds, evictable: u64) {
        self.bounds = bounds;
        while self.first_seq <= evictable && self.is_over_bounds() {
            self.drop_oldest();
        }
        self.take_spare();
    }

    /// Evicts all events up to this seq, and frees their memory.
    pub(super) fn evict_upto(&mut self, seq: u64) {
        self.take_spare();
        while self.first_seq <= seq.min(self.head) {
            self.drop_oldest();
        }
    }

    /// The newest seq of an event that was published before this time, in microseconds since 1970; one before the oldest
    /// retained seq if there is none. Times must not decrease from event to event.
    pub(super) fn last_before(&self, micros: u64) -> u64 {
        let is_later = |after: u64| {
            let next = self.after(after).next();
            next.is_none_or(|event| event.ts_micros() >= micros)
        };
        first_where(self.first_seq - 1, self.head, is_later)
    }

    /// Frees some memory for other topics: unused memory first, then the oldest event if it is not newer than `evictable`.
    /// Returns `false` if nothing can be freed.
    pub(super) fn evict_oldest(&mut self, evictable: u64) -> bool {
        if self.take_spare().is_some() {
            return true;
        }
        if self.segments.len() == 1 && self.segments[0].is_sparse_from(self.first_seq) {
            let first_seq = self.first_seq;
            self.update_segment(0, |only| {
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

    /// The oldest seq a replay may start with; one past the head when there is no history. The history is the newest events
    /// within both bounds, even while more is retained.
    pub(super) fn history_start(&self) -> u64 {
        let within_count = self.head.saturating_sub(self.bounds.history_size as u64);
        let fits = |after: u64| self.bytes_after(after) <= self.bounds.bytes;
        first_where(within_count.max(self.first_seq - 1), self.head, fits) + 1
    }

    /// Whether the history would be the same if no event before the retained ones had been evicted.
    pub(super) fn covers_history(&self) -> bool {
        let retained = self.head + 1 - self.first_seq;
        retained >= self.bounds.history_size as u64 || self.history_start() > self.first_seq
    }

    /// The retained events after a position, oldest first.
    pub(super) fn after(&self, seq: u64) -> impl Iterator<Item = EventFrame<'_>> {
        let first = self.first_seq.max(seq + 1);
        (first..=self.head).filter_map(|seq| match self.run(seq - 1, seq, usize::MAX)? {
            Run::Small { frames, .. } => Some(EventFrame::new(frames)),
            Run::Large(frame) => Some(EventFrame::new(frame)),
        })
    }

    /// The next events after a retained position that lie together in memory, up to a seq and to a number of bytes. The
    /// number of bytes does not apply to a large event. `None` at the end.
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
        let most = self.bounds.max_events();
        events > most as u64 || (self.bytes > self.bounds.bytes && events > 1)
    }

    /// Drops the oldest event. Returns its segment if it was the last event in it.
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

    /// Calls `push` with the last segment, or with a new one if `len` bytes do not fit into the last.
    fn append_to_last_segment(&mut self, len: usize, push: impl FnOnce(&mut Segment, usize)) {
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
                // Most logs have only one.
                self.segments.reserve_exact(1);
            }
            self.segments.push_back(tail);
        }
        self.update_segment(self.segments.len() - 1, |tail| push(tail, limit));
    }

    /// The spare memory if it has exactly this capacity, otherwise new memory.
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

    /// Keeps the memory of an evicted segment for the next segment, so that a log at its bounds does not map and unmap
    /// memory all the time.
    fn keep_spare(&mut self, mut memory: Memory) {
        if memory.is_mapped() {
            self.take_spare();
            memory.remove_first(memory.len());
            self.held_bytes += memory.held_bytes();
            self.spare = Some(Box::new(memory));
        }
    }

    /// Changes a segment and updates `held_bytes`.
    fn update_segment(&mut self, at: usize, change: impl FnOnce(&mut Segment)) {
        let segment = &mut self.segments[at];
        let before = segment.held_bytes();
        change(segment);
        self.held_bytes = self.held_bytes - before + segment.held_bytes();
    }

    /// Bytes of all events ever appended up to and including `seq`, which is retained or just before the first retained
    /// one.
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

    /// The index of the segment that holds this seq; `None` if it is before all segments.
    fn segment_of(&self, seq: u64) -> Option<usize> {
        let following = self
            .segments
            .partition_point(|segment| segment.first_seq <= seq);
        following.checked_sub(1)
    }

    /// How many of the retained large events have a seq up to this one.
    fn large_upto(&self, seq: u64) -> usize {
        self.large.partition_point(|large| large.seq <= seq)
    }
}

/// Binary search: the first number in `first..=last` for which `holds` is true; `last` if there is none. `holds` must stay
/// true once it is true.
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
