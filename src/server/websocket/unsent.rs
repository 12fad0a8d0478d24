//! Unsent frames, perhaps partly sent, and the number of events among them. Pure.

use std::collections::VecDeque;

use crate::broker::{Chunk, SharedFrame};
use crate::protocol::Encoding;

#[derive(Default)]
pub(super) struct Unsent {
    encoding: Encoding,
    segments: VecDeque<Segment>,
    /// How many bytes of the first segment were sent.
    sent: usize,
    /// Bytes still to be sent.
    bytes: usize,
    events: u64,
    /// How many of the events were sent whole.
    delivered: u64,
}

/// Whole frames.
enum Segment {
    Own(Vec<u8>),
    Shared(SharedFrame),
}

impl Segment {
    fn frames(&self) -> &[u8] {
        match self {
            Segment::Own(frames) => frames,
            Segment::Shared(frame) => frame,
        }
    }
}

impl Unsent {
    pub(super) fn new(encoding: Encoding) -> Unsent {
        Unsent {
            encoding,
            ..Unsent::default()
        }
    }

    /// Everything; nothing is left.
    pub(super) fn take(&mut self) -> Unsent {
        let empty = Unsent::new(self.encoding);
        std::mem::replace(self, empty)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes still to be sent.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// The next bytes to send; empty if nothing is left.
    pub(super) fn rest(&self) -> &[u8] {
        self.segments
            .front()
            .map_or(&[], |segment| &segment.frames()[self.sent..])
    }

    /// Adds frames that are not events.
    pub(super) fn append(&mut self, frames: &[u8]) {
        self.bytes += frames.len();
        match self.segments.back_mut() {
            Some(Segment::Own(own)) => own.extend_from_slice(frames),
            _ => self.segments.push_back(Segment::Own(frames.to_vec())),
        }
    }

    /// Adds a chunk of a topic's log.
    pub(super) fn append_chunk(&mut self, chunk: Chunk, events: u64) {
        self.events += events;
        if !chunk.bytes.is_empty() {
            self.push(Segment::Own(chunk.bytes));
        }
        if let Some(frame) = chunk.large {
            self.push(Segment::Shared(frame));
        }
    }

    /// Keeps the rest of a chunk of which the first `sent` bytes were sent; returns how many events were sent whole.
    pub(super) fn keep_rest(
        &mut self,
        bytes: &[u8],
        large: Option<&SharedFrame>,
        sent: usize,
        events: u64,
    ) -> u64 {
        debug_assert!(self.is_empty());
        let (mut delivered, boundary) = self.encoding.whole_events(bytes, sent.min(bytes.len()));
        if sent < bytes.len() {
            self.push(Segment::Own(bytes[boundary..].to_vec()));
            self.advance(sent - boundary);
        }
        if let Some(frame) = large {
            self.push(Segment::Shared(frame.clone()));
            self.advance(sent.saturating_sub(bytes.len()));
            delivered = delivered.min(events.saturating_sub(1));
        }
        self.events = events - delivered;
        delivered
    }

    /// Notes that the first `sent` bytes of the rest were sent.
    pub(super) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        self.bytes -= sent;
        if self
            .segments
            .front()
            .is_some_and(|segment| self.sent == segment.frames().len())
            && let Some(segment) = self.segments.pop_front()
        {
            self.delivered += self.whole_events(&segment);
            self.sent = 0;
        }
    }

    /// Puts frames that were taken out, perhaps partly sent, back in front of those added since.
    pub(super) fn put_in_front(&mut self, front: Unsent) {
        let behind = std::mem::replace(self, front);
        debug_assert_eq!(behind.sent, 0);
        self.segments.extend(behind.segments);
        self.bytes += behind.bytes;
        self.events += behind.events;
        self.delivered += behind.delivered;
    }

    /// Events sent whole, and events not sent whole.
    pub(super) fn tally(&self) -> (u64, u64) {
        let partly = self
            .segments
            .front()
            .map_or(0, |segment| self.whole_events(segment));
        let delivered = self.delivered + partly;
        (delivered, self.events - delivered)
    }

    /// How many events of the first segment were sent whole.
    fn whole_events(&self, first: &Segment) -> u64 {
        self.encoding.whole_events(first.frames(), self.sent).0
    }

    fn push(&mut self, segment: Segment) {
        self.bytes += segment.frames().len();
        self.segments.push_back(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Message, NewEvent, Timestamp, TopicName, push_pong};
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn encoded<T>(pad: usize, encode: impl FnOnce(&NewEvent<'_>) -> T) -> T {
        let payload: Box<RawValue> =
            serde_json::from_str(&format!("\"{}\"", "x".repeat(pad))).unwrap();
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &payload).unwrap();
        let topic = TopicName::new("t").unwrap();
        encode(&NewEvent::new(&topic, &message, 1, Timestamp::now()))
    }

    fn event(pad: usize) -> Vec<u8> {
        encoded(pad, |event| event.to_frame())
    }

    #[test]
    fn bytes_put_back_are_sent_from_where_sending_stopped() {
        let (first, second) = (event(100), event(200));
        let wire = [&first[..], &second].concat();
        let mut unsent = Unsent::default();
        unsent.keep_rest(&first, None, 10, 1);
        let taken = unsent.take();
        unsent.keep_rest(&second, None, 0, 1);
        unsent.put_in_front(taken);
        assert_eq!((unsent.len(), unsent.tally()), (wire.len() - 10, (0, 2)));
        let mut sent = Vec::new();
        while !unsent.rest().is_empty() {
            sent.extend_from_slice(&unsent.rest()[..1]);
            unsent.advance(1);
        }
        assert_eq!(sent, wire[10..]);
        assert_eq!(unsent.tally(), (2, 0));
    }

    proptest! {
        /// Whatever the sizes of the sends, each event is counted once: in the fast path, in the rest, or as undelivered.
        #[test]
        fn every_event_is_counted_once(
            small in 0u64..4, large: bool, first in 0usize..50_000, steps in proptest::collection::vec(1usize..40_000, 0..4),
        ) {
            let mut bytes = Vec::new();
            (0..small).for_each(|_| bytes.extend(event(100)));
            push_pong(&mut bytes, None);
            let frame = large.then(|| encoded(33_000, SharedFrame::new));
            let total = bytes.len() + frame.as_ref().map_or(0, |frame| frame.len());
            let events = small + u64::from(large);
            let mut sent = first.min(total - 1);
            let mut unsent = Unsent::default();
            let at_once = unsent.keep_rest(&bytes, frame.as_ref(), sent, events);
            for step in steps {
                let step = step.min(unsent.rest().len());
                unsent.advance(step);
                sent += step;
            }
            let mut wire = bytes.clone();
            wire.extend(frame.iter().flat_map(|frame| frame.iter()));
            let (delivered, undelivered) = unsent.tally();
            let whole = Encoding::WebSocket.whole_events(&wire, sent).0;
            prop_assert_eq!(at_once + delivered, whole);
            prop_assert_eq!(at_once + delivered + undelivered, events);
            prop_assert_eq!(unsent.len(), total - sent);
        }
    }
}
