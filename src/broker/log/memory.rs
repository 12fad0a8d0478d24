//! Memory for events. Large blocks are mapped from the system, so that they stop being resident as soon as they are freed.
//!
//! An allocator keeps freed memory per thread, and one small live allocation can keep the pages around it resident. Then
//! the memory of the process would not shrink with its logs. Small blocks come from the allocator all the same.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;

use crate::protocol::{Encoding, EventId, NewEvent};
use crate::sync::{Arc, Lock, Mutex, Weak, mutex};

/// Blocks of at least this size are mapped.
pub(super) const MAPPED_BYTES: usize = 16 << 10;
/// The most mapped blocks. The system limits the mappings of a process, and connections need most of them. This is less
/// than the share that `server/limit.rs` leaves to the rest of the process. Further blocks come from the allocator.
const MAX_MAPPED: usize = 6144;

/// Mapped blocks are rounded up to whole pages.
const PAGE_BYTES: usize = 4 << 10;

static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// A block of memory that is filled from its beginning.
#[derive(Debug)]
pub(super) enum Memory {
    Heap(Vec<u8>),
    Mapped {
        map: Map,
        len: usize,
        /// The largest `len` so far. Bytes after it were never written and are not resident.
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

    /// Bytes of memory that it takes: whole pages, if mapped.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Memory::Heap(bytes) => bytes.capacity(),
            Memory::Mapped { touched, .. } => touched.next_multiple_of(PAGE_BYTES),
        }
    }

    /// The most bytes it can hold.
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

    /// Removes the first bytes and moves the others to the beginning.
    pub(super) fn remove_first(&mut self, first: usize) {
        match self {
            Memory::Heap(bytes) => drop(bytes.drain(..first)),
            Memory::Mapped { map, len, .. } => {
                map.0.copy_within(first..*len, 0);
                *len -= first;
            }
        }
    }

    /// Moves the bytes to memory of this capacity, or of their length if that is larger.
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

/// Mapped pages. Unmapped when dropped.
#[derive(Debug)]
pub(super) struct Map(MmapMut);

impl Map {
    /// `None` if there are too many mappings, or the system refuses one.
    fn new(capacity: usize) -> Option<Map> {
        if MAPPED.fetch_add(1, Ordering::Relaxed) < MAX_MAPPED {
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

/// A large event, shared by the log and all senders: its frame, or what another encoding sends in its place.
#[derive(Clone)]
pub(crate) struct SharedFrame(Arc<Large>);

struct Large {
    memory: Memory,
    /// The same event in each other encoding, as long as somebody sends it. Taken for one copy; no lock is taken under it.
    encoded: Mutex<[Weak<Large>; Encoding::COUNT]>,
}

impl SharedFrame {
    pub(crate) fn new(event: &NewEvent<'_>) -> SharedFrame {
        let mut memory = Memory::with_capacity(event.frame_len());
        memory.push(event);
        SharedFrame::of(memory)
    }

    fn of(memory: Memory) -> SharedFrame {
        let encoded = mutex(Lock::LargeEvent, Default::default());
        SharedFrame(Arc::new(Large { memory, encoded }))
    }

    /// What this encoding sends for the frame. However many send it, and however slowly, there is one copy.
    pub(in crate::broker) fn encoded(
        &self,
        encoding: Encoding,
        id: Option<EventId>,
    ) -> SharedFrame {
        let mut encoded = self.0.encoded.lock();
        let known = &mut encoded[encoding.index()];
        if let Some(large) = known.upgrade() {
            return SharedFrame(large);
        }
        let Some(text) = encoding.large_event(self, id) else {
            return self.clone();
        };
        let mut memory = Memory::Heap(text);
        memory.resize(0);
        let frame = SharedFrame::of(memory);
        *known = Arc::downgrade(&frame.0);
        frame
    }

    /// Memory it takes, including the counters of the `Arc` and an estimate of the allocator's overhead.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Large>() + 4 * size_of::<usize>() + self.0.memory.held_bytes()
    }
}

impl fmt::Debug for SharedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.memory.fmt(f)
    }
}

impl Deref for SharedFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.memory.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, Timestamp, TopicName};
    use serde_json::value::RawValue;

    #[test]
    fn resizing_and_removing_keep_the_remaining_bytes() {
        let payload = RawValue::from_string(format!("\"{}\"", "x".repeat(500))).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let topic = TopicName::new("t").unwrap();
        let event = |seq| NewEvent::new(&topic, &message, seq, Timestamp::EARLIEST);
        let mut memory = Memory::with_capacity(4096);
        (1..=3).for_each(|seq| memory.push(&event(seq)));
        let expected = [2, 3].map(|seq| event(seq).to_frame()).concat();
        memory.remove_first(event(1).frame_len());
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
        memory.remove_first(expected.len());
        assert_eq!(memory.bytes(), event(4).to_frame());
    }
}
