//! A Redis of the models, and what a node does with it. The node's parts that speak to a Redis are written again here, as small
//! as they can be; what appends, judges, compares, joins and fans out is the shipped code.
//!
//! The link loses, doubles and reorders what Redis sends over the topic's channel.

use std::collections::VecDeque;

use crossbeam_channel::Sender as Departures;
use serde_json::value::RawValue;
use shuttle::rand::{Rng, thread_rng};

use crate::broker::engine::redis::{
    connection::group_commit::GroupCommit,
    mirroring::catch_up::{After, append},
};
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{
    Batch, Comparison, Entry, Place, Snapshot, Token, TopicMessage, parse,
};
use crate::broker::topic::{Applied, Content, Departure, Source};
use crate::broker::{Broker, ReadBatch, Topic};
use crate::protocol::{EpochName, Message, Timestamp, TopicName};
use crate::sync::channel::{Receiver, Sender, unbounded};
use crate::sync::{Arc, Lock, Mutex, mutex};

const EPOCH: &str = "00000000000000aa";
const MESSAGE_ID: &str = "550e8400-e29b-41d4-a716-446655440000";

/// The one topic that this Redis has: it numbers entries, keeps the newest, and sends each over the channel.
struct Stream {
    entries: VecDeque<Vec<u8>>,
    place: Place,
    /// The events up to this seq are not kept any more.
    trimmed: u64,
}

/// A node whose Redis is a model.
pub(crate) struct ModelNode {
    broker: Arc<Broker>,
    name: TopicName,
    /// Held for one command.
    stream: Mutex<Stream>,
    /// The most entries that the stream keeps.
    keep: usize,
    group: GroupCommit<u64, Option<Arc<Topic>>>,
    work: Sender<Work>,
    departures: Departures<Departure>,
}

/// What waits for the thread that applies messages.
pub(crate) enum Work {
    Message(Vec<u8>),
    Late(Arc<Topic>),
    Stop,
}

impl ModelNode {
    /// A node without a mirror, and what the thread that applies has to do.
    pub(crate) fn new(
        broker: &Arc<Broker>,
        name: &str,
        keep: usize,
    ) -> (Arc<ModelNode>, Receiver<Work>) {
        let (work, works) = unbounded();
        let epoch = EpochName::parse(EPOCH).expect("a name");
        let place = Place {
            epoch,
            seq: 0,
            token: Token::NONE,
        };
        let node = ModelNode {
            broker: Arc::clone(broker),
            name: TopicName::new(name).expect("a name"),
            stream: mutex(
                Lock::Model,
                Stream {
                    entries: VecDeque::new(),
                    place,
                    trimmed: 0,
                },
            ),
            keep,
            group: GroupCommit::new(),
            work,
            // Nobody asks who left.
            departures: crossbeam_channel::unbounded().0,
        };
        (Arc::new(node), works)
    }

    fn topics(&self) -> &LocalTopics {
        self.broker.held_topics()
    }

    pub(crate) fn mirror(&self) -> Option<Arc<Topic>> {
        self.topics().get(self.name.as_str())
    }

    /// The newest seq in Redis, and up to which seq it has trimmed its events.
    pub(crate) fn head(&self) -> (u64, u64) {
        let stream = self.stream.lock();
        (stream.place.seq, stream.trimmed)
    }

    /// What the script for a publish does. The entry is on its way to the link when this returns.
    pub(crate) fn number(&self, events: u64) -> Vec<u8> {
        let mut stream = self.stream.lock();
        let Place { epoch, seq, token } = stream.place.clone();
        let batch = batch(&self.name, seq, events);
        let next = Token(token.0 + 1);
        let header = format!("e {epoch} {} {events} {next} {token} 0\n", seq + 1);
        let message = [header.as_bytes(), batch.bytes()].concat();
        stream.place.seq += events;
        stream.place.token = next;
        stream.entries.push_back(message.clone());
        if stream.entries.len() > self.keep
            && let Some(oldest) = stream.entries.pop_front()
        {
            stream.trimmed = read_entry(&oldest).last();
        }
        let _ = self.work.send(Work::Message(message.clone()));
        message
    }

    /// Publishes a batch as a session does: with those of other threads; then the thread fans out.
    pub(crate) fn publish(&self, events: u64) {
        let published = self.group.run(events, |batches| {
            batches
                .into_iter()
                .map(|events| self.number_and_append(events))
                .collect()
        });
        if let Some(mirror) = published.flatten() {
            mirror.fan_out(&mut ReadBatch::default());
        }
    }

    fn number_and_append(&self, events: u64) -> Option<Arc<Topic>> {
        let message = self.number(events);
        let mirror = self.mirror()?;
        if mirror.append_entry(&read_entry(&message), Source::Live) == Applied::MustRead {
            let _ = self.work.send(Work::Late(Arc::clone(&mirror)));
        }
        Some(mirror)
    }

    /// Ends [`ModelNode::apply`] once it has done what waits.
    pub(crate) fn stop(&self) {
        let _ = self.work.send(Work::Stop);
    }

    /// Applies what comes over the link, of which any part may be lost, doubled or too late.
    pub(crate) fn apply(&self, works: &Receiver<Work>) {
        let mut late = None;
        while let Ok(work) = works.recv() {
            match work {
                Work::Stop => break,
                Work::Late(topic) => self.catch_up(&topic, After::Interruption),
                Work::Message(message) => match thread_rng().gen_range(0..5) {
                    0 => {}
                    1 => {
                        self.apply_one(&message);
                        self.apply_one(&message);
                    }
                    2 => late = Some(message),
                    _ => {
                        self.apply_one(&message);
                        late.take().iter().for_each(|late| self.apply_one(late));
                    }
                },
            }
        }
        late.iter().for_each(|late| self.apply_one(late));
    }

    fn apply_one(&self, message: &[u8]) {
        let Some(topic) = self.mirror() else {
            return;
        };
        if append(&topic, &read_entry(message), Source::Live) == Applied::MustRead {
            self.catch_up(&topic, After::Interruption);
        }
    }

    /// What every look at a silent topic does that has found more in Redis.
    pub(crate) fn look(&self) {
        if let Some(topic) = self.mirror() {
            self.catch_up(&topic, After::Interruption);
        }
    }

    fn catch_up(&self, topic: &Arc<Topic>, after: After) {
        while let Some(here) = topic.place() {
            let (place, entries) = self.read(here.seq);
            let entries: Vec<_> = entries.iter().map(|bytes| read_entry(bytes)).collect();
            let snapshot = Snapshot {
                place: place.clone(),
                entries: &entries,
            };
            // Nothing is lost here: a mirror that has more has appended more since it was looked at.
            let continues = matches!(here.compare(&snapshot), Comparison::Continues { .. });
            assert!(continues, "the mirror is no part of the stream");
            let source = match after {
                After::Interruption => Source::Replay,
                After::Subscribe => Source::Stream,
            };
            for entry in &entries {
                append(topic, entry, source);
            }
            if entries.last().is_none_or(|last| last.last() >= place.seq) {
                return;
            }
        }
    }

    /// The place, and the kept entries that end at this seq or later.
    fn read(&self, from: u64) -> (Place, Vec<Vec<u8>>) {
        let stream = self.stream.lock();
        let entries = stream.entries.iter();
        let entries = entries.filter(|bytes| read_entry(bytes).last() >= from);
        (stream.place.clone(), entries.cloned().collect())
    }

    /// Opens the mirror unless it is open, and brings it up to what Redis has now, as a subscribe does.
    pub(crate) fn open_mirror(&self) {
        let mirror = self.mirror().or_else(|| self.read_mirror());
        let there = self.read(0).0;
        if let Some(mirror) = mirror
            && mirror.place().is_some_and(|here| here.seq < there.seq)
        {
            self.catch_up(&mirror, After::Subscribe);
        }
    }

    fn read_mirror(&self) -> Option<Arc<Topic>> {
        let (place, entries) = self.read(0);
        let entries: Vec<_> = entries.iter().map(|bytes| read_entry(bytes)).collect();
        let before = entries.first().map_or(place, |first| Place {
            epoch: first.epoch,
            seq: first.first - 1,
            token: first.previous,
        });
        let settings = self.broker.settings(&Default::default());
        let content = Content::mirror(&settings, before, self.departures.clone());
        let added = self
            .topics()
            .add(self.name.clone(), settings, content, usize::MAX, |_| ());
        let mirror = added.ok()?;
        for entry in &entries {
            append(&mirror, entry, Source::Replay);
        }
        Some(mirror)
    }

    /// Closes the mirror if nobody is subscribed.
    pub(crate) fn close_unused(&self) {
        if let Some(mirror) = self.mirror()
            && mirror.close_if_unused()
        {
            self.topics().remove(&mirror);
        }
    }
}

fn batch(topic: &TopicName, after: u64, events: u64) -> Batch {
    let mut batch = Batch::new(topic.clone());
    for seq in after + 1..=after + events {
        let payload: Box<RawValue> = serde_json::from_str(&seq.to_string()).expect("JSON");
        let message = Message::new(MESSAGE_ID, &payload).expect("a message");
        batch.push(&message, Timestamp::EARLIEST);
    }
    batch
}

fn read_entry(message: &[u8]) -> Entry<'_> {
    match parse(message) {
        Some(TopicMessage::Entry(entry)) => entry,
        other => panic!("no entry: {other:?}"),
    }
}
