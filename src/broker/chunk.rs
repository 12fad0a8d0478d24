//! A bounded run of a topic's events on its way to sockets.

use super::SharedFrame;
use crate::protocol::Encoding;

/// Memory that an idle batch may keep.
const IDLE_BYTES: usize = 32 << 10;

/// Whole frames: small ones copied together, then at most one large one. The large one is shared, not copied, so that a
/// thousand slow subscribers do not hold a thousand copies of it.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) large: Option<SharedFrame>,
}

impl Chunk {
    /// Whether nothing may be added: a large frame is always the last.
    pub(super) fn is_complete(&self) -> bool {
        self.large.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.large = None;
    }
}

/// A chunk that was read once and is sent to every subscriber of the same encoding whose cursor stands at its start.
#[derive(Default)]
pub(crate) struct ReadBatch {
    pub(crate) chunk: Chunk,
    pub(super) encoding: Encoding,
    /// The cursor before and after the chunk. Equal: nobody else may take it.
    pub(super) after: u64,
    pub(super) upto: u64,
    /// The byte limit ended it: whoever takes it has more to read.
    pub(super) more: bool,
}

impl ReadBatch {
    /// Drops the events, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.chunk.clear();
        (self.after, self.upto, self.more) = (0, 0, false);
    }

    /// Drops the events, and the memory that only a burst needed.
    pub(crate) fn shrink(&mut self) {
        self.clear();
        if self.chunk.bytes.capacity() > IDLE_BYTES {
            self.chunk.bytes = Vec::new();
        }
    }
}
