//! Figures are the same however they were found: from the whole stream, from what was known before, and from a mirror.

use std::sync::Arc as StdArc;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::broker::ReadBatch;
use crate::broker::engine::redis::topics::history::log_of;
use crate::broker::epoch::Epochs;
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{Batch, Token, TopicMessage, parse};
use crate::broker::topic::{Content, Lifetimes, Source, TopicSettings};
use crate::config::OverflowPolicy;
use crate::protocol::{EpochName, Message};

/// A topic as Redis has it.
#[derive(Clone)]
struct Stored {
    record: Record,
    newest: u64,
    stream: VecDeque<Vec<u8>>,
}

/// What happens to it.
#[derive(Debug, Clone)]
enum Step {
    /// A batch of events with payloads of these lengths, this much later.
    Publish(Vec<usize>, u64),
    /// Redis lost events, and begins anew.
    NewEpoch,
    /// Redis fails over to a replica that lacks so many of the newest entries.
    Lose(usize),
    /// The mirror on the node is made smaller by the memory budget.
    Evict,
    /// The mirror reads what it does not have.
    CatchUp,
    /// Somebody asks for the figures.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![20 => 0..200_usize, 1 => 30_000..70_000_usize];
    let publish = (prop::collection::vec(len, 1..12), 0..400_000_000_u64)
        .prop_map(|(lens, later)| Step::Publish(lens, later));
    prop_oneof![
        12 => publish,
        1 => Just(Step::NewEpoch),
        1 => (0..3_usize).prop_map(Step::Lose),
        1 => Just(Step::Evict),
        8 => Just(Step::CatchUp),
        8 => Just(Step::Look),
    ]
}

fn bounds() -> impl Strategy<Value = LogBounds> {
    let bytes = prop_oneof![100..3_000_usize, 50_000..200_000_usize];
    (0..30_usize, 1..30_usize, bytes).prop_map(|(history_size, max_queue_size, bytes)| LogBounds {
        history_size,
        max_queue_size,
        bytes,
    })
}

fn name() -> TopicName {
    TopicName::new("orders").unwrap()
}

impl Stored {
    fn new(bounds: LogBounds) -> Stored {
        let mut record = Record::new(TopicSettings {
            bounds,
            overflow: OverflowPolicy::DropOldest,
            block_timeout: std::time::Duration::ZERO,
            idempotency_window: std::time::Duration::ZERO,
            lifetimes: Lifetimes::default(),
        });
        record.place = begin();
        Stored {
            record,
            newest: 0,
            stream: VecDeque::new(),
        }
    }

    /// As `publish.lua` does.
    fn publish(&mut self, lens: &[usize], later: u64) {
        let mut batch = Batch::new(name());
        for (at, len) in lens.iter().enumerate() {
            let payload: Box<RawValue> =
                serde_json::from_str(&format!("\"{}\"", "x".repeat(*len))).unwrap();
            let id = "550e8400-e29b-41d4-a716-446655440000";
            let message = Message::new(id, &payload).unwrap();
            let micros = self.newest + later * at as u64;
            batch.push(&message, Timestamp::from_micros(micros));
        }
        let Place { epoch, seq, token } = self.record.place;
        let next = Token::random();
        let header = format!(
            "e {epoch} {} {} {next} {token} {}\n",
            seq + 1,
            batch.len(),
            self.newest
        );
        let entry = [header.as_bytes(), batch.bytes()].concat();
        self.stream.push_back(entry);
        self.newest = self.newest.max(batch.newest_micros());
        self.record.place = Place {
            epoch,
            seq: seq + batch.len(),
            token: next,
        };
        self.trim_to_bounds();
    }

    fn trim_to_bounds(&mut self) {
        let bounds = self.record.settings.bounds;
        let keep = bounds.history_size.max(bounds.max_queue_size) as u64;
        while self.stream.len() > 1 {
            let rest = self.entries().split_off(1);
            let events: u64 = rest.iter().map(|entry| entry.count).sum();
            let bytes: usize = rest.iter().map(|entry| entry.events.len()).sum();
            if events < keep && bytes < bounds.bytes {
                break;
            }
            self.stream.pop_front();
        }
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        self.entries_from(0)
    }

    fn entries_from(&self, seq: u64) -> Vec<Entry<'_>> {
        let parsed = self.stream.iter().map(|bytes| match parse(bytes) {
            Some(TopicMessage::Entry(entry)) => entry,
            other => panic!("{other:?}"),
        });
        parsed.filter(|entry| entry.last() >= seq).collect()
    }

    /// The figures as the whole stream has them.
    fn expected(&self) -> TopicStats {
        let log = log_of(&name(), &self.record, &self.entries());
        let epochs = Epochs::new(self.record.place.epoch);
        TopicStats::of(&log, epochs.current(), &self.record.settings)
    }
}

fn begin() -> Place {
    Place {
        epoch: EpochName::random(),
        seq: 0,
        token: Token::NONE,
    }
}

/// What a node knows of the topic, and its mirror.
struct Observer {
    known: Option<EventSizes>,
    mirror: crate::sync::Arc<crate::broker::Topic>,
}

impl Observer {
    fn new(stored: &Stored) -> Observer {
        let topics = LocalTopics::new(1 << 30, StdArc::default());
        let settings = stored.record.settings;
        let (departures, _) = crossbeam_channel::unbounded();
        let content = Content::mirror(&settings, stored.record.place.clone(), departures);
        let mirror = topics.add(name(), settings, content, 1, |_| ()).unwrap();
        Observer {
            known: None,
            mirror,
        }
    }

    fn catch_up(&self, stored: &Stored) {
        let (here, there) = (self.mirror.place().unwrap(), &stored.record.place);
        if here.epoch != there.epoch {
            let begun = Place {
                seq: 0,
                token: Token::NONE,
                ..there.clone()
            };
            self.mirror.begin_epoch(here.epoch, &begun);
        }
        let seq = self.mirror.place().unwrap().seq;
        for entry in stored.entries_from(seq + 1) {
            self.mirror.append_entry(&entry, Source::Stream);
            self.mirror.fan_out(&mut ReadBatch::default());
        }
        self.mirror.skip_to(there);
    }

    /// The figures, of what was known and the events after it if they continue it.
    fn figures(&mut self, stored: &Stored) -> TopicStats {
        let record = &stored.record;
        let known = self.known.take();
        let continued = known
            .filter(|known| known.is_of(record) || known.is_before(record))
            .and_then(|mut known| {
                let more = stored.entries_from(known.place().seq + 1);
                let continues = known.continue_with(&name(), record, &more);
                continues.then_some(known)
            });
        let sizes = continued.unwrap_or_else(|| EventSizes::of(&name(), record, &stored.entries()));
        let figures = sizes.figures(record);
        self.known = Some(sizes);
        figures
    }
}

proptest! {
    #[test]
    fn figures_are_those_of_the_whole_stream(
        bounds in bounds(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut stored = Stored::new(bounds);
        let mut observer = Observer::new(&stored);
        let mut earlier = Vec::new();
        for step in steps.iter().chain([&Step::Look]) {
            match step {
                Step::Publish(lens, later) => {
                    earlier.push(stored.clone());
                    stored.publish(lens, *later);
                }
                Step::NewEpoch => {
                    earlier.clear();
                    stored.stream.clear();
                    stored.record.place = begin();
                }
                Step::Lose(entries) => {
                    let left = earlier.len().saturating_sub(*entries);
                    stored = earlier.drain(left..).next().unwrap_or(stored);
                }
                Step::Evict => {
                    observer.mirror.evict(0, 500);
                }
                Step::CatchUp => observer.catch_up(&stored),
                Step::Look => {
                    let expected = stored.expected();
                    prop_assert_eq!(observer.figures(&stored), expected.clone());
                    if let Some(stats) = observer
                        .mirror
                        .stats_at(&stored.record.place, &stored.record.settings) {
                        prop_assert_eq!(stats, expected);
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_before_a_hole_or_a_broken_entry_is_no_history() {
    let bounds = LogBounds {
        history_size: 100,
        max_queue_size: 100,
        bytes: 100_000,
    };
    let mut stored = Stored::new(bounds);
    for _ in 0..4 {
        stored.publish(&[5, 6, 7], 1);
    }
    let compare = |stored: &Stored, count: usize| {
        let figures =
            EventSizes::of(&name(), &stored.record, &stored.entries()).figures(&stored.record);
        assert_eq!(figures, stored.expected());
        assert_eq!((figures.history_count, figures.seq), (count, 12));
    };
    compare(&stored, 12);
    let mut broken = stored.clone();
    broken.stream[1].truncate(150);
    compare(&broken, 6);
    broken.stream[3].truncate(150);
    compare(&broken, 0);
    let mut holed = stored.clone();
    holed.stream.remove(2);
    compare(&holed, 3);
    holed.stream.pop_back();
    compare(&holed, 0);
}
