//! Publishing: batches are numbered by Redis, those of one topic that wait at the same time as one entry.

use std::time::Duration;

use ::redis::{Cmd, Value};
use parking_lot::Mutex;

use super::joined::{Joined, join};
use super::receipts::{BatchError, Receipt, Remembered};
use super::runs::Runs;
use crate::broker::engine::redis::{
    connection::group_commit::GroupCommit,
    connection::lane::{self, Lane},
    keys::Keys,
    metrics::EngineMetrics,
    scripts,
    topics::records::Record,
};
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{Batch, Entry, Keyed, Place, Token};
use crate::broker::topic::{Applied, Source};
use crate::protocol::{EpochName, TopicName, as_micros};
use crate::sync::{Arc, HashMap};

/// Topics of which the record is remembered.
const MAX_KNOWN: usize = 10_000;

pub(crate) struct Publishes {
    group: GroupCommit<Vec<Batch>, Vec<Result<Receipt, BatchError>>>,
    pub(crate) lane: Lane,
    keys: Keys,
    topics: Arc<LocalTopics>,
    metrics: Arc<EngineMetrics>,
    /// The records of topics after what this node published last.
    known: Mutex<HashMap<TopicName, Known>>,
    runs: Arc<Runs>,
    idempotency_window: Duration,
}

/// The record of a topic, and the run of Redis in which it was so.
#[derive(Debug, Clone)]
struct Known {
    record: Record,
    run: Arc<str>,
}

/// What this node knows of a topic before it publishes to it.
struct KnownTopic {
    /// The newest place, and the run of Redis in which the topic was there. Redis must not be behind it.
    fence: Option<(Place, Arc<str>)>,
    /// The record, if this node is the last that is known to have published to the topic.
    record: Option<Record>,
}

/// What a batch finds if nobody else publishes to the topic, and leaves.
struct Expected {
    record: Record,
    after: Record,
}

impl Publishes {
    pub(crate) fn new(
        lane: Lane,
        keys: Keys,
        topics: &Arc<LocalTopics>,
        metrics: &Arc<EngineMetrics>,
        runs: &Arc<Runs>,
        idempotency_window: Duration,
    ) -> Publishes {
        Publishes {
            group: GroupCommit::new(),
            lane,
            keys,
            topics: Arc::clone(topics),
            metrics: Arc::clone(metrics),
            known: Mutex::new(HashMap::default()),
            runs: Arc::clone(runs),
            idempotency_window,
        }
    }

    /// Publishes batches, with those of other threads. Returns a result for each.
    pub(crate) fn publish(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
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

    /// Publishes all batches with one exchange of messages, or with more if Redis remembers some of their messages.
    fn carry_out(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, BatchError>> {
        let mut results = vec![Err(BatchError::Unavailable); batches.len()];
        let mut joined = join(batches);
        while !joined.is_empty() {
            joined = self.exchange(joined, &mut results);
        }
        results
    }

    /// Publishes all that Redis remembers nothing of. Returns the others without what it remembers.
    fn exchange(
        &self,
        joined: Vec<Joined>,
        results: &mut [Result<Receipt, BatchError>],
    ) -> Vec<Joined> {
        let mut again = Vec::new();
        let run = self.runs.current();
        let known = self.known_topics(&joined, &run);
        let expected = expected(&joined, &known);
        let commands = joined.iter().zip(&expected).map(|(joined, expected)| {
            let fence = known[joined.batch.topic()].fence.as_ref();
            self.command(joined, expected.as_ref(), fence, &run)
        });
        let Ok(answers) = self.lane.call_each(&commands.collect::<Vec<_>>()) else {
            for joined in &joined {
                joined.share(&Err(BatchError::Unanswered), results);
            }
            return again;
        };
        for ((mut joined, expected), answer) in joined.into_iter().zip(expected).zip(&answers) {
            let result = match Remembered::of(answer) {
                None => self.numbered(&joined, expected, answer, &run),
                Some(Remembered { epoch, numbers }) => {
                    let len = joined.batch.len();
                    joined.take_out(&numbers);
                    match joined.batch.len() {
                        0 => Ok(Receipt::of_nothing(epoch)),
                        left if left < len => {
                            again.push(joined);
                            continue;
                        }
                        _ => Err(BatchError::Unavailable),
                    }
                }
            };
            if result.is_ok() {
                self.topics.metrics().duplicates(joined.duplicates());
            }
            joined.share(&result, results);
        }
        again
    }

    /// What this node knows of the topics of these batches.
    fn known_topics<'a>(
        &self,
        joined: &'a [Joined],
        run: &Arc<str>,
    ) -> HashMap<&'a TopicName, KnownTopic> {
        let mut topics: HashMap<&TopicName, KnownTopic> = HashMap::default();
        for Joined { batch, .. } in joined {
            let topic = batch.topic();
            topics
                .entry(topic)
                .or_insert_with(|| self.known_topic(topic, run));
        }
        topics
    }

    fn known_topic(&self, topic: &TopicName, run: &Arc<str>) -> KnownTopic {
        let mirror = self.topics.get(topic.as_str());
        let here = mirror.and_then(|mirror| mirror.place());
        let known = self.known.lock().get(topic).cloned();
        // That of a mirror was compared with what the current run has.
        let fence = match (&here, &known) {
            (Some(here), _) => Some((here.clone(), Arc::clone(run))),
            (None, Some(known)) => Some((known.record.place.clone(), Arc::clone(&known.run))),
            (None, None) => None,
        };
        let is_newest = |known: &Known| {
            let there = &known.record.place;
            here.as_ref()
                .is_none_or(|here| here.epoch == there.epoch && here.seq <= there.seq)
        };
        let known = known.filter(|known| known.run == *run && is_newest(known));
        let record = known.map(|known| known.record);
        KnownTopic {
            fence,
            record: record.filter(|record| record.is_of_run(run)),
        }
    }

    fn command(
        &self,
        joined: &Joined,
        expected: Option<&Expected>,
        fence: Option<&(Place, Arc<str>)>,
        run: &Arc<str>,
    ) -> Cmd {
        let Joined { batch, token, .. } = joined;
        let (keys, topic) = (&self.keys, batch.topic());
        let mut names = vec![keys.topic(topic), keys.events(topic), keys.marks(topic)];
        if !batch.keyed().is_empty() {
            names.extend([keys.remembered(topic), keys.remembered_order(topic)]);
        }
        let mut command = scripts::call(&scripts::PUBLISH, &names);
        command.arg(keys.channel(topic));
        match expected {
            Some(Expected { record, after }) => command
                .arg(record.to_string())
                .arg(after.to_string())
                .arg(format!("{}-{}", after.place.seq, batch.len()))
                .arg(after.oldest_kept())
                .arg(record.next_entry(batch, *token).to_bytes()),
            None => command
                .arg("")
                .arg("")
                .arg("")
                .arg("")
                .arg([b"\n", batch.bytes()].concat()),
        };
        let known = match fence {
            Some((Place { epoch, seq, token }, run)) => format!("{epoch} {seq} {token} {run}"),
            None => "- 0 - -".to_owned(),
        };
        command.arg(format!(
            "{known} {run} {} {token} {} {}",
            EpochName::random(),
            batch.len(),
            batch.newest_micros()
        ));
        if !batch.keyed().is_empty() {
            let window = as_micros(self.idempotency_window).div_ceil(1000);
            command.arg(window);
        }
        for Keyed { event, id, micros } in batch.keyed() {
            command.arg(id.as_bytes()).arg(format!("{event} {micros}"));
        }
        command
    }

    /// Reads the answer of the script, and appends the entry to the mirror on this node.
    fn numbered(
        &self,
        joined: &Joined,
        expected: Option<Expected>,
        answer: &Value,
        run: &Arc<str>,
    ) -> Result<Receipt, BatchError> {
        let Joined { batch, token, .. } = joined;
        let (entry, after) = match (answer, expected) {
            (Value::Int(1), Some(Expected { record, after })) => {
                (record.next_entry(batch, *token), Some(after))
            }
            (answer, _) => read_answer(answer, batch, *token)?,
        };
        self.remember(batch.topic(), after, run);
        self.metrics.published(entry.count);
        self.topics.metrics().published(entry.count);
        let mirror = self.topics.get(batch.topic().as_str());
        // What is not the next entry of the mirror, or has no room, comes through the topic's channel, too.
        let applied = mirror
            .as_ref()
            .map(|mirror| mirror.append_entry(&entry, Source::Live));
        Ok(Receipt {
            is_late: applied == Some(Applied::MustRead),
            epoch: entry.epoch,
            first: entry.first,
            earliest: entry.earliest,
            mirror,
            numbers: Vec::new(),
        })
    }

    fn remember(&self, topic: &TopicName, record: Option<Record>, run: &Arc<str>) {
        let mut known = self.known.lock();
        let Some(record) = record else {
            known.remove(topic);
            return;
        };
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let run = Arc::clone(run);
        known.insert(topic.clone(), Known { record, run });
    }
}

/// What each batch finds, as far as that is known.
fn expected(joined: &[Joined], known: &HashMap<&TopicName, KnownTopic>) -> Vec<Option<Expected>> {
    let records = known
        .iter()
        .map(|(name, topic)| (*name, topic.record.clone()));
    let mut newest: HashMap<&TopicName, Option<Record>> = records.collect();
    let expect = |Joined { batch, token, .. }: &Joined| {
        let record = newest.get_mut(batch.topic())?;
        let after = record.as_ref()?.after(batch, *token);
        let record = std::mem::replace(record, after.clone())?;
        Some(Expected {
            record,
            after: after?,
        })
    };
    joined.iter().map(expect).collect()
}

/// The entry that a batch has become where the topic was not as expected, and the record after it.
fn read_answer<'a>(
    answer: &Value,
    batch: &'a Batch,
    token: Token,
) -> Result<(Entry<'a>, Option<Record>), BatchError> {
    let words = lane::texts(answer);
    match &words[..] {
        [missing] if missing == "missing" => Err(BatchError::NotFound),
        [ok, epoch, first, earliest, previous, record] if ok == "ok" => {
            let entry = || {
                Some(Entry {
                    epoch: EpochName::parse(epoch)?,
                    first: first.parse().ok()?,
                    count: batch.len(),
                    token,
                    previous: Token::parse(previous)?,
                    earliest: earliest.parse().ok()?,
                    events: batch.bytes(),
                })
            };
            let entry = entry().ok_or(BatchError::Unavailable)?;
            Ok((entry, Record::parse(record)))
        }
        _ => Err(BatchError::Unavailable),
    }
}
