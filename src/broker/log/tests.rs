use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::protocol::{Message, Timestamp, TopicName};

/// Bytes of an event without padding.
const BARE: usize = 137;

struct Payloads {
    topic: TopicName,
    payload: Box<RawValue>,
}

impl Payloads {
    fn padded(pad: usize) -> Payloads {
        Payloads {
            topic: TopicName::new("t").unwrap(),
            payload: RawValue::from_string(format!("\"{}\"", "x".repeat(pad))).unwrap(),
        }
    }

    fn append(&self, log: &mut Log, evictable: u64) -> Vec<u8> {
        let message = Message::new("550e8400-e29b-41d4-a716-446655440000", &self.payload).unwrap();
        let event = NewEvent::new(&self.topic, &message, log.head() + 1, Timestamp::EARLIEST);
        log.append(&event, evictable);
        event.to_frame()
    }
}

fn append(log: &mut Log, pad: usize) -> Vec<u8> {
    Payloads::padded(pad).append(log, u64::MAX)
}

fn log(events: usize, bytes: usize) -> Log {
    Log::new(LogBounds {
        history_size: events,
        max_queue_size: 1,
        bytes,
    })
}

/// The memory of a log, summed up from its parts.
fn held_bytes(log: &Log) -> usize {
    let segments: usize = log.segments.iter().map(Segment::held_bytes).sum();
    let large: usize = log.large.iter().map(LargeEvent::held_bytes).sum();
    segments + large + log.spare.as_ref().map_or(0, |spare| spare.held_bytes())
}

#[test]
fn an_event_larger_than_the_byte_bound_is_retained_until_the_next_but_never_replayed() {
    let mut log = log(5, 10);
    append(&mut log, 0);
    assert_eq!((log.first_seq(), log.history_start()), (1, 2));
    append(&mut log, 0);
    assert_eq!(
        (log.first_seq(), log.history_start(), log.after(0).count()),
        (2, 3, 1)
    );
}

#[test]
fn a_small_log_uses_little_more_memory_than_its_events() {
    let mut log = log(4, 1 << 20);
    append(&mut log, 100);
    assert!(log.held_bytes() < log.bytes() + 256, "{}", log.held_bytes());
    for _ in 0..1000 {
        append(&mut log, 100);
        assert!(log.held_bytes() < 3 * log.bytes() + 512);
    }
}

#[test]
fn a_large_log_uses_little_more_memory_than_its_events_and_eviction_frees_all_of_it() {
    for pad in [0, 1000, 10_000, 40_000] {
        let mut log = log(1_000_000, 8 << 20);
        let payload = Payloads::padded(pad);
        while log.first_seq() < 2000 / (1 + pad as u64 / 1000) {
            payload.append(&mut log, u64::MAX);
            if log.bytes() > 1 << 20 {
                let most = log.bytes() + log.bytes() / 4;
                assert!(log.held_bytes() < most, "{} > {most}", log.held_bytes());
            }
        }
        while log.evict_oldest(u64::MAX) {}
        assert_eq!((log.bytes(), log.held_bytes()), (0, 0));
    }
}

#[test]
fn a_log_at_its_bounds_reuses_its_memory() {
    let mut log = log(1_000_000, 4 << 20);
    let payload = Payloads::padded(1000);
    while log.first_seq() < 1000 {
        payload.append(&mut log, u64::MAX);
    }
    let held = log.held_bytes();
    for _ in 0..10_000 {
        payload.append(&mut log, u64::MAX);
        assert!(log.held_bytes() <= held + (1 << 20));
    }
}

/// Sizes around the limits of a frame header, of a segment and of a large event.
fn pad() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0usize..400,
        2 => (4096 - BARE - 9)..(4096 - BARE + 9),
        2 => (8192usize - BARE - 9)..(8192 - BARE + 9),
        1 => (16_384usize - BARE - 9)..(16_384 - BARE + 9),
        1 => (LARGE_FRAME_BYTES - BARE - 9)..(LARGE_FRAME_BYTES - BARE + 9),
        1 => 33_000usize..70_000,
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        pad: usize,
        times: usize,
    },
    /// Eviction to the memory budget.
    Evict {
        events: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (pad(), prop_oneof![4 => 1usize..4, 1 => 20usize..60])
            .prop_map(|(pad, times)| Step::Append { pad, times }),
        1 => (0u64..30).prop_map(|events| Step::Evict { events }),
    ]
}

/// A model of a log that keeps every frame.
struct Naive {
    frames: Vec<Vec<u8>>,
    /// How many of the oldest are evicted.
    evicted: usize,
}

impl Naive {
    fn bytes_after(&self, seq: u64) -> usize {
        let first = self.evicted.max(seq as usize);
        self.frames[first..].iter().map(Vec::len).sum()
    }

    /// The smallest position from `first` on that has at most this many bytes after it.
    fn fits(&self, first: usize, bytes: usize) -> u64 {
        let fits = |at: &usize| self.bytes_after(*at as u64) <= bytes;
        let found = (first..self.frames.len()).find(fits);
        found.unwrap_or(self.frames.len()) as u64
    }

    fn compare(&self, log: &Log, bounds: LogBounds) {
        let head = self.frames.len();
        assert_eq!(log.head(), head as u64);
        assert_eq!(log.first_seq(), self.evicted as u64 + 1);
        assert_eq!(log.bytes(), self.bytes_after(0));
        assert_eq!(log.held_bytes(), held_bytes(log));
        assert!(log.held_bytes() >= log.bytes());
        let within_count = self.evicted.max(head.saturating_sub(bounds.history_size));
        let start = self.fits(within_count, bounds.bytes) + 1;
        assert_eq!(log.history_start(), start);
        for incoming in [0, 200, 5000] {
            let horizon = match bounds.bytes.checked_sub(incoming) {
                Some(left) => self.fits(self.evicted, left),
                None => head as u64,
            };
            let expected = if horizon > self.evicted as u64 {
                horizon
            } else {
                0
            };
            assert_eq!(log.eviction_horizon(incoming), expected);
        }
    }

    fn compare_reading(&self, log: &Log, after: u64, limit_bytes: usize) {
        assert_eq!(log.bytes_after(after), self.bytes_after(after));
        let first = self.evicted.max(after as usize);
        let json: Vec<&str> = log.after(after).map(EventFrame::json).collect();
        let frames = self.frames[first..].iter();
        let expected: Vec<&str> = frames.map(|frame| EventFrame::new(frame).json()).collect();
        assert_eq!(json, expected);
        let (mut read, mut upto) = (first, log.head());
        while let Some(run) = log.run(read as u64, upto, limit_bytes) {
            match run {
                Run::Large(frame) => {
                    assert!(frame.len() >= LARGE_FRAME_BYTES);
                    assert_eq!(&**frame, self.frames[read]);
                    read += 1;
                }
                Run::Small { frames, events: 0 } => {
                    assert!(frames.is_empty() && self.frames[read].len() > limit_bytes);
                    read += 1;
                }
                Run::Small { frames, events } => {
                    assert!(frames.len() <= limit_bytes);
                    assert_eq!(frames, self.frames[read..read + events as usize].concat());
                    read += events as usize;
                }
            }
            assert!(read as u64 <= upto);
            upto = log.head().min(read as u64 + 3);
        }
        assert_eq!(read, self.frames.len());
    }
}

proptest! {
    /// Compares the log with a model that keeps everything and computes each answer from its definition.
    #[test]
    fn the_log_keeps_the_newest_events_within_its_bounds(
        history_size in prop_oneof![0usize..6, Just(1000)], max_queue_size in 1usize..6,
        bytes in prop_oneof![0usize..1200, 1200usize..400_000],
        not_evictable in prop_oneof![2 => Just(0u64), 1 => 1u64..8],
        steps in proptest::collection::vec(step(), 0..12), limit_bytes in 1usize..70_000,
    ) {
        let bounds = LogBounds { history_size, max_queue_size, bytes };
        let mut log = Log::new(bounds);
        let mut naive = Naive { frames: Vec::new(), evicted: 0 };
        for step in steps {
            match step {
                Step::Append { pad, times } => {
                    let payload = Payloads::padded(pad);
                    for _ in 0..times {
                        let evictable = match not_evictable {
                            0 => u64::MAX,
                            events => log.head().saturating_sub(events),
                        };
                        naive.frames.push(payload.append(&mut log, evictable));
                        let head = naive.frames.len();
                        let is_over = |naive: &Naive| {
                            let kept = head - naive.evicted;
                            kept > history_size.max(max_queue_size)
                                || (naive.bytes_after(0) > bytes && kept > 1)
                        };
                        while is_over(&naive) && (naive.evicted as u64) < evictable {
                            naive.evicted += 1;
                        }
                    }
                }
                Step::Evict { events } => {
                    let upto = (naive.evicted as u64 + events).min(log.head());
                    let held = log.held_bytes();
                    while log.evict_oldest(upto) {}
                    naive.evicted = upto as usize;
                    prop_assert!(log.held_bytes() <= held);
                }
            }
            naive.compare(&log, bounds);
        }
        for after in [0, log.first_seq() - 1, log.first_seq().midpoint(log.head()), log.head()] {
            naive.compare_reading(&log, after.min(log.head()), limit_bytes);
        }
    }
}
