//! Memory for events: mapped from the system piece by piece, so that it is resident while events are in it and no longer.
//!
//! An allocator keeps what is freed, each thread's by itself, and a small thing that lives on keeps whatever lies around
//! it. So what a log takes would not follow what it holds. Little pieces come from the allocator all the same.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;

use crate::protocol::NewEvent;
use crate::sync::Arc;

/// Pieces from this size on are mapped.
pub(super) const MAPPED_BYTES: usize = 16 << 10;
/// Mapped pieces at most: the system bounds the maps of a process, and connections need most of them. This is less than
/// the share that `server/limit.rs` leaves to the rest of the process; further pieces come from the allocator.
const MOST_MAPPED: usize = 6144;

/// A piece is rounded up to whole pages.
const PAGE_BYTES: usize = 4 << 10;

static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// A piece of memory that is written from its beginning on.
#[derive(Debug)]
pub(super) enum Memory {
    Heap(Vec<u8>),
    Mapped {
        map: Map,
        len: usize,
        /// The most it ever was: what is behind that was never written, and takes no memory.
        touched: usize,
    },
}

impl Memory {
    pub(super) fn with_capacity(capacity: usize) -> Memory {
        let map = (capacity >= MAPPED_BYTES).then(|| Map::new(capacity));
        match map.flatten() {
            Some(map) => Memory::Mapped {
                map,
                len: 0,
                touched: 0,
            },
            None => Memory::Heap(Vec::with_capacity(capacity)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Memory::Heap(bytes) => bytes,
            Memory::Mapped { map, len, .. } => &map.0[..*len],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Bytes that it takes: whole pages, if mapped.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Memory::Heap(bytes) => bytes.capacity(),
            Memory::Mapped { touched, .. } => touched.next_multiple_of(PAGE_BYTES),
        }
    }

    /// Bytes it has room for.
    pub(super) fn capacity(&self) -> usize {
        match self {
            Memory::Heap(bytes) => bytes.capacity(),
            Memory::Mapped { map, .. } => map.0.len(),
        }
    }

    pub(super) fn is_mapped(&self) -> bool {
        matches!(self, Memory::Mapped { .. })
    }

    /// Appends an event, which must fit.
    pub(super) fn push(&mut self, event: &NewEvent<'_>) {
        match self {
            Memory::Heap(bytes) => event.push(bytes),
            Memory::Mapped { map, len, touched } => {
                let end = *len + event.frame_len();
                event.write(&mut map.0[*len..end]);
                *len = end;
                *touched = end.max(*touched);
            }
        }
    }

    /// Forgets the first bytes.
    pub(super) fn forget(&mut self, first: usize) {
        match self {
            Memory::Heap(bytes) => drop(bytes.drain(..first)),
            Memory::Mapped { map, len, .. } => {
                map.0.copy_within(first..*len, 0);
                *len -= first;
            }
        }
    }

    /// The same bytes in as much memory as is asked for, but never less than they need.
    pub(super) fn resize(&mut self, capacity: usize) {
        let capacity = capacity.max(self.len());
        match self {
            Memory::Heap(bytes) if capacity < MAPPED_BYTES => {
                bytes.shrink_to(capacity);
                bytes.reserve_exact(capacity - bytes.len());
            }
            _ => {
                let mut resized = Memory::with_capacity(capacity);
                match &mut resized {
                    Memory::Heap(bytes) => bytes.extend_from_slice(self.bytes()),
                    Memory::Mapped { map, len, touched } => {
                        *len = self.len();
                        *touched = *len;
                        map.0[..*len].copy_from_slice(self.bytes());
                    }
                }
                *self = resized;
            }
        }
    }
}

/// Pages of the system, given back when dropped.
#[derive(Debug)]
pub(super) struct Map(MmapMut);

impl Map {
    /// `None`: there are enough, or the system gives none.
    fn new(capacity: usize) -> Option<Map> {
        if MAPPED.fetch_add(1, Ordering::Relaxed) < MOST_MAPPED {
            let bytes = capacity.next_multiple_of(PAGE_BYTES);
            if let Ok(map) = MmapMut::map_anon(bytes) {
                return Some(Map(map));
            }
        }
        MAPPED.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The frame of a large event, shared with whoever sends it.
#[derive(Debug, Clone)]
pub(crate) struct SharedFrame(Arc<Memory>);

impl SharedFrame {
    pub(crate) fn new(event: &NewEvent<'_>) -> SharedFrame {
        let mut memory = Memory::with_capacity(event.frame_len());
        memory.push(event);
        SharedFrame(Arc::new(memory))
    }

    /// Memory it takes: with the counters of the `Arc`, and with what an allocator puts in front.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Memory>() + 4 * size_of::<usize>() + self.0.held_bytes()
    }
}

impl Deref for SharedFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Timestamp, TopicName};
    use serde_json::value::RawValue;

    #[test]
    fn bytes_stay_the_same_in_whatever_memory() {
        let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(500))).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let topic = TopicName::new("t").unwrap();
        let event = |seq| NewEvent::new(&topic, &message, seq, Timestamp::EARLIEST);
        let mut memory = Memory::with_capacity(4096);
        (1..=3).for_each(|seq| memory.push(&event(seq)));
        let expected = [2, 3].map(|seq| event(seq).to_frame()).concat();
        memory.forget(event(1).frame_len());
        for (capacity, is_mapped) in [
            (0, false),
            (MAPPED_BYTES - 1, false),
            (MAPPED_BYTES, true),
            (64 << 10, true),
            (100, false),
        ] {
            memory.resize(capacity);
            assert_eq!(
                (memory.bytes(), memory.is_mapped()),
                (&*expected, is_mapped)
            );
            assert!(memory.capacity() >= capacity.max(expected.len()));
        }
        memory.resize(MAPPED_BYTES);
        memory.push(&event(4));
        memory.forget(expected.len());
        assert_eq!(memory.bytes(), event(4).to_frame());
    }
}
