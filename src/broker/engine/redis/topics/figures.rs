//! The figures of topics: of a mirror where it is up to date, otherwise from Redis. Sizes and times of the events that were
//! read are kept, so that a topic costs only the events that it got since.

use parking_lot::Mutex;

use super::event_sizes::EventSizes;
use super::reading::{self, Part, Reading};
use super::records::{self, Record};
use crate::broker::engine::Unavailable;
use crate::broker::engine::redis::shard::Shard;
use crate::broker::topic::TopicStats;
use crate::protocol::TopicName;
use crate::sync::HashMap;

/// Memory for the sizes and times of events, all topics together. So it also bounds their number, at 131,072.
const MAX_BYTES: usize = 32 << 20;
/// What a topic takes of it besides its events.
const TOPIC_BYTES: usize = 256;
/// Topics whose records are read in one exchange.
const TOPICS_AT_ONCE: usize = 500;
/// Topics whose events are read in one exchange.
const READ_AT_ONCE: usize = 50;
/// An exchange reads no further topic when it has these bytes of events.
const READ_BYTES: usize = 4 << 20;

#[derive(Default)]
pub(crate) struct Figures {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    topics: HashMap<TopicName, EventSizes>,
    bytes: usize,
}

/// A topic that has events that are not known here.
struct Unread<'a> {
    topic: &'a TopicName,
    subscribers: usize,
    /// About the bytes of its events.
    bytes: usize,
    known: Option<EventSizes>,
}

impl Figures {
    /// The figures of those topics that there are.
    pub(crate) fn read(
        &self,
        shard: &Shard,
        topics: &[TopicName],
    ) -> Result<Vec<(TopicName, TopicStats)>, Unavailable> {
        let mut figures = Vec::with_capacity(topics.len());
        for some in topics.chunks(TOPICS_AT_ONCE) {
            let mut unread = Vec::new();
            for (topic, found) in some.iter().zip(records::read(shard, some)?) {
                let Some((record, subscribers)) = found else {
                    self.known.lock().forget(topic);
                    continue;
                };
                match self.known_figures(shard, topic, &record) {
                    Ok(stats) => figures.push(completed(shard, topic, subscribers, stats)),
                    Err(known) => unread.push(Unread {
                        topic,
                        subscribers,
                        bytes: record.stream_bytes(),
                        known,
                    }),
                }
            }
            while !unread.is_empty() {
                let rest = unread.split_off(exchange_len(&unread));
                self.read_events(shard, std::mem::replace(&mut unread, rest), &mut figures)?;
            }
        }
        Ok(figures)
    }

    /// Forgets all topics but these, which are in the order of names.
    pub(crate) fn retain(&self, topics: &[(TopicName, TopicStats)]) {
        let is_there = |topic: &TopicName| topics.binary_search_by(|(name, _)| name.cmp(topic));
        let mut known = self.known.lock();
        let Known { topics, bytes } = &mut *known;
        topics.retain(|topic, sizes| {
            let stays = is_there(topic).is_ok();
            *bytes -= if stays { 0 } else { cost(sizes) };
            stays
        });
    }

    /// The figures of a topic of which everything is known; otherwise what is known, if more can continue it.
    fn known_figures(
        &self,
        shard: &Shard,
        topic: &TopicName,
        record: &Record,
    ) -> Result<TopicStats, Option<EventSizes>> {
        let mirror = shard.topics.get(topic.as_str());
        if let Some(stats) =
            mirror.and_then(|mirror| mirror.stats_at(&record.place, &record.settings))
        {
            return Ok(stats);
        }
        let known = self.known.lock();
        match known.topics.get(topic) {
            Some(sizes) if sizes.is_of(record) => Ok(sizes.figures(record)),
            sizes => Err(sizes.filter(|sizes| sizes.is_before(record)).cloned()),
        }
    }

    /// Reads the events of topics in one exchange.
    fn read_events(
        &self,
        shard: &Shard,
        unread: Vec<Unread<'_>>,
        figures: &mut Vec<(TopicName, TopicStats)>,
    ) -> Result<(), Unavailable> {
        let parts: Vec<Part> = unread.iter().map(Unread::part).collect();
        let commands: Vec<_> = unread
            .iter()
            .zip(&parts)
            .flat_map(|(unread, part)| reading::commands(shard, unread.topic, *part))
            .collect();
        let answers = shard.call(&commands)?;
        let answers = answers.chunks_exact(reading::COMMANDS);
        for ((unread, part), answers) in unread.into_iter().zip(parts).zip(answers) {
            let (topic, subscribers) = (unread.topic, unread.subscribers);
            let reading = reading::parse(answers, part)?;
            match self.figures_of(shard, unread, reading)? {
                Some(stats) => figures.push(completed(shard, topic, subscribers, stats)),
                None => self.known.lock().forget(topic),
            }
        }
        Ok(())
    }

    /// The figures of a topic that was read, which are known from now on; `None` if there is no such topic.
    fn figures_of(
        &self,
        shard: &Shard,
        unread: Unread<'_>,
        reading: Option<Reading>,
    ) -> Result<Option<TopicStats>, Unavailable> {
        let Some(reading) = reading else {
            return Ok(None);
        };
        let (topic, entries) = (unread.topic, reading.entries());
        let sizes = match unread.known {
            None => EventSizes::of(topic, &reading.record, &entries),
            Some(mut sizes) => {
                if !sizes.continue_with(topic, &reading.record, &entries) {
                    let whole = reading::read(shard, topic, Part::WHOLE)?;
                    let known = None;
                    return self.figures_of(shard, Unread { known, ..unread }, whole);
                }
                sizes
            }
        };
        let stats = sizes.figures(&reading.record);
        self.known.lock().remember(topic, sizes);
        Ok(Some(stats))
    }
}

impl Unread<'_> {
    fn part(&self) -> Part {
        match &self.known {
            Some(known) => Part::From(known.place().seq + 1),
            None => Part::WHOLE,
        }
    }
}

impl Known {
    /// Remembers a topic. For lack of room others are forgotten, no matter which.
    fn remember(&mut self, topic: &TopicName, sizes: EventSizes) {
        self.forget(topic);
        self.bytes += cost(&sizes);
        while self.bytes > MAX_BYTES {
            let Some(other) = self.topics.keys().next().cloned() else {
                break;
            };
            self.forget(&other);
        }
        self.topics.insert(topic.clone(), sizes);
    }

    fn forget(&mut self, topic: &TopicName) {
        if let Some(sizes) = self.topics.remove(topic) {
            self.bytes -= cost(&sizes);
        }
    }
}

fn cost(sizes: &EventSizes) -> usize {
    TOPIC_BYTES + sizes.held_bytes()
}

/// How many of the topics are read in one exchange; at least one.
fn exchange_len(unread: &[Unread<'_>]) -> usize {
    let mut bytes = 0;
    let fits = unread.iter().take(READ_AT_ONCE).take_while(|unread| {
        let has_room = bytes < READ_BYTES;
        bytes += unread.bytes;
        has_room
    });
    fits.count()
}

/// Adds what is known besides the events.
fn completed(
    shard: &Shard,
    topic: &TopicName,
    subscribers: usize,
    stats: TopicStats,
) -> (TopicName, TopicStats) {
    let mirror = shard.topics.get(topic.as_str());
    let dropped = mirror.map_or(0, |mirror| mirror.dropped());
    let stats = TopicStats {
        subscribers,
        dropped,
        ..stats
    };
    (topic.clone(), stats)
}
