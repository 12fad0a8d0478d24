//! A bounded part of a topic's log on its way to sockets.

use super::SharedFrame;

/// Memory that an idle piece may keep.
const IDLE_BYTES: usize = 32 << 10;

/// Whole frames: small ones copied together, and behind them at most one large one, which is shared and not copied, so
/// that a thousand slow subscribers do not hold a thousand copies of it.
#[derive(Default)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) large: Option<SharedFrame>,
}

impl Piece {
    /// Whether nothing may be added: a large frame is its end.
    pub(super) fn is_complete(&self) -> bool {
        self.large.is_some()
    }

    /// Forgets the frames, keeps the memory.
    fn clear(&mut self) {
        self.bytes.clear();
        self.large = None;
    }
}

/// Events gathered once and sent to every subscriber that stands at the same position.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) piece: Piece,
    pub(super) after: u64,
    pub(super) upto: u64,
    /// The limit cut it short: whoever takes it has more to get.
    pub(super) more: bool,
}

impl Batch {
    /// Forgets the events, keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.piece.clear();
        (self.after, self.upto, self.more) = (0, 0, false);
    }

    /// Gives the memory back too.
    pub(crate) fn shrink(&mut self) {
        self.reset();
        if self.piece.bytes.capacity() > IDLE_BYTES {
            self.piece.bytes = Vec::new();
        }
    }
}
