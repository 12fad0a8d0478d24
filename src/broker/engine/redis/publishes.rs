//! Publishing: batches are numbered by Redis, those of one topic that wait at the same time as one entry.

use ::redis::{Cmd, Value};
use parking_lot::Mutex;

use super::group_commit::GroupCommit;
use super::keys::Keys;
use super::lane::{self, Lane};
use super::metrics::EngineMetrics;
use super::runs::Runs;
use super::scripts;
use crate::broker::Topic;
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{Batch, Entry, Place, Token};
use crate::broker::topic::{Applied, Source};
use crate::protocol::{EpochName, TopicName};
use crate::sync::{Arc, HashMap};

/// An entry takes no further batch above this.
const MAX_ENTRY_EVENTS: u64 = 1024;
const MAX_ENTRY_BYTES: usize = 256 << 10;
/// Topics without a mirror of which the last place is remembered.
const MAX_KNOWN: usize = 10_000;

/// The numbers of a batch.
#[derive(Clone)]
pub(crate) struct Receipt {
    pub(crate) epoch: EpochName,
    pub(crate) first: u64,
    /// No event is earlier than this, in microseconds since 1970.
    pub(crate) earliest: u64,
    /// The mirror on this node, which must be fanned out.
    pub(crate) mirror: Option<Arc<Topic>>,
    /// The mirror must read the stream first.
    pub(super) is_late: bool,
}

/// Why a batch was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchError {
    NotFound,
    /// It may have been taken or not.
    Unavailable,
}

pub(super) struct Publishes {
    group: GroupCommit<Vec<Batch>, Vec<Result<Receipt, BatchError>>>,
    pub(super) lane: Lane,
    keys: Keys,
    topics: Arc<LocalTopics>,
    metrics: Arc<EngineMetrics>,
    /// The last place of topics to which this node publishes.
    known: Mutex<HashMap<TopicName, Known>>,
    runs: Arc<Runs>,
}

/// A place in a topic, and the run of Redis in which it was reached.
#[derive(Debug, Clone)]
struct Known {
    place: Place,
    run: Arc<str>,
}

/// Batches that become one entry.
struct Joined {
    batch: Batch,
    token: Token,
    /// The place of each batch among all, and the events and the newest time before it.
    parts: Vec<(usize, u64, u64)>,
}

impl Publishes {
    pub(super) fn new(
        lane: Lane,
        keys: Keys,
        topics: &Arc<LocalTopics>,
        metrics: &Arc<EngineMetrics>,
        runs: &Arc<Runs>,
    ) -> Publishes {
        Publishes {
            group: GroupCommit::new(),
            lane,
            keys,
            topics: Arc::clone(topics),
            metrics: Arc::clone(metrics),
            known: Mutex::new(HashMap::default()),
            runs: Arc::clone(runs),
        }
    }

    /// Publishes batches, with those of other threads. Returns a result for each.
    pub(super) fn publish(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        let count = batches.len();
        let published = self.group.run(batches, |groups| {
            let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
            let mut results = self
                .carry_out(groups.into_iter().flatten().collect())
                .into_iter();
            counts
                .iter()
                .map(|count| results.by_ref().take(*count).collect())
                .collect()
        });
        published.unwrap_or_else(|| vec![Err(BatchError::Unavailable); count])
    }

    /// Publishes all batches with one exchange of messages.
    fn carry_out(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        let mut results = vec![Err(BatchError::Unavailable); batches.len()];
        let joined = join(batches);
        let commands: Vec<_> = joined.iter().map(|joined| self.command(joined)).collect();
        let Ok(answers) = self.lane.call(&commands) else {
            return results;
        };
        for (joined, answer) in joined.iter().zip(&answers) {
            let result = self.numbered(joined, answer);
            for (at, events, newest) in &joined.parts {
                results[*at] = result.clone().map(|receipt| Receipt {
                    first: receipt.first + events,
                    earliest: receipt.earliest.max(*newest),
                    ..receipt
                });
            }
        }
        results
    }

    fn command(&self, joined: &Joined) -> Cmd {
        let Joined { batch, token, .. } = joined;
        let (keys, topic) = (&self.keys, batch.topic());
        let run = self.runs.current();
        let known = self.known_place(topic, &run);
        let mut command = scripts::call(
            &scripts::PUBLISH,
            &[keys.topic(topic), keys.events(topic), keys.sizes(topic)],
        );
        command.arg(keys.channel(topic));
        match known {
            Some(Known { place, run }) => command
                .arg(place.epoch.as_str())
                .arg(place.seq)
                .arg(place.token.to_string())
                .arg(&*run),
            None => command.arg("").arg(0).arg("").arg(""),
        };
        command
            .arg(&*run)
            .arg(EpochName::random().as_str())
            .arg(token.to_string())
            .arg(batch.len())
            .arg(batch.newest_micros())
            .arg(batch.bytes());
        command
    }

    /// The newest place of a topic that this node knows. Redis must not be behind it. That of a mirror was compared with what
    /// the current run has.
    fn known_place(&self, topic: &TopicName, run: &Arc<str>) -> Option<Known> {
        let mirror = self.topics.get(topic.as_str());
        let place = mirror.and_then(|mirror| mirror.place());
        let run = Arc::clone(run);
        place
            .map(|place| Known { place, run })
            .or_else(|| self.known.lock().get(topic).cloned())
    }

    /// Reads the answer of the script, and appends the entry to the mirror on this node.
    fn numbered(&self, joined: &Joined, answer: &Value) -> Result<Receipt, BatchError> {
        let Joined { batch, token, .. } = joined;
        let words = lane::texts(answer);
        if words.first().is_some_and(|word| word == "missing") {
            return Err(BatchError::NotFound);
        }
        let entry = read_entry(&words, batch, *token).ok_or(BatchError::Unavailable)?;
        self.metrics.published(entry.count);
        self.topics.metrics().published(entry.count);
        let mirror = self.topics.get(batch.topic().as_str());
        // What is not the next entry of the mirror, or has no room, comes through the topic's channel, too.
        let applied = mirror
            .as_ref()
            .map(|mirror| mirror.append_entry(&entry, Source::Live));
        if mirror.is_none() {
            self.remember(batch.topic(), &entry);
        }
        Ok(Receipt {
            is_late: applied == Some(Applied::MustRead),
            epoch: entry.epoch,
            first: entry.first,
            earliest: entry.earliest,
            mirror,
        })
    }

    fn remember(&self, topic: &TopicName, entry: &Entry<'_>) {
        let place = Place {
            epoch: entry.epoch,
            seq: entry.last(),
            token: entry.token,
        };
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let run = self.runs.current();
        known.insert(topic.clone(), Known { place, run });
    }
}

/// Joins batches of one topic, in their order.
fn join(batches: Vec<Batch>) -> Vec<Joined> {
    let mut joined: Vec<Joined> = Vec::new();
    let mut open: HashMap<TopicName, usize> = HashMap::default();
    for (at, batch) in batches.into_iter().enumerate() {
        let into = open.get(batch.topic()).map(|at| &mut joined[*at]);
        match into.filter(|into| into.takes(&batch)) {
            Some(into) => {
                into.parts
                    .push((at, into.batch.len(), into.batch.newest_micros()));
                into.batch.append(&batch);
            }
            None => {
                open.insert(batch.topic().clone(), joined.len());
                joined.push(Joined {
                    batch,
                    token: Token::random(),
                    parts: vec![(at, 0, 0)],
                });
            }
        }
    }
    joined
}

impl Joined {
    fn takes(&self, batch: &Batch) -> bool {
        self.batch.len() + batch.len() <= MAX_ENTRY_EVENTS
            && self.batch.bytes().len() + batch.bytes().len() <= MAX_ENTRY_BYTES
    }
}

fn read_entry<'a>(words: &[String], batch: &'a Batch, token: Token) -> Option<Entry<'a>> {
    let [ok, epoch, first, earliest, previous] = words else {
        return None;
    };
    (ok == "ok").then_some(())?;
    Some(Entry {
        epoch: EpochName::parse(epoch)?,
        first: first.parse().ok()?,
        count: batch.len(),
        token,
        previous: Token::parse(previous)?,
        earliest: earliest.parse().ok()?,
        events: batch.bytes(),
    })
}
