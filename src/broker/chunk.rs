//! Chunks: bounded runs of a topic's events, read from its log to be sent.

use super::SharedFrame;
use super::epoch::EpochMark;
use crate::protocol::{Encoding, EventId};

/// The most memory that an idle batch keeps.
const IDLE_BYTES: usize = 32 << 10;

/// Whole frames: copies of small ones, then at most one large one. The large one is shared, not copied, so that a thousand
/// slow subscribers do not hold a thousand copies of it.
#[derive(Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) large: Option<SharedFrame>,
    /// The id of the large one, if its encoding shows ids.
    pub(super) large_id: Option<EventId>,
}

impl Chunk {
    /// Whether no frame may be added: a large frame is always the last.
    pub(super) fn is_complete(&self) -> bool {
        self.large.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.large = None;
    }

    /// Replaces the large frame of a log by what this encoding sends. Called with the topic's lock released.
    pub(super) fn encode_large(&mut self, encoding: Encoding) {
        if encoding != Encoding::WebSocket
            && let Some(frame) = &self.large
        {
            self.large = Some(frame.encoded(encoding, self.large_id));
        }
    }
}

/// A chunk for each encoding, read once and sent to every subscriber of that encoding whose cursor is at its start.
#[derive(Default)]
pub(crate) struct ReadBatch([EncodedBatch; Encoding::COUNT]);

/// A chunk of one encoding, and between which positions it is.
#[derive(Default)]
pub(super) struct EncodedBatch {
    pub(super) chunk: Chunk,
    /// The epoch of its events.
    pub(super) epoch: EpochMark,
    /// The cursor before and after the chunk. If equal, no other subscription may take the chunk.
    pub(super) after: u64,
    pub(super) upto: u64,
    /// The byte limit ended the chunk: there is more to read after it.
    pub(super) more: bool,
}

impl ReadBatch {
    /// Drops the events and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.0.iter_mut().for_each(EncodedBatch::clear);
    }

    /// Drops the events and the memory beyond what an idle batch keeps.
    pub(crate) fn shrink(&mut self) {
        self.clear();
        for EncodedBatch { chunk, .. } in &mut self.0 {
            if chunk.bytes.capacity() > IDLE_BYTES {
                chunk.bytes = Vec::new();
            }
        }
    }

    pub(super) fn of(&mut self, encoding: Encoding) -> &mut EncodedBatch {
        &mut self.0[encoding.index()]
    }
}

impl EncodedBatch {
    pub(super) fn clear(&mut self) {
        self.chunk.clear();
        (self.after, self.upto, self.more) = (0, 0, false);
    }
}
