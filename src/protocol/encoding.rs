//! How events leave on a connection.

use super::{Gap, Notice, TopicName, push_gap, push_notice};

/// Chosen when a connection opens, applied when a chunk is read. Subscribers of one encoding share chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// WebSocket text frames (RFC 6455), which is how the log holds events.
    #[default]
    WebSocket,
}

impl Encoding {
    /// Appends events of a log, which are whole frames.
    pub(crate) fn push_events(self, out: &mut Vec<u8>, frames: &[u8]) {
        match self {
            Encoding::WebSocket => out.extend_from_slice(frames),
        }
    }

    pub(crate) fn push_gap(self, out: &mut Vec<u8>, topic: &TopicName, gap: &Gap) {
        match self {
            Encoding::WebSocket => push_gap(out, topic, gap),
        }
    }

    pub(crate) fn push_notice(self, out: &mut Vec<u8>, notice: Notice<'_>) {
        match self {
            Encoding::WebSocket => push_notice(out, notice),
        }
    }
}
