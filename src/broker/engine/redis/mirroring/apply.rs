//! The appliers: threads that append what the links receive to the mirrors and fan it out. Each topic has one of them, so that
//! its entries stay in order. The link never waits for them: what they cannot take in time is read from the stream later.

use std::io;
use std::thread::{self, JoinHandle};

use ::redis::Msg;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use super::catch_up::{After, append, catch_up};
use crate::broker::Topic;
use crate::broker::engine::redis::{
    members::owners::Owners, metrics::EngineMetrics, shard::Shard, topics,
};
use crate::broker::local_topics::LocalTopics;
use crate::broker::mirror::{TopicMessage, parse};
use crate::broker::topic::{Applied, Source};
use crate::protocol::TopicName;
use crate::sync::{Arc, AtomicUsize, HashMap, Ordering};

/// Threads that append.
const APPLIERS: usize = 2;
/// The most messages and bytes that wait for an applier.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 32 << 20;

pub(crate) struct Appliers {
    queues: Vec<Queue>,
    topics: Arc<LocalTopics>,
    pub(crate) owners: Owners,
}

struct Queue {
    work: Sender<Work>,
    bytes: AtomicUsize,
    /// Topics of which a message was dropped.
    overrun: Mutex<HashMap<TopicName, Arc<Shard>>>,
}

enum Work {
    Message(Arc<Shard>, TopicName, Msg),
    Late(Arc<Shard>, Arc<Topic>),
    Stop,
}

impl Appliers {
    /// Starts the threads.
    pub(crate) fn start(
        topics: &Arc<LocalTopics>,
    ) -> io::Result<(Arc<Appliers>, Vec<JoinHandle<()>>)> {
        let (queues, works): (Vec<_>, Vec<_>) = (0..APPLIERS)
            .map(|_| {
                let (work, works) = bounded(MAX_WAITING);
                let queue = Queue {
                    work,
                    bytes: AtomicUsize::new(0),
                    overrun: Mutex::default(),
                };
                (queue, works)
            })
            .unzip();
        let appliers = Arc::new(Appliers {
            queues,
            topics: Arc::clone(topics),
            owners: Owners::default(),
        });
        let threads = works.into_iter().enumerate().map(|(at, works)| {
            let appliers = Arc::clone(&appliers);
            let name = format!("redis-apply-{at}");
            thread::Builder::new()
                .name(name)
                .spawn(move || appliers.run(at, &works))
        });
        let threads = threads.collect::<io::Result<_>>()?;
        Ok((appliers, threads))
    }

    /// How many threads they are.
    pub(crate) fn count(&self) -> usize {
        self.queues.len()
    }

    /// Stops the threads once they have done what waits.
    pub(crate) fn stop(&self) {
        for queue in &self.queues {
            let _ = queue.work.send(Work::Stop);
        }
    }

    /// A message came over the channel of a topic. Never waits.
    pub(crate) fn message(&self, shard: &Arc<Shard>, topic: TopicName, message: Msg) {
        if self.is_known(&topic, &message) {
            return;
        }
        let queue = self.queue_of(&topic);
        let bytes = message.get_payload_bytes().len();
        let is_full = queue.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_WAITING_BYTES;
        let work = Work::Message(Arc::clone(shard), topic, message);
        let dropped = match is_full {
            true => Some(work),
            false => match queue.work.try_send(work) {
                Ok(()) => None,
                Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) => Some(work),
            },
        };
        if let Some(Work::Message(shard, topic, _)) = dropped {
            queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
            EngineMetrics::count(&shard.metrics.overruns);
            queue.overrun.lock().insert(topic, shard);
        }
    }

    /// Whether a message is a copy of an entry that this node has, mostly of one that it has published: no thread is woken for it.
    fn is_known(&self, topic: &TopicName, message: &Msg) -> bool {
        match parse(message.get_payload_bytes()) {
            Some(TopicMessage::Entry(entry)) => {
                let mirror = self.topics.get(topic.as_str());
                mirror.is_none_or(|mirror| mirror.has_entry(&entry))
            }
            _ => false,
        }
    }

    /// A mirror must read the stream.
    pub(crate) fn late(&self, shard: &Arc<Shard>, topic: Arc<Topic>) {
        let queue = self.queue_of(topic.name());
        let _ = queue.work.try_send(Work::Late(Arc::clone(shard), topic));
    }

    fn queue_of(&self, topic: &TopicName) -> &Queue {
        &self.queues
            [crate::broker::engine::redis::ring::hash(topic.as_str()) as usize % self.queues.len()]
    }

    fn run(&self, at: usize, works: &Receiver<Work>) {
        let queue = &self.queues[at];
        while let Ok(work) = works.recv() {
            match work {
                Work::Stop => return,
                Work::Late(shard, topic) => {
                    let _ = catch_up(&shard, &topic, After::Interruption);
                }
                Work::Message(shard, topic, message) => {
                    self.apply(&shard, &topic, &message);
                    let bytes = message.get_payload_bytes().len();
                    queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
            self.read_overrun(queue);
        }
    }

    fn apply(&self, shard: &Arc<Shard>, name: &TopicName, message: &Msg) {
        let Some(topic) = self.topics.get(name.as_str()) else {
            return;
        };
        let applied = match parse(message.get_payload_bytes()) {
            Some(TopicMessage::Entry(entry)) => append(&topic, &entry, Source::Live),
            Some(TopicMessage::Deleted { epoch, seq }) => {
                return topics::deleted_at(shard, &topic, epoch, seq);
            }
            Some(TopicMessage::NewEpoch) | None => Applied::MustRead,
        };
        if applied == Applied::MustRead {
            let _ = catch_up(shard, &topic, After::Interruption);
        }
    }

    fn read_overrun(&self, queue: &Queue) {
        let overrun = std::mem::take(&mut *queue.overrun.lock());
        for (name, shard) in &overrun {
            if let Some(topic) = self.topics.get(name.as_str()) {
                let _ = catch_up(shard, &topic, After::Interruption);
            }
        }
    }
}
