//! How frames leave on a connection: as WebSocket frames, or as the events of an event stream.

use super::event_stream::{EventId, StreamEvent, TransferCoding, frame_json};
use super::{
    Ack, EpochName, ErrorReply, Gap, Notice, TopicName, event, push_ack, push_error, push_gap,
    push_notice, push_slow_consumer,
};

/// Chosen when a connection opens, applied when a chunk is read. Subscribers of one encoding share chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// WebSocket text frames (RFC 6455), which is how the log holds events.
    #[default]
    WebSocket,
    /// Server-Sent Events in the body of an HTTP response.
    EventStream(TransferCoding),
}

impl Encoding {
    /// How many encodings there are.
    pub(crate) const COUNT: usize = 3;

    /// A number below [`Encoding::COUNT`].
    pub(crate) fn index(self) -> usize {
        match self {
            Encoding::WebSocket => 0,
            Encoding::EventStream(TransferCoding::Chunked) => 1,
            Encoding::EventStream(TransferCoding::UntilClose) => 2,
        }
    }

    /// Appends events of a log, which are whole WebSocket frames with adjacent seqs. `first` is the id of the first of them;
    /// `None` if its epoch is not known any more.
    pub(crate) fn push_events(
        self,
        out: &mut Vec<u8>,
        frames: &[u8],
        first: impl FnOnce() -> Option<EventId>,
    ) {
        match self {
            Encoding::WebSocket => out.extend_from_slice(frames),
            Encoding::EventStream(coding) => {
                let mut id = first();
                for frame in event::split_frames(frames) {
                    event_of(frame_json(frame), id).push(coding, out);
                    id = id.map(EventId::next);
                }
            }
        }
    }

    /// How many bytes of events may be appended at a time to a chunk that has room for this many.
    pub(crate) fn run_limit(self, room_bytes: usize) -> usize {
        match self {
            Encoding::WebSocket => room_bytes,
            // An event with many line breaks becomes several times as long.
            Encoding::EventStream(_) => room_bytes / 4,
        }
    }

    /// The text of a large event, given as its WebSocket frame; `None` if the frame itself is sent.
    pub(crate) fn large_event(self, frame: &[u8], id: Option<EventId>) -> Option<Vec<u8>> {
        match self {
            Encoding::WebSocket => None,
            Encoding::EventStream(coding) => {
                let mut out = Vec::new();
                event_of(frame_json(frame), id).push(coding, &mut out);
                Some(out)
            }
        }
    }

    /// Appends a gap of the epoch that `epoch` returns.
    pub(crate) fn push_gap(
        self,
        out: &mut Vec<u8>,
        topic: &TopicName,
        gap: &Gap,
        epoch: impl FnOnce() -> Option<EpochName>,
    ) {
        self.push(
            out,
            |frame| push_gap(frame, topic, gap),
            || {
                let id = gap
                    .range
                    .zip(epoch())
                    .map(|((_, seq), epoch)| EventId { epoch, seq });
                StreamEvent {
                    id,
                    ..StreamEvent::named("gap")
                }
            },
        );
    }

    pub(crate) fn push_notice(self, out: &mut Vec<u8>, notice: Notice<'_>) {
        self.push(
            out,
            |frame| push_notice(frame, notice),
            || match notice {
                Notice::EpochChanged { epoch, seq, .. } => StreamEvent {
                    id: Some(EventId { epoch, seq }),
                    ..StreamEvent::named("gap")
                },
                Notice::TopicDeleted { .. } | Notice::SubscriptionReplaced { .. } => StreamEvent {
                    retry_millis: Some(RETRY_LATE_MILLIS),
                    ..StreamEvent::named("info")
                },
                Notice::Subscribed { .. }
                | Notice::ServerShutdown
                | Notice::Ping
                | Notice::TokenExpiring { .. } => StreamEvent::named("info"),
            },
        );
    }

    /// Appends the ack of a subscribe. `id` is its position, if no event is replayed.
    pub(crate) fn push_ack(self, out: &mut Vec<u8>, ack: &Ack<'_>, id: Option<EventId>) {
        self.push(
            out,
            |frame| push_ack(frame, ack),
            || StreamEvent {
                id,
                ..StreamEvent::named("ack")
            },
        );
    }

    pub(crate) fn push_error(self, out: &mut Vec<u8>, error: &ErrorReply) {
        let failure = || StreamEvent::named("failure");
        self.push(out, |frame| push_error(frame, None, error), failure);
    }

    /// See [`push_slow_consumer`].
    pub(crate) fn push_slow_consumer(self, out: &mut Vec<u8>, topic: &TopicName) {
        let failure = || StreamEvent::named("failure");
        self.push(out, |frame| push_slow_consumer(frame, topic), failure);
    }

    /// Appends a frame: as `write` appends it, or with its JSON text in the event that `event` returns.
    fn push<'a>(
        self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
        event: impl FnOnce() -> StreamEvent<'a>,
    ) {
        match self {
            Encoding::WebSocket => write(out),
            Encoding::EventStream(coding) => {
                let mut frame = Vec::new();
                write(&mut frame);
                let json = frame_json(&frame);
                StreamEvent { json, ..event() }.push(coding, out);
            }
        }
    }

    /// How many whole events the first `upto` bytes of these frames contain, and the offset of the frame that `upto` splits.
    pub(crate) fn whole_events(self, frames: &[u8], upto: usize) -> (u64, usize) {
        match self {
            Encoding::WebSocket => event::whole_events(frames, upto),
            Encoding::EventStream(coding) => coding.whole_events(frames, upto),
        }
    }
}

/// How long an `EventSource` is to wait before it opens a stream again that had to end.
const RETRY_LATE_MILLIS: u32 = 30_000;

fn event_of(json: &[u8], id: Option<EventId>) -> StreamEvent<'_> {
    StreamEvent {
        id,
        json,
        ..StreamEvent::named("event")
    }
}
